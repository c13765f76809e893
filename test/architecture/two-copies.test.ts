import express from "express";
import { afterEach, describe, expect, it, vi } from "vitest";
import * as first from "../../src/index.js";
import { serve } from "../support/serve.js";

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function secondCopy(): Promise<typeof first> {
  vi.resetModules();
  return import("../../src/index.js");
}

/** As an ESM app with a CommonJS plugin has it. */
describe("two copies of the package in one process", () => {
  it("the guard of one accepts a credential that the protections of the other verified", async () => {
    const second = await secondCopy();
    expect(second.requireAuth).not.toBe(first.requireAuth);
    const app = express();
    const security = first.applySecurity(app, {
      debug: true,
      secretKey: "q7dS1uY0pXk3Vw8ZrT5nB2mC9eFgHjLa",
      apiKeys: { hash: "hmac-sha256" },
    });
    app.get("/me", second.requireApiKey(), (req, res) => void res.send(req.principal?.id));
    app.get("/session", second.requireSession(), (_req, res) => void res.send("x"));
    const server = await serve(app);
    closing.push(
      () => server.close(),
      () => security.close(),
    );
    const { key } = await security.apiKeys.create({ ownerId: "ada", name: "k" });
    expect((await server.send("/me", { headers: { "x-api-key": key } })).text).toBe("ada");
    expect((await server.send("/me")).status).toBe(401);
    const unwired = await server.send("/session");
    expect([unwired.status, (unwired.json() as { detail: string }).detail]).toEqual([
      500,
      expect.stringContaining("two versions of portcullis are installed"),
    ]);
  });

  it("protections of one refuse requests and write headers behind those of the other", async () => {
    const second = await secondCopy();
    const app = express();
    const security = first.applySecurity(app, { debug: true, cors: { origins: "*" } });
    app.use(second.corsPolicy({ origins: ["https://app.example.com"] }), second.csrfProtection({}));
    app.all("/", (_req, res) => void res.send("x"));
    const server = await serve(app);
    closing.push(
      () => server.close(),
      () => security.close(),
    );
    const refused = await server.send("/", { method: "POST", headers: { "sec-fetch-site": "cross-site" } });
    expect([refused.status, refused.headers["x-content-type-options"]]).toEqual([403, "nosniff"]);
    const served = await server.send("/", { headers: { origin: "https://other.example" } });
    expect([served.status, served.headers["access-control-allow-origin"], served.headers.vary]).toEqual([
      200,
      undefined,
      "Origin",
    ]);
  });
});
