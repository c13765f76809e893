import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, globalAgent } from "node:https";
import type { AddressInfo } from "node:net";
import express from "express";
import { describe, expect, it, onTestFinished } from "vitest";
import { applySecurity } from "../../../src/apply-security.js";
import { serve } from "../../support/serve.js";
import { makeCertificates } from "../../support/servers/certificates.js";
import { AUDIENCE, foreignClaims, foreignToken, jwkOf, testKey } from "./support.js";

const KEY = testKey("ES256", "k");

/** An issuer whose key set is on an https: URL with this certificate, and an app that accepts its tokens. */
async function start(names: string, isTrusted: boolean) {
  const files = makeCertificates(names);
  onTestFinished(() => files.remove());
  const [ca, cert, key] = [files.ca, files.cert, files.key].map((path) => readFileSync(path, "utf8"));
  const before = globalAgent.options.ca;
  if (isTrusted) globalAgent.options.ca = ca;
  onTestFinished(() => void (globalAgent.options.ca = before));
  // The issuer is an app with our own server classes.
  const issuerApp = express();
  const issuerSecurity = applySecurity(issuerApp, { trustedHosts: ["127.0.0.1"] });
  issuerApp.get("/jwks", (_req, res) => void res.json({ keys: [jwkOf(KEY)] }));
  const issuer = createServer({ cert, key, ...issuerSecurity.serverOptions }, issuerApp).listen(0, "127.0.0.1");
  await once(issuer, "listening");
  const url = `https://127.0.0.1:${(issuer.address() as AddressInfo).port}`;
  const app = express();
  const security = applySecurity(app, {
    trustedHosts: ["127.0.0.1"],
    secretKey: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E",
    session: false,
    jwt: { issuers: [{ issuer: url, audience: AUDIENCE, algorithms: ["ES256"], jwksUri: `${url}/jwks` }] },
  });
  const reasons: unknown[] = [];
  security.events.on("portcullis_store_unavailable", ({ source, reason }) => reasons.push([source, reason]));
  app.get("/", security.requireJwt(), (req, res) => void res.json({ id: req.principal?.id }));
  const server = await serve(app);
  onTestFinished(async () => {
    await server.close();
    await security.close();
    await issuerSecurity.close();
    issuer.closeAllConnections();
    issuer.close();
  });
  const token = await foreignToken(KEY, foreignClaims(url, {}, Date.now()));
  return { url, reasons, send: () => server.send("/", { headers: { Authorization: `Bearer ${token}` } }) };
}

describe("keys from an https: URL", () => {
  it("are taken when the certificate is that of the host and an authority that Node trusts has signed it", async () => {
    const { send, url, reasons } = await start("IP:127.0.0.1", true);
    const answer = await send();
    expect([answer.status, answer.json()]).toEqual([200, { id: `${url}|ada` }]);
    expect(reasons).toEqual([]);
  });

  it.each([
    { what: "an unknown authority has signed it", names: "IP:127.0.0.1", isTrusted: false },
    { what: "it is that of another host", names: "DNS:other.example", isTrusted: true },
  ])("are not taken when $what: 503, and one event", async ({ names, isTrusted }) => {
    const { send, reasons } = await start(names, isTrusted);
    expect((await send()).status).toBe(503);
    expect((await send()).status).toBe(503);
    expect(reasons).toEqual([["jwt-keys", expect.any(String)]]);
  });
});
