import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { standalone } from "../../src/core/pipeline.js";
import { stateOf } from "../../src/core/request-state.js";
import { refuse } from "../../src/core/response/refuse.js";
import { createRuntime } from "../../src/core/runtime.js";
import { createHeaders, securityHeaders } from "../../src/headers/middleware.js";
import { headersSchema } from "../../src/headers/schema.js";
import type { HeadersSettings } from "../../src/headers/settings.js";
import { parse } from "../../src/settings/object.js";
import { EXPRESS } from "../support/express-versions.js";
import { expectSecurityHeaders } from "../support/security-headers.js";
import { serve, type TestServer } from "../support/serve.js";
import { DEFAULT_PLAIN, DEFAULT_SECURE, FINAL_CSP, without } from "./expected.js";
import { parseCsp, parseOneCsp } from "./csp-parser.js";

const SECURE = { "x-forwarded-proto": "https" };

function layer(settings: HeadersSettings, debug = false) {
  return createHeaders(parse(headersSchema, settings), createRuntime({ debug }));
}

describe.each(EXPRESS)("the headers layer on $name", ({ express }) => {
  describe("the defaults, on every kind of response", () => {
    let server: TestServer;
    beforeAll(async () => {
      const app = express();
      app.set("trust proxy", "loopback");
      app.use(securityHeaders());
      app.get("/ok", (_req, res) => void res.send("<p>hello</p>"));
      app.get("/json", (_req, res) => void res.json({}));
      app.get("/empty", (_req, res) => void res.status(204).end());
      app.get("/moved", (_req, res) => void res.redirect("/ok"));
      app.get("/written", (_req, res) => void res.writeHead(200, { "X-Own": "1" }).end("x"));
      app.get("/refused", (req, res) => void refuse(req, res, "test", { code: "untrusted-host", reason: "test" }));
      app.get("/throws", () => {
        throw new Error("boom");
      });
      app.get("/status", (_req, _res, next) =>
        next(Object.assign(new Error("teapot"), { status: 418, headers: { "X-Own": "1" } })),
      );
      server = await serve(app);
    });
    afterAll(() => server.close());

    it.each([
      ["200", "/ok", 200],
      ["200 of JSON", "/json", 200],
      ["200 by writeHead", "/written", 200],
      ["204", "/empty", 204],
      ["302", "/moved", 302],
      ["a refusal", "/refused", 400],
    ])("%s", async (_name, path, status) => {
      const plain = await server.send(path);
      expect(plain.status).toBe(status);
      expectSecurityHeaders(plain, DEFAULT_PLAIN);
      const secure = await server.send(path, { headers: SECURE });
      expect(secure.status).toBe(status);
      expectSecurityHeaders(secure, DEFAULT_SECURE);
    });

    it("304", async () => {
      const etag = String((await server.send("/ok")).headers.etag);
      const answer = await server.send("/ok", { headers: { "if-none-match": etag, ...SECURE } });
      expect(answer.status).toBe(304);
      expectSecurityHeaders(answer, DEFAULT_SECURE);
    });

    it.each([
      ["404", "/nothing", "GET", 404],
      ["404 to HEAD", "/nothing", "HEAD", 404],
      ["500, thrown in the route", "/throws", "GET", 500],
      ["an error with a status", "/status", "GET", 418],
      ["a target that cannot be decoded", "/%", "GET", 404],
    ])("%s: Express's own page keeps frame-ancestors and is no weaker", async (_name, path, method, status) => {
      const plain = await server.send(path, { method });
      expect(plain.status).toBe(status);
      expectSecurityHeaders(plain, { ...DEFAULT_PLAIN, "Content-Security-Policy": FINAL_CSP });
      const secure = await server.send(path, { method, headers: SECURE });
      expectSecurityHeaders(secure, { ...DEFAULT_SECURE, "Content-Security-Policy": FINAL_CSP });
    });

    it("OPTIONS answered by the router", async () => {
      const answer = await server.send("/ok", { method: "OPTIONS" });
      expect(answer.status).toBe(200);
      expectSecurityHeaders(answer, DEFAULT_PLAIN);
    });
  });

  it("ignores X-Forwarded-Proto from a proxy that is not trusted", async () => {
    const app = express();
    app.use(securityHeaders(), (_req, res) => void res.end());
    const server = await serve(app);
    expectSecurityHeaders(await server.send("/", { headers: SECURE }), DEFAULT_PLAIN);
    await server.close();
  });

  const CASES: {
    name: string;
    settings: HeadersSettings;
    debug?: boolean;
    change: Record<string, string | undefined>;
  }[] = [
    {
      name: "debug",
      settings: { strictTransportSecurity: { maxAge: 5 } },
      debug: true,
      change: {
        "Strict-Transport-Security": undefined,
        "Content-Security-Policy": DEFAULT_PLAIN["Content-Security-Policy"]?.replace(";upgrade-insecure-requests", ""),
      },
    },
    {
      name: "upgrade-insecure-requests written out, in debug",
      settings: {
        contentSecurityPolicy: {
          directives: { "default-src": ["'none'"], "upgrade-insecure-requests": [] },
          useDefaults: false,
        },
      },
      debug: true,
      change: { "Strict-Transport-Security": undefined, "Content-Security-Policy": "default-src 'none'" },
    },
    {
      name: "everything off",
      settings: {
        contentSecurityPolicy: false,
        strictTransportSecurity: false,
        permissionsPolicy: false,
        referrerPolicy: false,
        frameOptions: false,
        xssProtection: false,
        crossOriginOpenerPolicy: false,
        crossOriginResourcePolicy: false,
      },
      change: Object.fromEntries(
        Object.keys(DEFAULT_SECURE)
          .filter((name) => name !== "X-Content-Type-Options")
          .map((name) => [name, undefined]),
      ),
    },
    {
      name: "HSTS",
      settings: { strictTransportSecurity: { maxAge: 63_072_000, preload: true } },
      change: { "Strict-Transport-Security": "max-age=63072000; includeSubDomains; preload" },
    },
    {
      name: "HSTS taken back",
      settings: { strictTransportSecurity: { maxAge: 0, includeSubDomains: false } },
      change: { "Strict-Transport-Security": "max-age=0" },
    },
    { name: "block", settings: { xssProtection: "block" }, change: { "X-XSS-Protection": "1; mode=block" } },
    {
      name: "the cross-origin three",
      settings: {
        crossOriginOpenerPolicy: "noopener-allow-popups",
        crossOriginResourcePolicy: "cross-origin",
        crossOriginEmbedderPolicy: "credentialless",
      },
      change: {
        "Cross-Origin-Opener-Policy": "noopener-allow-popups",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Cross-Origin-Embedder-Policy": "credentialless",
      },
    },
    {
      name: "two referrer policies",
      settings: { referrerPolicy: ["no-referrer", "strict-origin-when-cross-origin"] },
      change: { "Referrer-Policy": "no-referrer,strict-origin-when-cross-origin" },
    },
    {
      name: "endpoints",
      settings: { reportingEndpoints: { csp: 'https://r.example/a,b;c?"d"', "other.1": "http://127.0.0.1:9/" } },
      change: { "Reporting-Endpoints": 'csp="https://r.example/a,b;c?\\"d\\"", other.1="http://127.0.0.1:9/"' },
    },
    {
      name: "X-Frame-Options follows frame-ancestors",
      settings: { contentSecurityPolicy: { directives: { "frame-ancestors": ["'self'"] } } },
      change: {
        "X-Frame-Options": "SAMEORIGIN",
        "Content-Security-Policy": DEFAULT_PLAIN["Content-Security-Policy"]?.replace(
          "frame-ancestors 'none'",
          "frame-ancestors 'self'",
        ),
      },
    },
    {
      name: "X-Frame-Options where it cannot follow",
      settings: { contentSecurityPolicy: { directives: { "frame-ancestors": ["https://a.example"] } } },
      change: {
        "X-Frame-Options": undefined,
        "Content-Security-Policy": DEFAULT_PLAIN["Content-Security-Policy"]?.replace(
          "frame-ancestors 'none'",
          "frame-ancestors https://a.example",
        ),
      },
    },
    {
      name: "frame-ancestors follows X-Frame-Options",
      settings: { frameOptions: "SAMEORIGIN" },
      change: {
        "X-Frame-Options": "SAMEORIGIN",
        "Content-Security-Policy": DEFAULT_PLAIN["Content-Security-Policy"]?.replace(
          "frame-ancestors 'none'",
          "frame-ancestors 'self'",
        ),
      },
    },
    {
      name: "permissions are laid over the denied features",
      settings: {
        permissionsPolicy: {
          geolocation: ["self", "https://maps.example.com"],
          camera: [],
          fullscreen: "*",
          usb: false,
        },
      },
      change: {
        "Permissions-Policy": `geolocation=(self "https://maps.example.com"), camera=(), fullscreen=*, ${DEFAULT_PLAIN["Permissions-Policy"]?.replace("camera=(), ", "").replace("geolocation=(), ", "").replace("usb=(), ", "") ?? ""}`,
      },
    },
    {
      name: "enforced and report-only at once",
      settings: {
        contentSecurityPolicyReportOnly: {
          directives: { "default-src": ["'none'"], "report-to": ["csp"] },
          useDefaults: false,
        },
        reportingEndpoints: { csp: "https://r.example/" },
      },
      change: {
        "Content-Security-Policy-Report-Only": "default-src 'none';report-to csp",
        "Reporting-Endpoints": 'csp="https://r.example/"',
      },
    },
    {
      name: "report-only policy from the defaults",
      settings: { contentSecurityPolicyReportOnly: { directives: { "require-trusted-types-for": ["'script'"] } } },
      change: {
        "Content-Security-Policy-Report-Only": DEFAULT_PLAIN["Content-Security-Policy"]?.replace(
          "upgrade-insecure-requests",
          "require-trusted-types-for 'script'",
        ),
      },
    },
    {
      name: "one directive tried out alone",
      settings: {
        contentSecurityPolicyReportOnly: {
          directives: { "require-trusted-types-for": ["'script'"] },
          useDefaults: false,
        },
      },
      change: { "Content-Security-Policy-Report-Only": "require-trusted-types-for 'script'" },
    },
    {
      name: "mode report",
      settings: { mode: "report" },
      change: {
        "Content-Security-Policy": undefined,
        "Content-Security-Policy-Report-Only": DEFAULT_PLAIN["Content-Security-Policy"]?.replace(
          ";upgrade-insecure-requests",
          "",
        ),
      },
    },
  ];

  it.each(CASES)("$name", async ({ settings, debug, change }) => {
    const app = express();
    app.set("trust proxy", "loopback");
    app.use(standalone([layer(settings, debug)], createRuntime()), (_req, res) => void res.end());
    const server = await serve(app);
    const expected = Object.fromEntries(
      Object.entries({ ...DEFAULT_SECURE, ...change }).filter(
        (entry): entry is [string, string] => entry[1] !== undefined,
      ),
    );
    expectSecurityHeaders(await server.send("/", { headers: SECURE }), expected);
    await server.close();
  });

  it("sends both policies of mode report in one field", async () => {
    const app = express();
    app.use(
      securityHeaders({ mode: "report", contentSecurityPolicyReportOnly: { directives: { "img-src": ["'none'"] } } }),
      (_req, res) => void res.end(),
    );
    const server = await serve(app);
    const { headers } = await server.send("/");
    expect(headers["content-security-policy"]).toBeUndefined();
    expect(
      parseCsp(String(headers["content-security-policy-report-only"])).map((policy) => policy.get("img-src")),
    ).toEqual([["'self'", "data:"], ["'none'"]]);
    await server.close();
  });

  it("marks itself as run, and keeps a policy that the route sets itself", async () => {
    const app = express();
    let ran = false;
    app.use(securityHeaders());
    app.get("/own", (req, res) => {
      ran = stateOf(req).hasRun("headers");
      res.set("Content-Security-Policy", "default-src https:").send("x");
    });
    const server = await serve(app);
    expect(parseOneCsp((await server.send("/own")).headers["content-security-policy"])).toEqual(
      new Map([["default-src", ["https:"]]]),
    );
    expect(ran).toBe(true);
    await server.close();
  });

  it("uses the later settings where it is mounted twice", async () => {
    const app = express();
    app.use(securityHeaders());
    app.use("/open", securityHeaders({ contentSecurityPolicy: false, referrerPolicy: "origin" }));
    app.use((_req, res) => void res.end());
    const server = await serve(app);
    expectSecurityHeaders(await server.send("/open"), {
      ...without(DEFAULT_PLAIN, "Content-Security-Policy"),
      "Referrer-Policy": "origin",
    });
    expectSecurityHeaders(await server.send("/"), DEFAULT_PLAIN);
    await server.close();
  });

  it("calls next when the response has already begun", async () => {
    const app = express();
    app.use((_req, res, next) => {
      res.write("early");
      next();
    });
    app.use(securityHeaders(), (_req, res) => void res.end(" late"));
    const server = await serve(app);
    expect((await server.send("/")).text).toBe("early late");
    await server.close();
  });
});

describe("the layer", () => {
  it("describes what it sends, as JSON", () => {
    const made = layer({ contentSecurityPolicy: { directives: { "script-src": ["'nonce'"] } } });
    const described = made.describe();
    expect(JSON.parse(JSON.stringify(described))).toEqual(described);
    expect(described).toEqual({
      mode: "enforce",
      headers: {
        ...DEFAULT_SECURE,
        "Content-Security-Policy": DEFAULT_SECURE["Content-Security-Policy"]?.replace(
          "script-src 'self'",
          "script-src 'nonce-…'",
        ),
      },
    });
    expect(made.id).toBe("headers");
    expect(layer({ mode: "report" }).mode).toBe("report");
  });
});
