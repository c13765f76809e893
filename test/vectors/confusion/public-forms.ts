import { createPublicKey, type KeyObject } from "node:crypto";
import { publicJwk } from "../../../src/jwt/keys/key-ids.js";

/** A public key in a form in which an attacker can have it. */
export interface PublicForm {
  readonly name: string;
  readonly bytes: Buffer;
}

/** Every form of the public half of a key that anybody may have taken for a secret. */
export function publicForms(privateKey: KeyObject, kid: string): PublicForm[] {
  const key = createPublicKey(privateKey);
  const jwk = publicJwk(key);
  const pem = key.export({ format: "pem", type: "spki" }).toString();
  const spki = key.export({ format: "der", type: "spki" });
  const served = { ...jwk, kid, use: "sig" };
  const texts: [string, string][] = [
    ...pemForms("SPKI PEM", pem),
    ["JWK", JSON.stringify(jwk)],
    ["JWK as it is served", JSON.stringify(served)],
    ["JWK set", JSON.stringify({ keys: [served] })],
    ["JWK, members sorted (RFC 7638)", JSON.stringify(jwk, Object.keys(jwk).sort())],
    ["JWK in lines", JSON.stringify(jwk, null, 2)],
    ["kid", kid],
    ["SPKI DER in base64", spki.toString("base64")],
    ["SPKI DER in base64url", spki.toString("base64url")],
    ["SPKI DER in hexadecimal digits", spki.toString("hex")],
    ["lines of the PEM", pem.replace(/-----.*-----\n/g, "")],
  ];
  const forms = texts.map(([name, text]) => ({ name, bytes: Buffer.from(text) }));
  return [
    ...forms,
    { name: "SPKI DER", bytes: spki },
    ...numbers(jwk),
    ...(key.asymmetricKeyType === "rsa" ? pkcs1(key) : []),
  ];
}

/** As editors, environment variables and shells leave it. */
function pemForms(name: string, pem: string): [string, string][] {
  return [
    [name, pem],
    [`${name} without its last line feed`, pem.trimEnd()],
    [`${name} with one line feed more`, `${pem}\n`],
    [`${name} after a line feed`, `\n${pem}`],
    [`${name} after a character (GHSA-ww5h-9m49-7xx4)`, `x${pem}`],
    [`${name} after a byte order mark`, `\ufeff${pem}`],
    [`${name} with CR LF`, pem.replaceAll("\n", "\r\n")],
    [`${name} with its line feeds written out`, pem.replaceAll("\n", "\\n")],
    [`${name} in one line`, pem.replaceAll("\n", "")],
    [`${name} in base64`, Buffer.from(pem).toString("base64")],
  ];
}

function pkcs1(key: KeyObject): PublicForm[] {
  const der = key.export({ format: "der", type: "pkcs1" });
  return [
    ...pemForms("PKCS #1 PEM", key.export({ format: "pem", type: "pkcs1" }).toString()).map(([name, text]) => ({
      name,
      bytes: Buffer.from(text),
    })),
    { name: "PKCS #1 DER", bytes: der },
    { name: "PKCS #1 DER in base64", bytes: Buffer.from(der.toString("base64")) },
  ];
}

/** The numbers themselves: modulus, exponent, coordinates, the point with and without its second coordinate (SEC 1 section 2.3.3). */
function numbers(jwk: ReturnType<typeof publicJwk>): PublicForm[] {
  const bytes = (text: string): Buffer => Buffer.from(text, "base64url");
  if (jwk.kty === "RSA") {
    return [
      { name: "modulus", bytes: bytes(jwk.n) },
      { name: "modulus as text", bytes: Buffer.from(jwk.n) },
      { name: "exponent", bytes: bytes(jwk.e) },
    ];
  }
  if (jwk.kty === "OKP") return [{ name: "x", bytes: bytes(jwk.x) }];
  const [x, y] = [bytes(jwk.x), bytes(jwk.y)];
  return [
    { name: "x", bytes: x },
    { name: "y", bytes: y },
    { name: "point", bytes: Buffer.concat([Buffer.from([4]), x, y]) },
    { name: "compressed point", bytes: Buffer.concat([Buffer.from([2 + ((y.at(-1) ?? 0) & 1)]), x]) },
  ];
}
