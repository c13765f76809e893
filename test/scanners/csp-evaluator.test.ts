import express from "express";
import { securityHeaders } from "portcullis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createQuickstart } from "../../examples/quickstart/app.js";
import { serve, type TestServer } from "../support/serve.js";
import { evaluate } from "./findings.js";

const policyOf = async (server: TestServer, path: string): Promise<string> => {
  const policy = (await server.send(path)).headers["content-security-policy"];
  if (typeof policy !== "string") throw new Error(`${path} has no policy`);
  return policy;
};

describe("Google's CSP Evaluator", () => {
  it("finds no weakness in the policy the library sends without settings, and asks only what 'self' serves", async () => {
    const app = express().use(securityHeaders());
    app.get("/", (_req, res) => void res.send("ok"));
    const server = await serve(app);
    try {
      expect(evaluate(await policyOf(server, "/"))).toEqual({
        weaknesses: [],
        accepted: [expect.stringMatching(/^MEDIUM_MAYBE script-src 'self': /)],
        others: [],
      });
    } finally {
      await server.close();
    }
  });

  describe("of the quickstart", () => {
    const { app, security } = createQuickstart("sqlite::memory:", "wJ8s7Yk2pQz4Nf6Vb1Xc3Mh5Lr9Tg0Ud", {
      debug: false,
      trustedHosts: ["127.0.0.1"],
    });
    let server: TestServer;
    beforeAll(async () => {
      await security.ready();
      server = await serve(app);
    });
    afterAll(async () => {
      await server.close();
      await security.close();
    });

    it.each(["/page", "/public", "/nowhere", "/me"])("has no finding in the policy of %s", async (path) => {
      expect(evaluate(await policyOf(server, path))).toEqual({ weaknesses: [], accepted: [], others: [] });
    });
  });

  // What an app could write instead: were these found to be fine, the tests above would say nothing.
  it.each([
    [
      "'unsafe-inline' in script-src",
      "default-src 'self'; script-src 'unsafe-inline'; object-src 'none'; base-uri 'none'",
      /^HIGH script-src 'unsafe-inline'/,
    ],
    ["no script-src", "object-src 'none'; base-uri 'none'", /^HIGH script-src/],
    ["any https host", "default-src https:; object-src 'none'; base-uri 'none'", /^HIGH default-src https:/],
    ["data: in script-src", "script-src 'self' data:; object-src 'none'; base-uri 'none'", /^HIGH script-src data:/],
    [
      "a list of hosts known to serve JSONP",
      "script-src https://www.google.com; object-src 'none'; base-uri 'none'",
      /^HIGH script-src https:\/\/www\.google\.com/,
    ],
    ["a nonce without base-uri", "script-src 'nonce-d2+o8sZghHPM7fGKLa1sRQNh'; object-src 'none'", /^HIGH base-uri/],
    [
      "'unsafe-eval'",
      "script-src 'self' 'unsafe-eval'; object-src 'none'; base-uri 'none'",
      /^MEDIUM_MAYBE script-src 'unsafe-eval'/,
    ],
    ["a short nonce", "script-src 'nonce-abc'; object-src 'none'; base-uri 'none'", /^MEDIUM script-src 'nonce-abc'/],
    [
      "a misspelt directive",
      "default-src 'self'; object-src 'none'; base-uri 'none'; scriptsrc 'none'",
      /^SYNTAX scriptsrc/,
    ],
  ])("finds %s", (_name, policy, weakness) => {
    expect(evaluate(policy).weaknesses).toEqual(expect.arrayContaining([expect.stringMatching(weakness)]));
  });
});
