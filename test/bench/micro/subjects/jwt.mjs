// Signing and verifying access tokens: JwtManager, and the packages others use, on the same token with the same checks.
import { createPublicKey, createSecretKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { createSigner, createVerifier } from "fast-jwt";
import { jwtVerify, SignJWT } from "jose";
import jwt from "jsonwebtoken";
import { built } from "../support/built.mjs";
import { interleave, median, ratio } from "../support/interleave.mjs";
import { short, spread, table, title } from "../support/table.mjs";

const { JwtManager } = await built("jwt/manager.js");

const ISSUER = "https://auth.example.com";
const AUDIENCE = "https://api.example.com";
const LIFE_SECONDS = 1800;
const SUBJECT = "user-1";
const GRANT = { scopes: ["orders:read", "orders:write"], roles: ["buyer"] };

for (const algorithm of ["HS256", "ES256"]) await compare(algorithm);
await compareForeign();

/** Keys in every form a package takes. */
function keysFor(algorithm) {
  if (algorithm === "HS256") {
    const text = randomBytes(32).toString("base64url");
    const object = createSecretKey(Buffer.from(text));
    return { settings: { secret: text }, signText: text, verifyText: text, signObject: object, verifyObject: object };
  }
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const publicKey = createPublicKey(privateKey);
  return {
    settings: { privateKey },
    signText: privateKey.export({ type: "pkcs8", format: "pem" }),
    verifyText: publicKey.export({ type: "spki", format: "pem" }),
    signObject: privateKey,
    verifyObject: publicKey,
  };
}

async function compare(algorithm) {
  const { settings, ...keys } = keysFor(algorithm);
  const manager = new JwtManager({
    algorithm,
    ...settings,
    issuer: ISSUER,
    audience: AUDIENCE,
    accessTokenMinutes: LIFE_SECONDS / 60,
  });
  const eachTime = new JwtManager({ ...manager.options, cacheSize: 0 });
  const token = await manager.signAccessToken(SUBJECT, GRANT);
  const { header } = jwt.decode(token, { complete: true });
  const text = algorithm === "HS256" ? "string secret" : "PEM";
  const verify = await interleave(await checked(verifiers(algorithm, keys, { manager, eachTime }, token, text)));
  print(`${algorithm}: verify`, verify, `jsonwebtoken, ${text}`);
  const sign = await interleave(signers(algorithm, keys, manager, header, text));
  print(`${algorithm}: sign`, sign, `jsonwebtoken, ${text}`);
  await Promise.all([manager.close(), eachTime.close()]);
}

function verifiers(algorithm, { verifyText, verifyObject }, { manager, eachTime }, token, text) {
  // Each request brings a string of its own, as a socket does: what is remembered is found by its text.
  const bytes = Buffer.from(token);
  const sent = () => bytes.latin1Slice();
  const jsonwebtoken = { algorithms: [algorithm], issuer: ISSUER, audience: AUDIENCE };
  const fast = { key: verifyText, algorithms: [algorithm], allowedIss: ISSUER, allowedAud: AUDIENCE };
  const plain = createVerifier({ ...fast, cache: false });
  const caching = createVerifier({ ...fast, cache: true });
  const joseOptions = { algorithms: [algorithm], issuer: ISSUER, audience: AUDIENCE, typ: "at+jwt" };
  return [
    { name: "portcullis, `check` (the request path)", once: () => manager.verifier.check(sent()) },
    { name: "portcullis, `check` of a token not seen before", once: () => eachTime.verifier.check(sent()) },
    { name: "portcullis, `verifyAccessToken`", once: () => manager.verifyAccessToken(sent()) },
    { name: `jsonwebtoken, ${text}`, once: () => jwt.verify(sent(), verifyText, jsonwebtoken) },
    { name: "jsonwebtoken, KeyObject", once: () => jwt.verify(sent(), verifyObject, jsonwebtoken) },
    { name: "fast-jwt", once: () => plain(sent()) },
    { name: "fast-jwt, with its cache", once: () => caching(sent()) },
    { name: "jose, KeyObject", once: () => jwtVerify(sent(), verifyObject, joseOptions) },
  ].map(asRow);
}

function signers(algorithm, { signText, signObject }, manager, header, text) {
  const fast = createSigner({ key: signText, algorithm, header: { typ: header.typ, kid: header.kid } });
  return [
    { name: "portcullis, `signAccessToken`", once: () => manager.signAccessToken(SUBJECT, GRANT) },
    { name: `jsonwebtoken, ${text}`, once: () => jwt.sign(claims(), signText, { algorithm, header }) },
    { name: "jsonwebtoken, KeyObject", once: () => jwt.sign(claims(), signObject, { algorithm, header }) },
    { name: "fast-jwt", once: () => fast(claims()) },
    { name: "jose, KeyObject", once: () => new SignJWT(claims()).setProtectedHeader(header).sign(signObject) },
  ].map(asRow);
}

/** A token of another issuer beside one of ours, both ES256: remembered, and as if seen for the first time. */
async function compareForeign() {
  const { settings, ...keys } = keysFor("ES256");
  const set = { keys: [{ ...keys.verifyObject.export({ format: "jwk" }), kid: "1", alg: "ES256", use: "sig" }] };
  const server = createServer((_req, res) => res.end(JSON.stringify(set))).listen(0, "127.0.0.1");
  await once(server, "listening");
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const issuers = [{ issuer, audience: AUDIENCE, algorithms: ["ES256"], jwksUri: issuer }];
  const own = { algorithm: "ES256", ...settings, issuer: ISSUER, audience: AUDIENCE, issuers };
  const [manager, eachTime] = [own, { ...own, cacheSize: 0 }].map((each) => new JwtManager(each, { debug: true }));
  await Promise.all([manager.init(), eachTime.init()]);
  const header = { alg: "ES256", typ: "at+jwt", kid: "1" };
  const foreign = Buffer.from(
    await new SignJWT({ ...claims(), iss: issuer }).setProtectedHeader(header).sign(keys.signObject),
  );
  const ours = Buffer.from(await manager.signAccessToken(SUBJECT, GRANT));
  const rows = [
    {
      name: "of another issuer, `check` (the request path)",
      once: () => manager.verifier.check(foreign.latin1Slice()),
    },
    { name: "ours, `check` (the request path)", once: () => manager.verifier.check(ours.latin1Slice()) },
    { name: "of another issuer, not seen before", once: () => eachTime.verifier.check(foreign.latin1Slice()) },
    { name: "ours, not seen before", once: () => eachTime.verifier.check(ours.latin1Slice()) },
  ];
  const heading = "ES256 of another issuer: verify";
  print(heading, await interleave(await checked(rows.map(asRow))), "ours, not seen before");
  await Promise.all([manager.close(), eachTime.close()]);
  server.close();
}

/** What JwtManager writes into a token, its random id included. */
function claims() {
  const now = Date.now();
  const iat = Math.floor(now / 1000);
  const jti = randomBytes(16).toString("base64url");
  return {
    iss: ISSUER,
    sub: SUBJECT,
    aud: AUDIENCE,
    iat,
    iat_ms: now,
    exp: iat + LIFE_SECONDS,
    jti,
    scope: GRANT.scopes.join(" "),
    roles: GRANT.roles,
  };
}

function asRow({ name, once }) {
  const repeat = 50;
  const first = once();
  const run =
    first instanceof Promise
      ? async () => {
          for (let i = 0; i < repeat; i += 1) await once();
        }
      : () => {
          for (let i = 0; i < repeat; i += 1) once();
        };
  return { name, operations: repeat, run, first };
}

/** Everybody must have taken the token for good. */
async function checked(rows) {
  for (const { name, first } of rows) {
    const result = await first;
    const subject = result.claims?.sub ?? result.payload?.sub ?? result.sub;
    if (subject !== SUBJECT) throw new Error(`${name} does not take the token`);
  }
  return rows;
}

function print(heading, measured, reference) {
  title(`JWT, ${heading}`);
  const slowest = measured.find(({ name }) => name === reference);
  table(
    ["", "µs (least–most)", "a second", `times as fast as ${reference}`],
    measured.map(({ name, nanoseconds }) => [
      name,
      spread(nanoseconds, 1e-3),
      short(1e9 / median(nanoseconds)),
      short(ratio(slowest, { nanoseconds })),
    ]),
  );
}
