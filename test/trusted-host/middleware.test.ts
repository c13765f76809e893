import { readFileSync } from "node:fs";
import type { Express, Request } from "express";
import { afterEach, describe, expect, it } from "vitest";
import { standalone } from "../../src/core/pipeline.js";
import { applySecurity } from "../../src/apply-security.js";
import { SecurityEvents, type SecurityEvent } from "../../src/core/events.js";
import { createRuntime } from "../../src/core/runtime.js";
import { parse } from "../../src/settings/object.js";
import { createTrustedHost, trustedHost } from "../../src/trusted-host/middleware.js";
import { trustedHostSchema, type TrustedHostSettings } from "../../src/trusted-host/settings.js";
import { EXPRESS } from "../support/express-versions.js";
import { serve, type TestServer } from "../support/serve.js";

const HOST = "api.example.com";
const PROBLEM = {
  type: "urn:problem-type:portcullis:untrusted-host",
  title: "Untrusted host",
  status: 400,
  detail: "This service does not answer for the Host of this request.",
  code: "untrusted-host",
};

describe.each(EXPRESS)("trusted hosts over a socket, $name", ({ express }) => {
  let server: TestServer | undefined;
  const events: SecurityEvent[] = [];
  afterEach(async () => {
    events.length = 0;
    await server?.close();
    server = undefined;
  });

  async function start(
    settings: TrustedHostSettings,
    prepare: (app: Express) => void = () => undefined,
  ): Promise<TestServer> {
    const app = express();
    prepare(app);
    const runtime = createRuntime({ events: new SecurityEvents().on("*", (event) => events.push(event)) });
    app.use(standalone([createTrustedHost(parse(trustedHostSchema, settings))], runtime));
    app.use((req: Request, res: { json: (body: unknown) => void }) =>
      res.json({ hostname: req.hostname, forwarded: req.headers["x-forwarded-host"] ?? null }),
    );
    server = await serve(app);
    return server;
  }

  /** Status of the answer to bytes as written. */
  async function status(to: TestServer, ...lines: string[]): Promise<number> {
    const answer = await to.raw(Buffer.from(`${[...lines, "Connection: close"].join("\r\n")}\r\n\r\n`, "latin1"));
    return Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1]);
  }

  it("serves a listed host and no other", async () => {
    const to = await start([HOST]);
    expect((await to.send("/", { headers: { host: HOST } })).json()).toEqual({ hostname: HOST, forwarded: null });
    const refused = await to.send("/a?token=secret", { headers: { host: "evil.example.net" } });
    expect([refused.status, refused.headers["content-type"], refused.json()]).toEqual([
      400,
      "application/problem+json; charset=utf-8",
      PROBLEM,
    ]);
    expect(refused.text).not.toMatch(/evil/);
    expect(events).toEqual([
      expect.objectContaining({
        event: "portcullis_untrusted_host",
        source: "trusted-host",
        reason: "not-listed",
        mode: "enforce",
        code: "untrusted-host",
        status: 400,
        method: "GET",
        path: "/a",
        sourceIp: "127.0.0.1",
      }),
    ]);
    expect(JSON.stringify(events)).not.toMatch(/evil|secret/);
  });

  it("reads the raw header lines, not the ones that Node has joined", async () => {
    const to = await start([HOST]);
    expect(await status(to, "GET / HTTP/1.1", `Host: ${HOST}`)).toBe(200);
    expect(await status(to, "GET / HTTP/1.1", `hOsT:${HOST.toUpperCase()}.:8080`)).toBe(200);
    expect(await status(to, "GET / HTTP/1.1", `Host: \t ${HOST} \t`)).toBe(200);
    expect(await status(to, "GET / HTTP/1.1", `Host: ${HOST}`, `Host: ${HOST}`)).toBe(400);
    expect(await status(to, "GET / HTTP/1.1", `Host: ${HOST}`, "Host: evil.com")).toBe(400);
    expect(await status(to, "GET / HTTP/1.1", "Host: evil.com", `HOST: ${HOST}`)).toBe(400);
    expect(await status(to, `GET / HTTP/1.1`, `Host: ${HOST}, evil.com`)).toBe(400);
    expect(await status(to, `GET / HTTP/1.1`, `Host: evil.com@${HOST}`)).toBe(400);
    expect(await status(to, `GET / HTTP/1.1`, `Host: ${HOST}\x00`)).toBe(400);
    expect(await status(to, `GET / HTTP/1.1`, `Host: ${HOST}\r.evil.com`)).toBe(400);
    expect(await status(to, `GET / HTTP/1.1`, `Host: ${HOST}\xe9`)).toBe(400);
    expect(await status(to, `GET / HTTP/1.1`, `Host: ${"a.".repeat(7500)}com`)).toBe(400);
    expect(await status(to, `GET / HTTP/1.1`, "Host:")).toBe(400);
    expect(await status(to, `GET / HTTP/1.1`)).toBe(400);
    expect(new Set(events.map(({ reason }) => reason))).toEqual(new Set(["duplicate", "malformed"]));
  });

  it("requires a Host over HTTP/1.0 too", async () => {
    const to = await start([HOST]);
    expect(await status(to, "GET / HTTP/1.0", `Host: ${HOST}`)).toBe(200);
    expect(await status(to, "GET / HTTP/1.0")).toBe(400);
    expect(events.map(({ reason }) => reason)).toEqual(["missing"]);
  });

  it("compares an absolute-form target with Host", async () => {
    const to = await start([HOST]);
    expect(await status(to, `GET http://${HOST}/x HTTP/1.1`, `Host: ${HOST}`)).toBe(200);
    expect(await status(to, `GET http://${HOST}:80/x HTTP/1.1`, `Host: ${HOST}`)).toBe(200);
    expect(await status(to, `GET http://evil.com/x HTTP/1.1`, `Host: ${HOST}`)).toBe(400);
    expect(await status(to, `GET http://${HOST}/x HTTP/1.1`, "Host: evil.com")).toBe(400);
    expect(await status(to, `GET http://${HOST}@evil.com/x HTTP/1.1`, `Host: ${HOST}`)).toBe(400);
    expect(await status(to, `GET http://evil.com HTTP/1.0`)).toBe(400);
    expect(await status(to, `OPTIONS * HTTP/1.1`, `Host: ${HOST}`)).toBe(200);
    expect(events.map(({ reason }) => reason)).toEqual([
      "target-mismatch",
      "target-mismatch",
      "target-mismatch",
      "missing",
    ]);
  });

  it("ignores X-Forwarded-Host by default, and hides it from Express", async () => {
    const to = await start([HOST], (app) => app.set("trust proxy", 1));
    const answer = await to.send("/", { headers: { host: HOST, "x-forwarded-host": "evil.com" } });
    expect([answer.status, answer.json()]).toEqual([200, { hostname: HOST, forwarded: null }]);
    expect((await to.send("/", { headers: { host: "evil.com", "x-forwarded-host": HOST } })).status).toBe(400);
  });

  it("reads X-Forwarded-Host from a trusted proxy where the settings say so", async () => {
    const to = await start({ hosts: [HOST], forwardedHost: true }, (app) => app.set("trust proxy", "loopback"));
    const answer = await to.send("/", { headers: { host: "backend:3000", "x-forwarded-host": HOST } });
    expect([answer.status, answer.json()]).toEqual([200, { hostname: HOST, forwarded: HOST }]);
    const refusals = ["evil.com", `${HOST}, evil.com`, `evil.com, ${HOST}`, ""];
    for (const forwarded of refusals)
      expect((await to.send("/", { headers: { host: HOST, "x-forwarded-host": forwarded } })).status, forwarded).toBe(
        400,
      );
    expect((await to.send("/", { headers: { host: HOST, "x-forwarded-host": [HOST, "evil.com"] } })).status).toBe(400);
    expect((await to.send("/", { headers: { host: "backend:3000" } })).status).toBe(400);
    expect((await to.send("/", { headers: { host: HOST } })).status).toBe(200);
    expect(new Set(events.map(({ reason }) => reason))).toEqual(new Set(["forwarded-not-listed", "not-listed"]));
  });

  it("reads X-Forwarded-Host from no other peer, whatever the settings", async () => {
    for (const trust of [false, "10.0.0.0/8"]) {
      const to = await start({ hosts: [HOST], forwardedHost: true }, (app) => app.set("trust proxy", trust));
      expect((await to.send("/", { headers: { host: "evil.com", "x-forwarded-host": HOST } })).status).toBe(400);
      expect((await to.send("/", { headers: { host: HOST, "x-forwarded-host": "evil.com" } })).json()).toEqual({
        hostname: HOST,
        forwarded: null,
      });
      await to.close();
      server = undefined;
    }
  });

  it("answers health checks on exempt paths for any Host or none, GET and HEAD alone", async () => {
    const to = await start({ hosts: [HOST], exemptPaths: ["/healthz"] }, (app) => app.set("trust proxy", 1));
    expect(await status(to, "GET /healthz HTTP/1.1", "Host: 10.0.0.7:8080")).toBe(200);
    expect(await status(to, "HEAD /healthz?full HTTP/1.1", "Host: 10.0.0.7:8080")).toBe(200);
    expect(await status(to, "GET /healthz HTTP/1.0")).toBe(200);
    expect(await status(to, "POST /healthz HTTP/1.1", "Host: 10.0.0.7:8080")).toBe(400);
    for (const path of [
      "/healthz/",
      "/HEALTHZ",
      "/healthz/../x",
      "/x?/healthz",
      "//healthz",
      "/%68ealthz",
      "/healthz;a",
    ]) {
      expect(await status(to, `GET ${path} HTTP/1.1`, "Host: 10.0.0.7:8080"), path).toBe(400);
    }
    const answer = await to.send("/healthz", { headers: { host: "10.0.0.7", "x-forwarded-host": "evil.com" } });
    expect(answer.json()).toEqual({ hostname: "10.0.0.7", forwarded: null });
  });

  it("compares exempt paths with the whole path when it is mounted below one", async () => {
    const app = express();
    app.use("/api", trustedHost({ hosts: [HOST], exemptPaths: ["/healthz"] }));
    app.use((_req: Request, res: { end: (body: string) => void }) => res.end("app"));
    server = await serve(app);
    expect((await server.send("/api/healthz")).status).toBe(400);
  });

  it("in report mode announces the request, lets it pass and changes nothing", async () => {
    const to = await start({ hosts: [HOST], mode: "report" }, (app) => app.set("trust proxy", 1));
    const answer = await to.send("/", { headers: { host: "evil.com", "x-forwarded-host": "other.com" } });
    expect([answer.status, answer.json()]).toEqual([200, { hostname: "other.com", forwarded: "other.com" }]);
    expect(events).toEqual([expect.objectContaining({ reason: "not-listed", mode: "report" })]);
  });

  it("trustedHost() works without applySecurity", async () => {
    const app = express();
    app.use(trustedHost([HOST, "*.example.org"]));
    app.use((_req: Request, res: { end: (body: string) => void }) => res.end("app"));
    server = await serve(app);
    expect((await server.send("/", { headers: { host: "a.b.example.org:8443" } })).text).toBe("app");
    expect((await server.send("/", { headers: { host: "example.org" } })).json()).toEqual(PROBLEM);
  });

  it("does not count probes of an exempt path with the cost function of the README, even when the limit is used up", async () => {
    const app = express();
    const security = applySecurity(app, {
      trustedHosts: { hosts: [HOST], exemptPaths: ["/healthz"] },
      rateLimit: { limit: 1, cost: (req) => (req.path === "/healthz" ? 0 : 1) },
    });
    app.use((_req: Request, res: { end: (body: string) => void }) => res.end("app"));
    server = await serve(app);
    const statuses: number[] = [];
    for (const [path, host] of [
      ["/", HOST],
      ["/", HOST],
      ["/healthz", "10.0.0.7"],
      ["/healthz", "10.0.0.7"],
      ["/", HOST],
    ] as const)
      statuses.push((await server.send(path, { headers: { host } })).status);
    expect(statuses).toEqual([200, 429, 200, 200, 429]);
    await security.close();
  });
});

