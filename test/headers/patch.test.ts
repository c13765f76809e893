import { describe, expect, it } from "vitest";
import { standalone } from "../../src/core/pipeline.js";
import { createRuntime } from "../../src/core/runtime.js";
import { createHeaders, type HeadersLayer } from "../../src/headers/middleware.js";
import { headersSchema } from "../../src/headers/schema.js";
import type { HeadersPatch, HeadersSettings } from "../../src/headers/settings.js";
import { SettingsError } from "../../src/settings/errors.js";
import { parse } from "../../src/settings/object.js";
import { EXPRESS } from "../support/express-versions.js";
import { expectSecurityHeaders } from "../support/security-headers.js";
import { serve } from "../support/serve.js";
import { parseOneCsp } from "./csp-parser.js";
import { DEFAULT_PLAIN, DEFAULT_SECURE, FINAL_CSP, without } from "./expected.js";

const layer = (settings: HeadersSettings = {}): HeadersLayer =>
  createHeaders(parse(headersSchema, settings), createRuntime());
const csp = (directives: object): HeadersPatch => ({ contentSecurityPolicy: { directives } });
const DEFAULT_CSP = DEFAULT_PLAIN["Content-Security-Policy"] ?? "";

describe.each(EXPRESS)("a patch on $name", ({ express }) => {
  it("changes its route and no other, plain and secure", async () => {
    const headers = layer();
    const app = express();
    app.set("trust proxy", "loopback");
    app.use(standalone([headers], createRuntime()));
    app.get(
      "/map",
      headers.patch({
        ...csp({ "img-src": ["https://tiles.example"] }),
        referrerPolicy: "origin",
        permissionsPolicy: { geolocation: ["self"] },
        crossOriginOpenerPolicy: false,
        strictTransportSecurity: { maxAge: 7 },
      }),
      (_req, res) => void res.end(),
    );
    app.get("/other", (_req, res) => void res.end());
    const server = await serve(app);
    const expected = {
      ...without(DEFAULT_PLAIN, "Cross-Origin-Opener-Policy"),
      "Content-Security-Policy": DEFAULT_CSP.replace(
        "img-src 'self' data:",
        "img-src 'self' data: https://tiles.example",
      ),
      "Referrer-Policy": "origin",
      "Permissions-Policy": `geolocation=(self), ${DEFAULT_PLAIN["Permissions-Policy"]?.replace("geolocation=(), ", "") ?? ""}`,
    };
    expectSecurityHeaders(await server.send("/map"), expected);
    expectSecurityHeaders(await server.send("/map", { headers: { "x-forwarded-proto": "https" } }), {
      ...expected,
      "Strict-Transport-Security": "max-age=7; includeSubDomains",
    });
    expectSecurityHeaders(await server.send("/other"), DEFAULT_PLAIN);
    expectSecurityHeaders(await server.send("/other", { headers: { "x-forwarded-proto": "https" } }), DEFAULT_SECURE);
    await server.close();
  });

  it("patches add up in the order they run", async () => {
    const headers = layer();
    const app = express();
    const router = express.Router();
    router.use(headers.patch(csp({ "img-src": ["https://a.example"] })));
    router.get(
      "/both",
      headers.patch(csp({ "img-src": ["https://b.example"], "frame-ancestors": ["'self'"] })),
      (_req, res) => void res.end(),
    );
    router.get("/one", (_req, res) => void res.end());
    app.use(standalone([headers], createRuntime()), router);
    const server = await serve(app);
    for (let round = 0; round < 2; round += 1) {
      const both = await server.send("/both");
      expect(parseOneCsp(both.headers["content-security-policy"]).get("img-src")).toEqual([
        "'self'",
        "data:",
        "https://a.example",
        "https://b.example",
      ]);
      expect(both.headers["x-frame-options"]).toBe("SAMEORIGIN");
      const one = await server.send("/one");
      expect(parseOneCsp(one.headers["content-security-policy"]).get("img-src")).toEqual([
        "'self'",
        "data:",
        "https://a.example",
      ]);
      expect(one.headers["x-frame-options"]).toBe("DENY");
    }
    await server.close();
  });

  it.each(["before", "after"])("works with a nonce read %s the patch", async (when) => {
    const headers = layer({ ...csp({ "script-src": ["'nonce'"] }), contentSecurityPolicyReportOnly: {} });
    const app = express();
    app.use(standalone([headers], createRuntime()));
    if (when === "before") {
      app.use((_req, res, next) => {
        void res.locals["cspNonce"];
        next();
      });
    }
    app.use(
      headers.patch({
        ...csp({ "script-src": ["https://cdn.example"] }),
        contentSecurityPolicyReportOnly: { directives: { "style-src": ["'nonce'"] } },
      }),
      (_req, res) => void res.send(String(res.locals["cspNonce"])),
    );
    const server = await serve(app);
    const { text, headers: sent } = await server.send("/");
    await server.close();
    expect(parseOneCsp(sent["content-security-policy"]).get("script-src")).toEqual([
      `'nonce-${text}'`,
      "https://cdn.example",
    ]);
    expect(parseOneCsp(sent["content-security-policy-report-only"]).get("style-src")).toEqual([
      "'self'",
      `'nonce-${text}'`,
    ]);
  });

  it("adds a nonce to a policy without one, even when it has been read already", async () => {
    const headers = layer();
    const app = express();
    app.use(standalone([headers], createRuntime()), (_req, res, next) => {
      void res.locals["cspNonce"];
      next();
    });
    app.use(
      headers.patch(csp({ "style-src": ["'nonce'"] })),
      (_req, res) => void res.send(String(res.locals["cspNonce"])),
    );
    const server = await serve(app);
    const { text, headers: sent } = await server.send("/");
    await server.close();
    expect(parseOneCsp(sent["content-security-policy"]).get("style-src")).toEqual(["'self'", `'nonce-${text}'`]);
  });

  it("keeps a header that the app has set in between, unless it patches that one", async () => {
    const headers = layer();
    const app = express();
    app.use(standalone([headers], createRuntime()), (_req, res, next) => {
      res.set({ "Referrer-Policy": "same-origin", "X-Frame-Options": "SAMEORIGIN" });
      next();
    });
    app.use(headers.patch({ referrerPolicy: "origin" }), (_req, res) => void res.end());
    const server = await serve(app);
    expectSecurityHeaders(await server.send("/"), {
      ...DEFAULT_PLAIN,
      "Referrer-Policy": "origin",
      "X-Frame-Options": "SAMEORIGIN",
    });
    await server.close();
  });

  it("writes all headers where the layer itself did not run", async () => {
    const app = express();
    app.get("/", layer().patch({ referrerPolicy: "origin" }), (_req, res) => void res.end());
    const server = await serve(app);
    expectSecurityHeaders(await server.send("/"), { ...DEFAULT_PLAIN, "Referrer-Policy": "origin" });
    await server.close();
  });

  it("does not loosen the locked policy of an error page; without a policy Express's own stays", async () => {
    const headers = layer();
    const app = express();
    app.use(standalone([headers], createRuntime()));
    app.use("/patched", headers.patch({ ...csp({ "frame-ancestors": ["'self'"] }) }));
    app.use("/off", headers.patch({ contentSecurityPolicy: false }));
    const server = await serve(app);
    expectSecurityHeaders(await server.send("/patched"), {
      ...DEFAULT_PLAIN,
      "X-Frame-Options": "SAMEORIGIN",
      "Content-Security-Policy": FINAL_CSP,
    });
    expect((await server.send("/off")).headers["content-security-policy"]).toBe("default-src 'none'");
    await server.close();
  });

  it("calls next when the response has already begun", async () => {
    const headers = layer();
    const app = express();
    app.use(standalone([headers], createRuntime()), (_req, res, next) => {
      res.write("a");
      next();
    });
    app.use(headers.patch({ referrerPolicy: "origin" }), (_req, res) => void res.end("b"));
    const server = await serve(app);
    const answer = await server.send("/");
    await server.close();
    expect([answer.text, answer.headers["referrer-policy"]]).toEqual(["ab", "no-referrer"]);
  });
});

