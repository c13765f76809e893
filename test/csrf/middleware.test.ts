import { readFileSync } from "node:fs";
import type { Express, Request } from "express";
import { afterEach, describe, expect, it } from "vitest";
import { standalone } from "../../src/core/pipeline.js";
import { SecurityEvents, type SecurityEvent } from "../../src/core/events.js";
import { createRuntime } from "../../src/core/runtime.js";
import { createCsrf, csrfProtection, type CsrfDependencies } from "../../src/csrf/middleware.js";
import { csrfSchema, type CsrfSettings } from "../../src/csrf/settings.js";
import { parse } from "../../src/settings/object.js";
import { createTrustedHost } from "../../src/trusted-host/middleware.js";
import { trustedHostSchema } from "../../src/trusted-host/settings.js";
import { EXPRESS } from "../support/express-versions.js";
import { serve, type TestServer } from "../support/serve.js";

const EVIL = "https://attacker.example";
const TRUSTED = "https://trusted.example";
const PROBLEM = {
  type: "urn:problem-type:portcullis:cross-origin-refused",
  title: "Cross-origin request refused",
  status: 403,
  detail: "This request came from another origin, which is not trusted.",
  code: "cross-origin-refused",
};

describe.each(EXPRESS)("cross-origin request forgery over a socket, $name", ({ express }) => {
  let server: TestServer | undefined;
  const events: SecurityEvent[] = [];
  afterEach(async () => {
    events.length = 0;
    await server?.close();
    server = undefined;
  });

  async function start(
    settings: CsrfSettings = {},
    dependencies: CsrfDependencies = {},
    prepare: (app: Express) => void = () => undefined,
  ): Promise<TestServer> {
    const app = express();
    prepare(app);
    const runtime = createRuntime({ events: new SecurityEvents().on("*", (event) => events.push(event)) });
    app.use(standalone([createCsrf(parse(csrfSchema, settings), dependencies)], runtime));
    app.use((_req: Request, res: { end: (body: string) => void }) => res.end("app"));
    server = await serve(app);
    return server;
  }

  const post = async (
    to: TestServer,
    headers: Record<string, string | string[]>,
    path = "/",
    method = "POST",
  ): Promise<number> => (await to.send(path, { method, headers })).status;

  it("decides the server cases of Go's CrossOriginProtection as Go does", async () => {
    const to = await start({ trustedOrigins: [TRUSTED], exemptPaths: ["/bypass/"] });
    expect(await post(to, { origin: EVIL, "sec-fetch-site": "cross-site" })).toBe(403);
    expect(await post(to, { "sec-fetch-site": "same-origin" })).toBe(200);
    expect(await post(to, { origin: to.origin })).toBe(200);
    expect(await post(to, { origin: TRUSTED })).toBe(200);
    expect(await post(to, { origin: EVIL })).toBe(403);
    expect(await post(to, { origin: EVIL }, "/bypass/")).toBe(200);
  });

  it("checks every method but GET, HEAD and OPTIONS", async () => {
    const to = await start();
    const forged = { origin: EVIL, "sec-fetch-site": "cross-site" };
    for (const method of ["GET", "HEAD", "OPTIONS"]) expect(await post(to, forged, "/", method), method).toBe(200);
    for (const method of ["POST", "PUT", "PATCH", "DELETE", "PROPFIND", "TRACE"])
      expect(await post(to, forged, "/", method), method).toBe(403);
  });

  it("answers with a problem, announces it, and repeats nothing of the request", async () => {
    const to = await start();
    const answer = await to.send("/transfer?token=secret", {
      method: "POST",
      headers: { origin: EVIL, "sec-fetch-site": "cross-site" },
      body: "amount=1",
    });
    expect([answer.status, answer.headers["content-type"], answer.headers["cache-control"], answer.json()]).toEqual([
      403,
      "application/problem+json; charset=utf-8",
      "no-store",
      PROBLEM,
    ]);
    expect(answer.headers.vary).toBe("Accept");
    expect(events).toEqual([
      expect.objectContaining({
        event: "malicious_csrf",
        source: "csrf",
        reason: "cross-site",
        mode: "enforce",
        code: "cross-origin-refused",
        status: 403,
        method: "POST",
        path: "/transfer",
      }),
    ]);
    expect(JSON.stringify(events)).not.toMatch(/attacker|secret|amount/);
  });

  it("lets exempt paths through that match exactly, and nothing near them (CVE-2025-47910)", async () => {
    const to = await start({ exemptPaths: ["/callback", "/deep/path"] });
    const forged = { "sec-fetch-site": "cross-site" };
    for (const path of ["/callback", "/callback?a=b", "/deep/path"])
      expect(await post(to, forged, path), path).toBe(200);
    for (const path of [
      "/callback/",
      "/CALLBACK",
      "/callback/x",
      "/deep",
      "/deep/path/../x",
      "//callback",
      "/x?/callback",
      "/%63allback",
      "/",
    ])
      expect(await post(to, forged, path), path).toBe(403);
    expect(
      await to.raw(
        "POST http://x/callback HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: cross-site\r\nConnection: close\r\n\r\n",
      ),
    ).toMatch(/^HTTP\/1\.1 200/);
    expect(
      await to.raw(
        "POST http://callback HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: cross-site\r\nConnection: close\r\n\r\n",
      ),
    ).toMatch(/^HTTP\/1\.1 403/);
  });

  it("trusts the origins of CORS, and no origin because of *", async () => {
    const to = await start(
      { trustedOrigins: [TRUSTED] },
      { corsOrigins: ["https://app.example.com", "https://*.example.org"] },
    );
    for (const origin of [TRUSTED, "https://app.example.com", "https://a.b.example.org"])
      expect(await post(to, { origin, "sec-fetch-site": "cross-site" }), origin).toBe(200);
    expect(await post(to, { origin: EVIL, "sec-fetch-site": "cross-site" })).toBe(403);
    await to.close();
    const open = await start({}, { corsOrigins: "*" });
    expect(await post(open, { origin: EVIL, "sec-fetch-site": "cross-site" })).toBe(403);
    expect(await post(open, { origin: open.origin })).toBe(200);
  });

  it("reads the raw header lines, not the ones that Node has joined", async () => {
    const to = await start({ trustedOrigins: [TRUSTED] });
    const raw = async (...lines: string[]): Promise<string | undefined> => {
      const answer = await to.raw(
        Buffer.from(
          `POST / HTTP/1.1\r\n${[...lines, "Content-Length: 0", "Connection: close"].join("\r\n")}\r\n\r\n`,
          "latin1",
        ),
      );
      return /^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1];
    };
    const host = `Host: 127.0.0.1:${to.port}`;
    expect(await raw(host, "sEC-fETCH-sITE: same-origin")).toBe("200");
    expect(await raw(host, "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site")).toBe("403");
    expect(await raw(host, "Sec-Fetch-Site:")).toBe("403");
    expect(await raw(host, "Sec-Fetch-Site: same-origin\xff")).toBe("403");
    expect(await raw(host, `Origin: ${TRUSTED}`)).toBe("200");
    expect(await raw(host, `Origin: ${TRUSTED}`, `Origin: ${EVIL}`)).toBe("403");
    expect(await raw(host, `Origin: ${EVIL}`, `Origin: ${TRUSTED}`)).toBe("403");
    expect(await raw(host, `Origin: ${TRUSTED} ${TRUSTED}`)).toBe("403");
    expect(await raw(host, "Origin: null")).toBe("403");
    expect(await raw(host, "Origin:")).toBe("403");
    expect(await raw(host, `Origin: ${to.origin}`)).toBe("200");
    expect(await raw(host, "Host: attacker.example", "Origin: http://attacker.example")).toBe("403");
    expect(await raw(host, "Host: attacker.example", `Origin: ${to.origin}`)).toBe("403");
    expect(await raw(host, `Origin: http://evil@127.0.0.1:${to.port}`)).toBe("403");
    expect(await raw(host, `Origin: https://${"a".repeat(15_000)}`)).toBe("403");
    expect(await raw(host)).toBe("200");
    expect(new Set(events.map(({ reason }) => reason))).toEqual(
      new Set(["malformed", "null-origin", "origin-mismatch"]),
    );
  });

  it("refuses requests without Sec-Fetch-Site and Origin, and accepts a sibling subdomain, where the settings say so", async () => {
    const to = await start({ unmarked: "refuse", sameSite: "allow" });
    expect(await post(to, {})).toBe(403);
    expect(await post(to, { authorization: "Bearer x", "x-api-key": "y" })).toBe(403);
    expect(await post(to, { origin: to.origin })).toBe(200);
    expect(await post(to, { "sec-fetch-site": "same-site", origin: "https://sibling.example" })).toBe(200);
    expect(events.map(({ reason }) => reason)).toEqual(["unmarked", "unmarked"]);
  });

  it("in report mode announces the request and lets it pass", async () => {
    const to = await start({ mode: "report" });
    expect(await post(to, { "sec-fetch-site": "cross-site" })).toBe(200);
    expect(events).toEqual([expect.objectContaining({ reason: "cross-site", mode: "report" })]);
  });

  it("learns from a trusted proxy whether the page was https, and from no other peer", async () => {
    const headers = { host: "example.com", origin: "http://example.com", "x-forwarded-proto": "https" };
    const behind = await start({}, {}, (app) => app.set("trust proxy", 1));
    expect(await post(behind, headers)).toBe(403);
    expect(await post(behind, { ...headers, origin: "https://example.com" })).toBe(200);
    expect(await post(behind, { ...headers, "x-forwarded-proto": "http" })).toBe(200);
    await behind.close();
    const direct = await start();
    expect(await post(direct, headers)).toBe(200);
  });

  it("reads X-Forwarded-Host as its own name from a trusted proxy, and from no other peer", async () => {
    const headers = {
      host: "backend:3000",
      "x-forwarded-host": "example.com, inner.example",
      origin: "https://example.com",
    };
    const behind = await start({}, {}, (app) => app.set("trust proxy", 1));
    expect(await post(behind, headers)).toBe(200);
    expect(await post(behind, { ...headers, origin: "https://inner.example" })).toBe(403);
    await behind.close();
    const direct = await start();
    expect(await post(direct, headers)).toBe(403);
    expect(await post(direct, { ...headers, origin: "http://backend:3000" })).toBe(200);
  });

  it("accepts its own page when a proxy drops the port and the browser says same-origin", async () => {
    const headers = { host: "example.com", "x-forwarded-proto": "https", origin: "https://example.com:8443" };
    const behind = await start({}, {}, (app) => app.set("trust proxy", 1));
    expect(await post(behind, { ...headers, "sec-fetch-site": "same-origin" })).toBe(200);
    expect(await post(behind, { ...headers, host: "example.com:80", "sec-fetch-site": "same-origin" })).toBe(200);
    expect(
      await post(behind, {
        ...headers,
        host: "backend:3000",
        "x-forwarded-host": "example.com",
        "sec-fetch-site": "same-origin",
      }),
    ).toBe(200);
    expect(
      await post(behind, { ...headers, origin: "https://attacker.example:8443", "sec-fetch-site": "same-origin" }),
    ).toBe(403);
    expect(await post(behind, { ...headers, "sec-fetch-site": "same-site" })).toBe(403);
    expect(await post(behind, headers)).toBe(403);
  });

  it("reads X-Forwarded-Port from a trusted proxy, and from no other peer", async () => {
    const headers = { host: "example.com", origin: "https://example.com:8443", "x-forwarded-port": "8443" };
    const behind = await start({}, {}, (app) => app.set("trust proxy", 1));
    expect(await post(behind, headers)).toBe(200);
    expect(await post(behind, { ...headers, "x-forwarded-port": "8443, 3000" })).toBe(200);
    for (const port of ["3000, 8443", "443", "08443", "8443x", "99999", "", "-1", "8443 "]) {
      expect(await post(behind, { ...headers, "x-forwarded-port": port }), port).toBe(
        port.trim() === "8443" ? 200 : 403,
      );
    }
    expect(await post(behind, { ...headers, "sec-fetch-site": "same-site" })).toBe(403);
    await behind.close();
    const direct = await start();
    expect(await post(direct, headers)).toBe(403);
    expect(await post(direct, { ...headers, host: "example.com:8443" })).toBe(200);
  });

  it("behind trusted hosts accepts X-Forwarded-Host where that layer does", async () => {
    const headers = { host: "backend:3000", "x-forwarded-host": "example.com", origin: "https://example.com" };
    const hosts = (forwardedHost: boolean) => (app: Express) => {
      app.set("trust proxy", 1);
      app.use(
        standalone(
          [createTrustedHost(parse(trustedHostSchema, { hosts: ["backend", "example.com"], forwardedHost }))],
          createRuntime(),
        ),
      );
    };
    const believing = await start({}, {}, hosts(true));
    expect(await post(believing, headers)).toBe(200);
    await believing.close();
    const doubting = await start({}, {}, hosts(false));
    expect(await post(doubting, headers)).toBe(403);
    expect(await post(doubting, { ...headers, origin: "http://backend:3000" })).toBe(200);
  });

  it("csrf() works without applySecurity", async () => {
    const app = express();
    app.use(csrfProtection());
    app.use((_req: Request, res: { end: (body: string) => void }) => res.end("app"));
    server = await serve(app);
    expect(await post(server, { "sec-fetch-site": "same-origin" })).toBe(200);
    expect(await post(server, { "sec-fetch-site": "cross-site" })).toBe(403);
  });
});

