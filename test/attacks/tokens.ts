import type { IssuedTokens } from "portcullis";
import type { Forger } from "./forger.js";
import type { Lab } from "./app.js";
import { type Ask, type Attack, type Group, json, MARK, type Outcome, SERVED } from "./attack.js";

const INVALID: Outcome = { refused: "invalid-credentials" };

const bearer = (token: string): Ask => ({ headers: { Authorization: `Bearer ${token}` } });

/** A token that is not quite one of ours. The twin is made by the same forger with nothing changed. */
const token = (name: string, reference: string, make: (forger: Forger) => string): Attack => ({
  name,
  reference,
  sequence: async (lab, twin) => {
    const forger = await lab.forger();
    return lab.send(bearer(twin ? forger.sign() : make(forger)));
  },
  outcome: INVALID,
  twin: { differs: "nothing is changed before it is signed", outcome: SERVED },
});

/** Right signature, wrong header or claims. */
const signed = (
  name: string,
  reference: string,
  header: Record<string, unknown>,
  claims: Record<string, unknown> | string = {},
): Attack => token(name, reference, (forger) => forger.sign(header, claims));

/** A claim relative to when the token was made. */
const timed = (name: string, reference: string, claims: (iat: number) => Record<string, unknown>): Attack =>
  token(name, reference, (forger) => forger.sign({}, claims(Number(forger.claims.iat))));

const none = (alg: string): Attack => token(`alg ${alg}`, "CVE-2022-23540", (forger) => `${forger.input({ alg })}.`);

/** A good token, presented wrongly. */
const presented = (name: string, reference: string, outcome: Outcome, ask: (tokens: IssuedTokens) => Ask): Attack => ({
  name,
  reference,
  sequence: async (lab, twin) => {
    const issued = await lab.tokens();
    return lab.send(twin ? bearer(issued.accessToken) : ask(issued));
  },
  outcome,
  twin: { differs: "the access token alone in Authorization", outcome: SERVED },
});

export const refresh = (lab: Lab, refreshToken: unknown): ReturnType<Lab["send"]> =>
  lab.send({ ...json({ refreshToken }), path: "/tokens/refresh" });

