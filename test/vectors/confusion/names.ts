/** Names of the "JSON Web Signature and Encryption Algorithms" registry of IANA, those built here left out. */
export const OTHER_ALGORITHMS: readonly string[] = [
  ...["none", "EdDSA", "Ed25519", "Ed448", "ES256K", "HS1", "RS1", "HS256/64", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87"],
  ...["RSA1_5", "RSA-OAEP", "RSA-OAEP-256", "RSA-OAEP-384", "RSA-OAEP-512"],
  ...["A128KW", "A192KW", "A256KW", "dir", "A128GCMKW", "A192GCMKW", "A256GCMKW"],
  ...["ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A192KW", "ECDH-ES+A256KW", "PBES2-HS256+A128KW", "PBES2-HS384+A192KW", "PBES2-HS512+A256KW"],
  ...["A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512", "A128GCM", "A192GCM", "A256GCM", "A128CBC", "A256CTR", "A128CTR"],
  // No names, but what somebody may compare loosely.
  ...["HS257", "ES521", "SHA256", "RSA", "HMAC", "__proto__", "constructor", "toString"],
];

/** Every way to write "none" in capitals and small letters. */
const CASES: readonly string[] = Array.from({ length: 16 }, (_unused, bits) => [..."none"].map((char, place) => (bits & (1 << place) ? char.toUpperCase() : char)).join(""));

/** The member `alg` of a header, as JSON text, for which a loose reader may take "no signature". */
export const NO_ALGORITHM: readonly string[] = [
  ...CASES.map((text) => `"alg":${JSON.stringify(text)}`),
  ...[" none", "none ", "\tnone", "none\n", "none\u0000", "no\u0000ne", "\ufeffnone", "\u200bnone", "n\u043ene", "\uff4e\uff4f\uff4e\uff45", "none,HS256", "non", "nonee", "", " ", "null", "undefined", "false", "0"].map((text) => `"alg":${JSON.stringify(text)}`),
  '"alg":"\\u006eone"',
  '"alg":"\\u006E\\u006F\\u006E\\u0065"',
  ...["null", "true", "false", "0", "-0", "1", "256", "1e400", "[]", '["none"]', '["HS256"]', '["RS256","none"]', "{}", '{"alg":"none"}', '{"toString":"none"}'].map((json) => `"alg":${json}`),
  '"Alg":"none"',
  '"ALG":"HS256"',
  '"alg ":"HS256"',
  '"a":1',
  '"__proto__":{"alg":"none"}',
  '"__proto__":{"alg":"HS256"},"constructor":{"prototype":{"alg":"HS256"}}',
  '"alg":"HS256","alg":"none"',
  '"alg":"none","alg":"none"',
];
