import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import express from "express";
import { decodeJwt, decodeProtectedHeader } from "jose";
import { afterAll, beforeAll, expect, it } from "vitest";
import { applySecurity } from "../../../src/apply-security.js";
import { ManualClock } from "../../support/manual-clock.js";
import { serve, type TestServer } from "../../support/serve.js";
import { AUDIENCE, testKey, type TestKey } from "./support.js";

/** The real thing: an OpenID provider that gives access tokens to clients, and whose keys rotate while the app runs. */
const CLIENT = { client_id: "shop", client_secret: "shop-secret-of-this-test" };
const METADATA = { id_token_signed_response_alg: "ES256", redirect_uris: [], response_types: [] };

let server: Server;
let current: RequestListener;
let issuer: string;
let keySets = 0;

/** The provider with these keys: the first signs. */
async function publish(...keys: readonly TestKey[]): Promise<void> {
  // It warns of Node 20, and works there.
  const { default: Provider } = await import("oidc-provider");
  const provider = new Provider(issuer, {
    clients: [{ ...CLIENT, ...METADATA, grant_types: ["client_credentials"] }],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_ctx: unknown, resource: string) => ({
          scope: "orders:read orders:write",
          audience: resource,
          accessTokenFormat: "jwt",
          accessTokenTTL: 300,
          jwt: { sign: { alg: "ES256" } },
        }),
      },
    },
    jwks: {
      keys: keys.map(({ kid, privateKey }) => ({
        ...privateKey.export({ format: "jwk" }),
        kid,
        alg: "ES256",
        use: "sig",
      })),
    },
  });
  current = provider.callback();
}

/** An access token, as a client asks for it. */
async function accessToken(resource: string, scope = "orders:read"): Promise<string> {
  const answer = await fetch(`${issuer}/token`, {
    method: "POST",
    headers: { authorization: `Basic ${Buffer.from(Object.values(CLIENT).join(":")).toString("base64")}` },
    body: new URLSearchParams({ grant_type: "client_credentials", resource, scope }),
  });
  const body = (await answer.json()) as { access_token: string };
  expect(body).toMatchObject({ token_type: "Bearer" });
  return body.access_token;
}

beforeAll(async () => {
  server = createServer((req, res) => {
    if (req.url === "/jwks") keySets += 1;
    current(req, res);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

it("accepts the tokens of a real provider, before, during and after a rotation of its keys", async () => {
  const [first, second] = [testKey("ES256", "2026-11"), testKey("ES256", "2026-12")];
  await publish(first);
  const app = express();
  const clock = new ManualClock(Date.now());
  const settings = { debug: true, jwt: { issuers: [{ issuer, audience: AUDIENCE, algorithms: ["ES256" as const] }] } };
  const security = applySecurity(app, settings, { clock });
  app.get("/orders", security.requireJwt({ scopes: ["orders:read"] }), (req, res) => void res.json(req.principal));
  const problems: string[] = [];
  security.events.on("authn_login_fail", ({ reason = "" }) => problems.push(reason));
  await security.ready();
  const api: TestServer = await serve(app);
  const ask = (token: string): ReturnType<TestServer["send"]> =>
    api.send("/orders", { headers: { authorization: `Bearer ${token}` } });
  try {
    const old = await accessToken(AUDIENCE);
    expect(decodeProtectedHeader(old)).toMatchObject({ alg: "ES256", typ: "at+jwt", kid: "2026-11" });
    expect(decodeJwt(old)).toMatchObject({ iss: issuer, aud: AUDIENCE, scope: "orders:read", client_id: "shop" });
    const answer = await ask(old);
    expect(answer.status).toBe(200);
    expect(answer.json()).toMatchObject({ id: `${issuer}|shop`, issuer, kind: "jwt", scopes: ["orders:read"] });
    expect((await ask(await accessToken("https://other.example.com"))).status).toBe(401);
    expect((await ask(await accessToken(AUDIENCE, "orders:write"))).status).toBe(403);
    expect([keySets, problems]).toEqual([1, ["audience"]]);

    // The new key signs, the old one is still published.
    await publish(second, first);
    const fresh = await accessToken(AUDIENCE);
    expect(decodeProtectedHeader(fresh).kid).toBe("2026-12");
    expect([(await ask(fresh)).status, (await ask(old)).status]).toEqual([200, 200]);
    expect(keySets).toBe(2);

    // A third key replaces both: unknown for 30 seconds after the last fetch for an unknown key, then the only one.
    await publish(testKey("ES256", "2027-01"));
    const latest = await accessToken(AUDIENCE);
    expect([(await ask(latest)).status, (await ask(fresh)).status]).toEqual([401, 200]);
    expect(keySets).toBe(2);
    clock.advance(30_000);
    expect([(await ask(latest)).status, (await ask(fresh)).status, (await ask(old)).status]).toEqual([200, 401, 401]);
    expect([keySets, problems.slice(1)]).toEqual([3, ["unknown-key", "unknown-key", "unknown-key"]]);
  } finally {
    await api.close();
    await security.close();
  }
});

it("no longer accepts a key that the provider has removed, once the keys were fetched again", async () => {
  const [first, second] = [testKey("ES256", "a"), testKey("ES256", "b")];
  await publish(first);
  const app = express();
  const security = applySecurity(app, {
    debug: true,
    jwt: { issuers: [{ issuer, audience: AUDIENCE, algorithms: ["ES256"] }] },
  });
  await security.ready();
  try {
    const old = await accessToken(AUDIENCE);
    expect(await security.jwt.verifyAccessToken(old)).toMatchObject({ sub: "shop" });
    await publish(second);
    expect(await security.jwt.verifyAccessToken(await accessToken(AUDIENCE))).toMatchObject({ sub: "shop" });
    await expect(security.jwt.verifyAccessToken(old)).rejects.toMatchObject({ code: "unknown-key" });
  } finally {
    await security.close();
  }
});
