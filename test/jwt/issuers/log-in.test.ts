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