describe("the layer", () => {
  const layer = createCsrf(parse(csrfSchema, { trustedOrigins: [TRUSTED], mode: "report" }), {
    corsOrigins: ["https://app.example.com"],
  });

  it("has its id, mode and a named handler", () => {
    expect([layer.id, layer.mode, layer.run.name]).toEqual(["csrf", "report", "csrfMiddleware"]);
  });

  it("describes what it does, the origins of CORS included", () => {
    expect(layer.describe()).toEqual({
      trustedOrigins: ["https://app.example.com", TRUSTED],
      exemptPaths: [],
      sameSite: "refuse",
      unmarked: "allow",
      mode: "report",
    });
  });

  it("has a README that names every reason the decision gives", () => {
    const source = readFileSync(new URL("../../src/csrf/decide.ts", import.meta.url), "utf8");
    const readme = readFileSync(new URL("../../src/csrf/README.md", import.meta.url), "utf8");
    const reasons = [...source.matchAll(/refusal\("([a-z-]+)"\)/g)].map((match) => match[1]).sort();
    expect(reasons).toHaveLength(6);
    expect(
      [...(readme.split("\n## Refusals\n")[1]?.split("\n## ")[0] ?? "").matchAll(/^\| `([a-z-]+)` \|/gm)]
        .map((match) => match[1])
        .sort(),
    ).toEqual(reasons);
  });
});