export const tokens: Group = {
  title: "Access tokens",
  attacks: [
    none("none"),
    none("None"),
    none("nOnE"),
    token(
      "alg none with a signature",
      "CVE-2022-23540",
      (forger) => `${forger.input({ alg: "none" })}.${forger.signature}`,
    ),
    token(
      "the signature cut off",
      "CWE-347",
      (forger) => `${forger.genuine.slice(0, forger.genuine.lastIndexOf("."))}.`,
    ),
    token("the public key as HMAC secret, PEM", "CVE-2016-10555", (forger) => forger.mac(forger.publicKeyAs("pem"))),
    token("the public key as HMAC secret, DER", "CVE-2016-10555", (forger) => forger.mac(forger.publicKeyAs("der"))),
    token("the public key as HMAC secret, JWK", "CVE-2016-10555", (forger) => forger.mac(forger.publicKeyAs("jwk"))),
    token("the public key as HMAC secret, a character before it", "GHSA-ww5h-9m49-7xx4", (forger) =>
      forger.mac(`x${forger.publicKeyAs("pem").toString()}`),
    ),
    token("HMAC under a header that says ES256", "CVE-2015-9235", (forger) =>
      forger.mac(forger.publicKeyAs("pem"), { alg: "ES256" }),
    ),
    token("an empty HMAC secret behind a kid that is a path", "CWE-22", (forger) =>
      forger.mac("", { kid: "../../../../dev/null" }),
    ),
    signed("a kid nobody has", "V9.1.3", { kid: MARK }),
    signed("a kid that is a query", "CWE-89", { kid: `x' UNION SELECT '${MARK}` }),
    signed("a kid that names what every object has", "CWE-1321", { kid: "__proto__" }),
    token("the attacker's key in the header", "CVE-2018-0114", (forger) => forger.signAsStranger((jwk) => ({ jwk }))),
    token("the attacker's key in the header, and no kid", "CVE-2018-0114", (forger) =>
      forger.signAsStranger((jwk) => ({ jwk, kid: undefined })),
    ),
    token("the attacker's key at an address", "V9.1.3", (forger) =>
      forger.signAsStranger((jwk) => ({
        jku: `data:application/json,${encodeURIComponent(JSON.stringify({ keys: [jwk] }))}`,
        x5u: `https://${MARK}.example/x5u`,
      })),
    ),
    token(
      "a signature of two zeros",
      "CVE-2022-21449",
      (forger) => `${forger.input()}.${Buffer.alloc(64).toString("base64url")}`,
    ),
    token("a signature as DER", "RFC 7518 3.4", (forger) => forger.sign({}, {}, "der")),
    token("a signature in another spelling", "RFC 4648 3.5", (forger) =>
      forger.genuine.replace(/.$/, (last) => String.fromCharCode(last.charCodeAt(0) + 1)),
    ),
    token("base64 with padding", "RFC 7515 2", (forger) => `${forger.sign()}==`),
    token(
      "other claims under a good signature",
      "CWE-347",
      (forger) => `${forger.input({}, { scope: "admin" })}.${forger.signature}`,
    ),
    token("another algorithm of the same family", "CVE-2022-23539", (forger) =>
      forger.sign({ alg: "ES384" }, {}, "ieee-p1363", "sha384"),
    ),
    signed("an extension that must be understood", "CVE-2025-59420", { crit: ["exp"] }),
    signed("a payload that is not encoded", "RFC 7797 6", { b64: false }),
    signed("an ID token as access token", "RFC 8725 3.11", { typ: "JWT" }),
    signed("a token that does not say what it is", "RFC 9068 2.1", { typ: undefined }),
    signed("a token for another service", "RFC 8725 3.9", {}, { aud: "https://other.example" }),
    signed("a token for nobody", "V9.2.3", {}, { aud: undefined }),
    signed("a token of another issuer", "RFC 8725 3.8", {}, { iss: `https://${MARK}.example` }),
    signed("a token without an end", "V9.2.1", {}, { exp: undefined }),
    token("an end at infinity", "V9.2.1", (forger) =>
      forger.sign({}, JSON.stringify(forger.claims).replace(/"exp":\d+/, '"exp":1e400')),
    ),
    token("an end that is text", "V9.2.1", (forger) => forger.sign({}, { exp: String(forger.claims.exp) })),
    timed("a token past its end", "V9.2.1", (iat) => ({ iat: iat - 1000, exp: iat - 10 })),
    timed("a token of tomorrow", "V9.2.1", (iat) => ({ nbf: iat + 86_400 })),
    timed("a token made in the future", "V9.2.1", (iat) => ({ iat: iat + 600 })),
    timed("a token for a thousand years", "V9.2.1", (iat) => ({ exp: iat + 31_536_000_000 })),
    signed("claims that are a list", "RFC 7519 7.2", {}, "[]"),
    signed("scopes that are a list", "V15.3.5", {}, { scope: ["admin"] }),
    token("a token in JSON form", "RFC 7515 7.2", (forger) =>
      JSON.stringify({
        payload: forger.genuine.split(".")[1],
        signatures: [{ protected: forger.genuine.split(".")[0], signature: forger.signature }],
      }),
    ),
    token("an encrypted token, five parts", "RFC 7516 7.1", (forger) => `${forger.genuine}.AAAA.AAAA`),
    presented("a token in the query", "RFC 9700 4.3.2", { refused: "missing-credentials" }, ({ accessToken }) => ({
      path: `/guarded?access_token=${accessToken}`,
    })),
    presented("two tokens in two lines", "V15.3.7", { refused: "ambiguous-credentials" }, ({ accessToken }) => ({
      headers: { Authorization: [`Bearer ${accessToken}`, `Bearer ${MARK}`] },
    })),
    presented("two tokens in one line", "V15.3.7", INVALID, ({ accessToken }) => bearer(`${accessToken} ${MARK}`)),
    presented("a refresh token as access token", "V9.2.2", INVALID, ({ refreshToken }) => bearer(refreshToken)),
    {
      name: "an access token after its family was revoked",
      reference: "V7.4.1",
      sequence: async (lab, twin) => {
        const { accessToken, refreshToken } = await lab.tokens();
        await lab.send(bearer(accessToken));
        if (!twin) await lab.send({ ...json({ refreshToken }), path: "/tokens/revoke" });
        return lab.send(bearer(accessToken));
      },
      outcome: INVALID,
      twin: { differs: "it was not revoked", outcome: SERVED },
    },
    {
      name: "a token reaches for scopes it was not given",
      reference: "V10.3.2",
      sequence: async (lab, twin) =>
        lab.send({ ...bearer((await lab.tokens([twin ? "orders:read" : "read"])).accessToken), path: "/orders" }),
      outcome: { refused: "insufficient-scope" },
      twin: { differs: "the token has the scope", outcome: SERVED },
    },
  ],
};