describe("the layer", () => {
  const layer = createTrustedHost(parse(trustedHostSchema, { hosts: ["A.example", "::1"], exemptPaths: ["/healthz"] }));

  it("has its id, mode and a named handler", () => {
    expect([layer.id, layer.mode, layer.run.name]).toEqual(["trusted-host", "enforce", "trustedHostMiddleware"]);
  });

  it("describes its settings in a copy", () => {
    expect(layer.describe()).toEqual({
      hosts: ["a.example", "[::1]"],
      exemptPaths: ["/healthz"],
      forwardedHost: false,
      mode: "enforce",
    });
    (layer.describe()["hosts"] as string[]).push("*");
    expect(layer.describe()["hosts"]).toEqual(["a.example", "[::1]"]);
  });

  it("has a README that names every reason the decision gives", () => {
    const source = readFileSync(new URL("../../src/trusted-host/decide.ts", import.meta.url), "utf8");
    const readme = readFileSync(new URL("../../src/trusted-host/README.md", import.meta.url), "utf8");
    const reasons = [...source.matchAll(/refusal\("([a-z-]+)"\)/g)].map((match) => match[1]).sort();
    expect(reasons).toHaveLength(6);
    expect(
      [...(readme.split("\n## Refusals\n")[1]?.split("\n## ")[0] ?? "").matchAll(/^\| `([a-z-]+)` \|/gm)]
        .map((match) => match[1])
        .sort(),
    ).toEqual(reasons);
  });
});