describe("a patch that contradicts the layer is refused when it is created, and its allowed twin is not", () => {
  it.each<[string, HeadersSettings, HeadersPatch, HeadersPatch, string]>([
    [
      "'unsafe-inline' where there is a nonce",
      csp({ "style-src": ["'nonce'"] }),
      csp({ "style-src": ["'unsafe-inline'"] }),
      csp({ "style-src": ["https:"] }),
      "contentSecurityPolicy.directives.style-src",
    ],
    [
      "an endpoint nobody has named",
      { reportingEndpoints: { a: "https://r.example" } },
      csp({ "report-to": ["b"] }),
      csp({ "report-to": ["a"] }),
      "contentSecurityPolicy.directives.report-to",
    ],
    [
      "X-Frame-Options against frame-ancestors",
      {},
      { ...csp({ "frame-ancestors": ["'self'"] }), frameOptions: "DENY" },
      { ...csp({ "frame-ancestors": ["'self'"] }), frameOptions: "SAMEORIGIN" },
      "frameOptions",
    ],
  ])("%s", (_name, settings, refused, allowed, path) => {
    const made = layer(settings);
    expect(() => made.patch(refused)).toThrow(SettingsError);
    try {
      made.patch(refused);
    } catch (error) {
      expect((error as SettingsError).issues.map((issue) => issue.path)).toEqual([path]);
    }
    expect(made.patch(allowed).name).toBe("headersPatchMiddleware");
  });

  it("invalid settings throw a SettingsError too", () => {
    expect(() => layer().patch({ referrerPolicy: "orign" })).toThrow(SettingsError);
    expect(() => layer().patch({ refererPolicy: "origin" } as HeadersPatch)).toThrow(/Did you mean "referrerPolicy"/);
  });
});
