import express from "express";
import { afterEach, expect, it } from "vitest";
import { applySecurity } from "../../../src/apply-security.js";
import { serve } from "../../support/serve.js";
import { AUDIENCE, foreignClaims, foreignToken, TestIssuer, testKey } from "./support.js";

const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

it("logIn refuses the id of an issuer's subject, and that subject may still own keys by the routes", async () => {
  const key = testKey("ES256", "k");
  const issuer = await TestIssuer.start(key);
  ends.push(() => issuer.close());
  const entry = { issuer: issuer.url, audience: AUDIENCE, algorithms: ["ES256" as const], jwksUri: issuer.jwksUri };
  const app = express();
  const security = applySecurity(app, {
    debug: true,
    secretKey: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E",
    session: {},
    apiKeys: { hash: "hmac-sha256" },
    jwt: { issuers: [{ ...entry, scopes: () => ["api-keys:manage", "read"] }] },
  });
  app.get("/login", (req, res) => {
    security.logIn(req, { id: req.query.id as string }).then(
      () => res.json(req.principal),
      (error: { code: string; status: number }) => res.status(error.status).json(error.code),
    );
  });
  app.use("/api-keys", security.apiKeyRoutes());
  await security.ready();
  ends.push(() => security.close());
  const server = await serve(app);
  ends.push(() => server.close());
  const logIn = (id: string): ReturnType<typeof server.send> => server.send(`/login?id=${encodeURIComponent(id)}`);
  const refused = await logIn(`${issuer.url}|ada`);
  expect([refused.status, refused.json(), refused.headers["set-cookie"]]).toEqual([400, "invalid-input", undefined]);
  expect((await logIn(`${issuer.url}/|ada`)).status).toBe(200);

  const token = await foreignToken(key, foreignClaims(issuer.url, {}, Date.now()));
  const made = await server.send("/api-keys", {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ name: "ci", scopes: ["read"] }),
  });
  expect(made.status).toBe(201);
  expect(made.json()).toMatchObject({ record: { ownerId: `${issuer.url}|ada` } });
});

it("the end of all credentials of an issuer's subject, or of the app's own subject of that name, counts for the right one", async () => {
  const key = testKey("ES256", "k");
  const issuer = await TestIssuer.start(key);
  ends.push(() => issuer.close());
  const entry = { issuer: issuer.url, audience: AUDIENCE, algorithms: ["ES256" as const], jwksUri: issuer.jwksUri };
  const app = express();
  const security = applySecurity(app, {
    debug: true,
    secretKey: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E",
    apiKeys: { hash: "hmac-sha256" },
    jwt: { issuers: [{ ...entry, scopes: () => ["api-keys:manage", "read"] }] },
  });
  app.use("/api-keys", security.apiKeyRoutes());
  app.post("/others", (req, res, next) => {
    security.revokeAll(req.principal?.id ?? "", { keep: req.principal }).then(() => res.end("done"), next);
  });
  const endsMeanwhile = async ({ principal }: express.Request): Promise<string | undefined> => {
    await security.revokeAll(principal?.id ?? "");
    return principal?.id;
  };
  app.use("/late-keys", security.apiKeyRoutes({ owner: endsMeanwhile }));
  await security.ready();
  ends.push(() => security.close());
  const server = await serve(app);
  ends.push(() => server.close());
  const claims = foreignClaims(issuer.url, { fam: "A".repeat(22), jti: "B".repeat(22) }, Date.now() - 10_000);
  const authorization = `Bearer ${await foreignToken(key, claims)}`;
  const post = (path: string): ReturnType<typeof server.send> =>
    server.send(path, {
      method: "POST",
      headers: { authorization, "content-type": "application/json" },
      body: JSON.stringify({ name: "ci", scopes: ["read"] }),
    });
  await security.revokeAll("ada");
  expect((await post("/api-keys")).status).toBe(201);
  expect((await post("/others")).status).toBe(200);
  expect((await post("/api-keys")).status).toBe(201);
  expect((await post("/late-keys")).status).toBe(401);
  const keys = (await security.apiKeys?.list(`${issuer.url}|ada`)) ?? [];
  expect(keys.filter(({ revokedAt }) => revokedAt === null)).toEqual([]);
});
