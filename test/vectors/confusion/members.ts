import { createPublicKey, type KeyObject } from "node:crypto";

/** Members of a header, as JSON text, and what a token with them is refused for; "accepted" where they change nothing. */
export interface HeaderCase {
  readonly member: string;
  readonly verdict: "accepted" | "critical-header" | "unknown-key" | "malformed" | "type" | "signature";
}

const all = (verdict: HeaderCase["verdict"], members: readonly string[]): HeaderCase[] =>
  members.map((member) => ({ member, verdict }));

/** RFC 7515 section 4.1.11 and RFC 7797: nothing that must be understood is, whatever form it has. */
export const CRITICAL: readonly HeaderCase[] = [
  ...all("critical-header", [
    ...[
      "[]",
      '["exp"]',
      '["b64"]',
      '["alg"]',
      '["kid","typ"]',
      '["http://example.com/UNDEFINED"]',
      '[""]',
      "[null]",
      "null",
      '""',
      '"b64"',
      "{}",
      "0",
      "false",
      "true",
      "1e400",
    ].map((value) => `"crit":${value}`),
    '"\\u0063rit":["exp"]',
    '"crit":["exp"],"exp":9999999999',
    '"crit":["exp"],"crit":[]',
    ...["false", "true", "null", "0", '"false"', "[]"].map((value) => `"b64":${value}`),
    '"b64":false,"crit":["b64"]',
    '"crit":["b64"],"b64":true',
  ]),
  // RFC 7515 section 4: names are compared with case, and what is not understood is passed over.
  ...all("accepted", [
    '"Crit":["exp"]',
    '"CRIT":["b64"]',
    '"criT":null',
    '" crit":["exp"]',
    '"crits":["exp"]',
    '"B64":false',
    '"exp":1',
    '"__proto__":{"crit":["exp"]}',
    '"constructor":{"crit":["exp"]}',
  ]),
];

/** Names of keys: paths, statements, commands, addresses, names of every object, and what is no text. */
export function kidCases(own: string): HeaderCase[] {
  const near = [
    ` ${own}`,
    `${own} `,
    `${own}\u0000`,
    `${own}\n`,
    own.toUpperCase(),
    own.slice(0, -1),
    `${own}${own}`,
    `${own},${own}`,
    `%${own}`,
    `./${own}`,
    `${own}'--`,
    own.normalize("NFD") + "\u0301",
  ];
  const texts = [
    ...[
      "",
      " ",
      ".",
      "..",
      "/dev/null",
      "../../../../dev/null",
      "..\\..\\windows\\win.ini",
      "/proc/self/environ",
      "file:///etc/passwd",
      "/etc/passwd\u0000.pem",
      "....//....//dev/null",
    ],
    ...[
      "' OR '1'='1",
      "x' UNION SELECT 'secret",
      "1; DROP TABLE keys --",
      '" || true || "',
      '{"$ne":null}',
      "*",
      "*)(kid=*",
      "%",
      "_",
    ],
    ...["| id", "$(id)", "`id`", "; sleep 5", "${jndi:ldap://127.0.0.1/a}", "{{7*7}}", "\r\nX-Injected: 1", "\u0000"],
    ...[
      "http://127.0.0.1:9/key",
      "https://attacker.example/jwks.json",
      "data:text/plain,secret",
      "//attacker.example/key",
    ],
    ...[
      "__proto__",
      "constructor",
      "prototype",
      "toString",
      "hasOwnProperty",
      "valueOf",
      "length",
      "size",
      "0",
      "-1",
      "undefined",
      "null",
      "NaN",
      "true",
    ],
    "k".repeat(4000),
    ...near.filter((text) => text !== own),
  ];
  const values = [
    "null",
    "true",
    "0",
    "-1",
    "1e400",
    "[]",
    "{}",
    `[${JSON.stringify(own)}]`,
    `{"kid":${JSON.stringify(own)}}`,
    `{"toString":${JSON.stringify(own)}}`,
  ];
  return [
    ...texts.map((text): HeaderCase => ({ member: `"kid":${JSON.stringify(text)}`, verdict: "unknown-key" })),
    ...values.map((value): HeaderCase => ({ member: `"kid":${value}`, verdict: "malformed" })),
    { member: `"kid":${JSON.stringify(own)}`, verdict: "accepted" },
    // The last of two counts, here and in jsonwebtoken (RFC 7515 section 4).
    { member: `"kid":"x","kid":${JSON.stringify(own)}`, verdict: "accepted" },
    { member: `"kid":${JSON.stringify(own)},"kid":"x"`, verdict: "unknown-key" },
    { member: `"KID":"x","kid":${JSON.stringify(own)}`, verdict: "accepted" },
  ];
}

export const TYPES: readonly HeaderCase[] = [
  ...all(
    "type",
    [
      "null",
      "true",
      "0",
      "[]",
      '["at+jwt"]',
      '{"toString":"at+jwt"}',
      '""',
      '"JWT"',
      '"jwt"',
      '"JOSE"',
      '"at"',
      '"at+jwt "',
      '" at+jwt"',
      '"at+jwt\\u0000"',
      '"at+jwt;v=1"',
      '"at-jwt"',
      '"rt+jwt"',
      '"dpop+jwt"',
      '"application/jwt"',
      '"application/application/at+jwt"',
      '"text/at+jwt"',
    ].map((value) => `"typ":${value}`),
  ),
  ...all("type", ['"Typ":"at+jwt"', '"cty":"at+jwt"', '"typ":"at+jwt","typ":"JWT"']),
  // RFC 7515 section 4.1.9: media types are compared without case, and `application/` may be left out.
  ...all("accepted", [
    '"typ":"at+jwt"',
    '"typ":"AT+JWT"',
    '"typ":"application/at+jwt"',
    '"typ":"Application/At+Jwt"',
    '"typ":"JWT","typ":"at+jwt"',
  ]),
];

/** Members by which a token brings its key or says where it lies (RFC 7515 sections 4.1.2 to 4.1.8), as objects. */
export function broughtKeys(key: KeyObject, url: string): Record<string, unknown>[] {
  if (key.type === "secret") {
    const jwk = key.export({ format: "jwk" });
    return [
      { jwk },
      { jku: `${url}/jwks.json` },
      { x5u: `${url}/key` },
      { jwk, jku: url, x5u: url },
      { k: jwk.k },
      { secret: jwk.k },
    ];
  }
  const half = createPublicKey(key);
  const jwk = half.asymmetricKeyType === "rsa-pss" ? undefined : half.export({ format: "jwk" });
  const der = half.export({ format: "der", type: "spki" }).toString("base64");
  const pem = half.export({ format: "pem", type: "spki" }).toString();
  return [
    { jwk },
    { jwk: { keys: [jwk] } },
    { jku: `${url}/jwks.json` },
    { x5u: `${url}/cert.pem` },
    { x5c: [der] },
    { x5c: der, x5t: "AAAA", "x5t#S256": "AAAA" },
    { jwk, jku: url, x5u: url, x5c: [der] },
    { key: pem },
    { publicKey: pem },
    { epk: jwk },
    { iss: url },
  ];
}
