import express from "express";
import jwt from "jsonwebtoken";
import { expect, it, onTestFinished } from "vitest";
import { applySecurity } from "../../../src/apply-security.js";
import type { Principal } from "../../../src/core/principal.js";
import { jwtAuth } from "../../../src/jwt/middleware.js";
import { serve } from "../../support/serve.js";
import { START } from "../support.js";
import { AUDIENCE, foreignBench, foreignClaims, foreignToken, TestIssuer, testKey } from "./support.js";

async function issuerOf(key = testKey("ES256", "k")) {
  const issuer = await TestIssuer.start(key);
  onTestFinished(() => issuer.close());
  const entry = { issuer: issuer.url, audience: AUDIENCE, algorithms: ["ES256" as const], jwksUri: issuer.jwksUri };
  return { issuer, key, entry };
}

it("a token of another issuer is in force by the id of its principal, not by its subject alone", async () => {
  const { issuer, key, entry } = await issuerOf();
  const secret = "secret-of-the-former-app";
  const { manager, clock } = foreignBench({
    issuers: [entry],
    accept: { secret, until: new Date(START + 86_400_000) },
  });
  onTestFinished(() => manager.close());
  const app = express();
  const seen: Principal[] = [];
  app.use(jwtAuth(manager), (req, res) => {
    seen.push(req.principal!);
    res.send("ok");
  });
  const server = await serve(app);
  onTestFinished(() => server.close());
  // One of the same subject by another issuer; the former app's has no iat, and so counts as issued before any cut-off.
  const exp = Math.floor(clock.now() / 1000) + 60;
  for (const token of [
    await foreignToken(key, foreignClaims(issuer.url, {}, clock.now())),
    jwt.sign({ sub: "ada", exp }, secret, { noTimestamp: true }),
  ])
    expect((await server.send("/", { headers: { Authorization: `Bearer ${token}` } })).status).toBe(200);
  const inForce = () => Promise.all(seen.map((principal) => manager.isInForce(principal)));
  await manager.revokeSubject("bob");
  expect(await inForce()).toEqual([true, true]);
  await manager.revokeSubject("ada");
  expect(await inForce()).toEqual([true, false]);
  await manager.revokeSubject(`${issuer.url}|ada`);
  expect(await inForce()).toEqual([false, false]);
});

it("revokeAccessToken ends the token of one issuer, and none of another issuer that has the same jti", async () => {
  const [one, two] = [await issuerOf(), await issuerOf()];
  const { manager, clock } = foreignBench({ issuers: [one.entry, two.entry] });
  onTestFinished(() => manager.close());
  const tokenOf = ({ issuer, key }: typeof one) =>
    foreignToken(key, foreignClaims(issuer.url, { jti: "t-1" }, clock.now()));
  const [ended, other] = [await tokenOf(one), await tokenOf(two)];
  const inForce = (token: string) =>
    manager.verifyAccessToken(token).then(
      () => true,
      () => false,
    );
  expect(await manager.revokeAccessToken(ended)).toBe(true);
  expect([await inForce(ended), await inForce(other)]).toEqual([false, true]);
  // The jti alone is everybody's.
  await manager.revokeToken("t-1");
  expect(await inForce(other)).toBe(false);
});

it("revokeAll keeps the token of another issuer that asked for it, whatever claim it has", async () => {
  const { issuer, key, entry } = await issuerOf();
  const app = express();
  const secretKey = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";
  const security = applySecurity(app, { debug: true, secretKey, session: false, jwt: { issuers: [entry] } });
  onTestFinished(() => security.close());
  app.post("/end-others", (req, res, next) => {
    security.revokeAll(req.principal!.id, { keep: req.principal }).then(() => res.send("ok"), next);
  });
  app.get("/", security.requireJwt(), (_req, res) => void res.send("ok"));
  await security.ready();
  const server = await serve(app);
  onTestFinished(() => server.close());
  const claims = (number: number) => foreignClaims(issuer.url, { fam: "f".repeat(22), number }, Date.now());
  const [kept, other] = [await foreignToken(key, claims(1)), await foreignToken(key, claims(2))];
  const ask = async (token: string, path = "/", method = "GET") =>
    (await server.send(path, { method, headers: { Authorization: `Bearer ${token}` } })).status;
  expect([await ask(kept), await ask(other)]).toEqual([200, 200]);
  expect(await ask(kept, "/end-others", "POST")).toBe(200);
  expect([await ask(kept), await ask(other)]).toEqual([200, 401]);
});
