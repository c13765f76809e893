import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { corsPolicy } from "../../src/cors/middleware.js";
import type { CorsSettings } from "../../src/cors/settings.js";
import { EXPRESS } from "../support/express-versions.js";
import { serve } from "../support/serve.js";
import { corsHeaders, type CorsServer, corsServer } from "./cors-app.js";

const LISTED = "https://app.example.com";
const EVIL = "https://evil.example.net";
const SETTINGS = { origins: [LISTED, "https://*.example.org"] } satisfies CorsSettings;
const PREFLIGHT_VARY = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
const ACTUAL = {
  "access-control-allow-origin": LISTED,
  "access-control-expose-headers": "RateLimit,RateLimit-Policy,Retry-After",
  vary: "Origin",
};
const PREFLIGHT = {
  "access-control-allow-origin": LISTED,
  "access-control-allow-methods": "GET,HEAD,POST,PUT,PATCH,DELETE",
  "access-control-allow-headers": "Authorization,Content-Type,X-API-Key",
  "access-control-max-age": "600",
  vary: PREFLIGHT_VARY,
};
const asks = (origin: string, method = "PUT", headers = "authorization"): Record<string, string> => ({
  origin,
  "access-control-request-method": method,
  "access-control-request-headers": headers,
});

describe.each(EXPRESS)("CORS over a socket, $name", ({ express }) => {
  let server: CorsServer;
  beforeAll(async () => {
    server = await corsServer(express, SETTINGS);
  });
  afterAll(() => server.close());
  beforeEach(() => {
    server.use(SETTINGS);
    server.events.length = 0;
    server.reached.length = 0;
  });

  const options = (headers: Record<string, string | string[]>, path = "/") =>
    server.send(path, { method: "OPTIONS", headers });

  describe("an actual request", () => {
    it("of a listed origin gets the headers", async () => {
      const answer = await server.send("/", { headers: { origin: LISTED } });
      expect([answer.status, answer.text, corsHeaders(answer)]).toEqual([200, "app", ACTUAL]);
      expect(server.events).toEqual([]);
    });

    it("of a wildcard's subdomain gets its own origin back, never the pattern", async () => {
      const answer = await server.send("/", { headers: { origin: "https://a.b.example.org" } });
      expect(corsHeaders(answer)).toEqual({ ...ACTUAL, "access-control-allow-origin": "https://a.b.example.org" });
    });

    it("of a Safari extension gets back what the browser sent, however the list writes it", async () => {
      const id = "6F1C2A4B-9D3E-4C5F-8A7B-0123456789AB";
      for (const listed of [`safari-web-extension://${id}`, `SAFARI-WEB-EXTENSION://${id.toLowerCase()}`]) {
        server.use({ origins: [listed], credentials: true });
        for (const origin of [`safari-web-extension://${id}`, `safari-web-extension://${id.toLowerCase()}`]) {
          for (const answer of [await server.send("/", { headers: { origin } }), await options(asks(origin))]) {
            expect(answer.headers).toMatchObject({
              "access-control-allow-origin": origin,
              "access-control-allow-credentials": "true",
            });
          }
        }
        expect(
          corsHeaders(
            await server.send("/", { headers: { origin: `safari-web-extension://${id.replace("6", "7")}` } }),
          ),
        ).toEqual({ vary: "Origin" });
      }
    });

    it("with credentials allowed gets Access-Control-Allow-Credentials for listed origins alone", async () => {
      server.use({ ...SETTINGS, credentials: true });
      expect(corsHeaders(await server.send("/", { headers: { origin: LISTED } }))).toEqual({
        ...ACTUAL,
        "access-control-allow-credentials": "true",
      });
      expect(corsHeaders(await server.send("/", { headers: { origin: EVIL } }))).toEqual({ vary: "Origin" });
      expect(corsHeaders(await server.send("/"))).toEqual({ vary: "Origin" });
    });

    it("without Origin is served with Vary alone", async () => {
      const answer = await server.send("/");
      expect([answer.status, answer.text, corsHeaders(answer)]).toEqual([200, "app", { vary: "Origin" }]);
      expect(server.events).toEqual([]);
    });

    it("of another origin is served without any Access-Control header, and announced", async () => {
      const answer = await server.send("/things?token=secret", { headers: { origin: EVIL } });
      expect([answer.status, answer.text, corsHeaders(answer)]).toEqual([200, "app", { vary: "Origin" }]);
      expect(server.events).toEqual([
        expect.objectContaining({
          event: "malicious_cors",
          source: "cors",
          reason: "unlisted-origin",
          mode: "enforce",
          method: "GET",
          path: "/things",
          sourceIp: "127.0.0.1",
        }),
      ]);
      expect(JSON.stringify(server.events)).not.toMatch(/evil|secret/);
    });

    it("of another origin is refused where the settings say so", async () => {
      server.use({ ...SETTINGS, refused: "reject" });
      const answer = await server.send("/", { method: "POST", headers: { origin: EVIL } });
      expect([answer.status, corsHeaders(answer)]).toEqual([403, { vary: "Origin, Accept" }]);
      expect(answer.headers["content-type"]).toBe("application/problem+json; charset=utf-8");
      expect(answer.json()).toEqual({
        type: "urn:problem-type:portcullis:cross-origin-refused",
        title: "Cross-origin request refused",
        status: 403,
        detail: "This request came from another origin, which is not trusted.",
        code: "cross-origin-refused",
      });
      expect(server.reached).toEqual([]);
      expect(server.events).toEqual([
        expect.objectContaining({
          event: "malicious_cors",
          reason: "unlisted-origin",
          code: "cross-origin-refused",
          status: 403,
        }),
      ]);
      expect(corsHeaders(await server.send("/", { headers: { origin: LISTED } }))).toEqual(ACTUAL);
    });

    it.each<Pick<CorsSettings, "refused">>([{ refused: "ignore" }, { refused: "reject" }])(
      "in report mode passes and is announced, with $refused",
      async ({ refused }) => {
        server.use({ ...SETTINGS, refused, mode: "report" });
        const answer = await server.send("/", { headers: { origin: EVIL } });
        expect([answer.status, answer.text, corsHeaders(answer)]).toEqual([200, "app", { vary: "Origin" }]);
        expect(server.events).toEqual([
          expect.objectContaining({ event: "malicious_cors", reason: "unlisted-origin", mode: "report" }),
        ]);
        expect(corsHeaders(await server.send("/", { headers: { origin: LISTED } }))).toEqual(ACTUAL);
      },
    );

    it("of the service's own page passes without an event", async () => {
      server.use({ ...SETTINGS, refused: "reject" });
      const own: Record<string, string>[] = [
        { origin: server.origin },
        { origin: "null", "sec-fetch-site": "same-origin" },
        { origin: `https://127.0.0.1:${server.port}` },
      ];
      for (const headers of own) {
        const answer = await server.send("/", { method: "POST", headers });
        expect([answer.status, corsHeaders(answer)]).toEqual([200, { vary: "Origin" }]);
      }
      expect(server.events).toEqual([]);
      expect((await server.send("/", { method: "POST", headers: { origin: "null" } })).status).toBe(403);
      expect(
        (await server.send("/", { method: "POST", headers: { origin: `http://127.0.0.1:${server.port + 1}` } })).status,
      ).toBe(403);
    });

    it("keeps an existing Vary, and lets the app add to it", async () => {
      expect(corsHeaders(await server.send("/vary", { headers: { origin: EVIL } }))).toEqual({
        vary: "Accept-Encoding, Origin",
      });
      expect(corsHeaders(await server.send("/late"))).toEqual({ vary: "Origin, Accept-Language" });
    });

    it("gets the CORS headers on the answers of later layers too", async () => {
      const answer = await server.send("/limited", { headers: { origin: LISTED } });
      expect([answer.status, corsHeaders(answer)]).toEqual([429, ACTUAL]);
    });
  });

  describe("OPTIONS", () => {
    it("of a listed origin is answered by this layer, with an empty 204", async () => {
      const answer = await options(asks(LISTED));
      expect([answer.status, answer.text, answer.headers["content-length"], corsHeaders(answer)]).toEqual([
        204,
        "",
        "0",
        PREFLIGHT,
      ]);
      expect(server.reached).toEqual([]);
      expect(server.events).toEqual([]);
    });

    it("with credentials allowed is answered with Access-Control-Allow-Credentials", async () => {
      server.use({ ...SETTINGS, credentials: true });
      expect(corsHeaders(await options(asks(LISTED)))).toEqual({
        ...PREFLIGHT,
        "access-control-allow-credentials": "true",
      });
    });

    it('with credentials and "*" gets the requested methods and headers back, for listed origins alone', async () => {
      server.use({ ...SETTINGS, credentials: true, methods: "*", allowedHeaders: "*" });
      const answer = await options(asks(LISTED, "PROPFIND", "authorization, X-Other,x-third"));
      expect([answer.status, corsHeaders(answer)]).toEqual([
        204,
        {
          ...PREFLIGHT,
          "access-control-allow-credentials": "true",
          "access-control-allow-methods": "PROPFIND",
          "access-control-allow-headers": "authorization,x-other,x-third",
        },
      ]);
      expect(corsHeaders(await options(asks(LISTED, "PUT", "")))["access-control-allow-headers"]).toBeUndefined();
      for (const headers of [
        asks(EVIL, "PUT", "x-other"),
        asks(LISTED, "TRACE"),
        asks(LISTED, "P UT"),
        asks(LISTED, "PUT", "x other"),
        asks(LISTED, "PUT", `x-${"a".repeat(200)}`),
        asks(LISTED, "PUT", "a,".repeat(2100)),
      ]) {
        expect(corsHeaders(await options(headers))).toEqual({ vary: PREFLIGHT_VARY });
      }
    });

    it.each([
      ["another origin", asks(EVIL), "malicious_cors", "unlisted-origin"],
      ["null", asks("null"), "malicious_cors", "null-origin"],
      ["another method", asks(LISTED, "PROPFIND"), "input_validation_fail", "unlisted-method"],
      ["another header", asks(LISTED, "PUT", "x-evil"), "input_validation_fail", "unlisted-header"],
      ["15 KB of commas", asks(LISTED, "PUT", ",".repeat(15_000)), "input_validation_fail", "too-many-headers"],
    ])("of %s is answered without CORS headers, and reported", async (_, headers, event, reason) => {
      const answer = await options(headers);
      expect([answer.status, answer.text, corsHeaders(answer)]).toEqual([204, "", { vary: PREFLIGHT_VARY }]);
      expect(server.reached).toEqual([]);
      expect(server.events).toEqual([expect.objectContaining({ event, reason, source: "cors" })]);
    });

    it.each([
      ["another origin", asks(EVIL), "unlisted-origin", "This request came from another origin, which is not trusted."],
      [
        "another method",
        asks(LISTED, "PROPFIND"),
        "unlisted-method",
        "The origin is trusted, but not for this method or these headers.",
      ],
    ])("of %s is refused where the settings say so", async (_, headers, reason, detail) => {
      server.use({ ...SETTINGS, refused: "reject" });
      const answer = await options(headers);
      expect([answer.status, corsHeaders(answer)]).toEqual([403, { vary: PREFLIGHT_VARY }]);
      expect(answer.json()).toMatchObject({ code: "cross-origin-refused", detail });
      expect(server.reached).toEqual([]);
      expect(server.events).toEqual([expect.objectContaining({ reason, code: "cross-origin-refused" })]);
    });

    it("in report mode goes on to the app when it would be refused, and is answered by this layer when it would not", async () => {
      server.use({ ...SETTINGS, mode: "report" });
      const answer = await options(asks(EVIL));
      expect([answer.status, answer.text, corsHeaders(answer)]).toEqual([200, "app", { vary: PREFLIGHT_VARY }]);
      expect(server.events).toEqual([expect.objectContaining({ event: "malicious_cors", mode: "report" })]);
      expect((await options(asks(LISTED))).status).toBe(204);
    });

    it("that is not a preflight goes on to the app", async () => {
      const plain = await options({});
      expect([plain.status, plain.text, corsHeaders(plain)]).toEqual([200, "app", { vary: "Origin" }]);
      const withOrigin = await options({ origin: LISTED });
      expect([withOrigin.status, withOrigin.text, corsHeaders(withOrigin)]).toEqual([200, "app", ACTUAL]);
      const withoutOrigin = await options({ "access-control-request-method": "PUT" });
      expect([withoutOrigin.status, withoutOrigin.text, corsHeaders(withoutOrigin)]).toEqual([
        200,
        "app",
        { vary: "Origin" },
      ]);
    });

    it("into a private network is answered where the settings allow it, and only when the browser asks", async () => {
      server.use({ ...SETTINGS, privateNetwork: true });
      const vary = `${PREFLIGHT_VARY}, Access-Control-Request-Private-Network`;
      const ask = { "access-control-request-private-network": "true" };
      expect(corsHeaders(await options({ ...asks(LISTED), ...ask }))).toEqual({
        ...PREFLIGHT,
        vary,
        "access-control-allow-private-network": "true",
      });
      expect(corsHeaders(await options(asks(LISTED)))).toEqual({ ...PREFLIGHT, vary });
      expect(corsHeaders(await options({ ...asks(EVIL), ...ask }))).toEqual({ vary });
      server.use(SETTINGS);
      expect(corsHeaders(await options({ ...asks(LISTED), ...ask }))).toEqual(PREFLIGHT);
    });

    it("with the requested headers in several lines is answered", async () => {
      const raw = await server.raw(
        `OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: ${LISTED}\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: authorization\r\nAccess-Control-Request-Headers: content-type , x-api-key\r\nConnection: close\r\n\r\n`,
      );
      expect(raw).toMatch(/^HTTP\/1\.1 204 /);
      expect(raw).toContain(`Access-Control-Allow-Origin: ${LISTED}`);
    });
  });

  describe("every origin", () => {
    const ANY = {
      "access-control-allow-origin": "*",
      "access-control-expose-headers": ACTUAL["access-control-expose-headers"],
    };
    it.each([
      ["listed", LISTED],
      ["null", "null"],
      ["garbage", "\xff"],
      ["no", undefined],
    ])("gets one answer, without Vary: %s origin", async (_, origin) => {
      server.use({ origins: "*" });
      const answer = await server.send("/", origin === undefined ? {} : { headers: { origin } });
      expect([answer.status, corsHeaders(answer)]).toEqual([200, ANY]);
    });

    it("gets one answer to a preflight, which varies by what is asked", async () => {
      server.use({ origins: "*", methods: "*", allowedHeaders: "*" });
      const vary = "Access-Control-Request-Method, Access-Control-Request-Headers";
      const wide = {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "*",
        "access-control-allow-headers": "*",
        "access-control-max-age": "600",
        vary,
      };
      expect(corsHeaders(await options(asks(EVIL, "PROPFIND", "x-any")))).toEqual(wide);
      const refused = await options(asks(EVIL, "PUT", "authorization"));
      expect([refused.status, corsHeaders(refused)]).toEqual([204, { vary }]);
    });
  });

  describe("bytes that no browser sends", () => {
    it.each([
      ["an Origin of 15 KB", `Origin: https://${"a".repeat(15_000)}.example.org`, "malformed-origin"],
      ["two Origin lines", `Origin: ${LISTED}\r\norigin: ${LISTED}`, "several-origins"],
      ["a listed and an evil line", `Origin: ${LISTED}\r\nOrigin: ${EVIL}`, "several-origins"],
      ["non-ASCII bytes", `Origin: https://b\u00fccher.example.org`, "malformed-origin"],
      ["obs-text at the end", `Origin: ${LISTED}\u00ff`, "malformed-origin"],
      ["an empty Origin", "Origin:", "malformed-origin"],
      ["a tab inside", `Origin: https://app\t.example.com`, "malformed-origin"],
    ])("%s: no Access-Control header, no failure", async (_, lines, reason) => {
      const raw = await server.raw(
        Buffer.from(`GET / HTTP/1.1\r\nHost: a\r\n${lines}\r\nConnection: close\r\n\r\n`, "latin1"),
      );
      expect(raw).toMatch(/^HTTP\/1\.1 200 /);
      expect(raw).not.toMatch(/access-control/i);
      expect(raw).toContain("Vary: Origin\r\n");
      expect(server.events).toEqual([expect.objectContaining({ reason })]);
    });

    it("an Origin that is longer than Node allows is refused by Node, and the server lives on", async () => {
      expect(await server.raw(`GET / HTTP/1.1\r\nHost: a\r\nOrigin: ${"a".repeat(17_000)}\r\n\r\n`)).toMatch(
        /^HTTP\/1\.1 431 /,
      );
      expect((await server.send("/")).status).toBe(200);
    });
  });

  it("compares with the host the browser asked for behind a trusted proxy, and not behind another", async () => {
    const headers = {
      origin: "https://api.example.com",
      "x-forwarded-host": "api.example.com, inner",
      "x-forwarded-proto": "https",
    };
    const trusting = await corsServer(express, { ...SETTINGS, refused: "reject" }, true);
    try {
      expect((await trusting.send("/", { method: "POST", headers })).status).toBe(200);
      // Known to be TLS, a plain http page of the same name is another origin.
      expect(
        (await trusting.send("/", { method: "POST", headers: { ...headers, origin: "http://api.example.com" } }))
          .status,
      ).toBe(403);
    } finally {
      await trusting.close();
    }
    server.use({ ...SETTINGS, refused: "reject" });
    expect((await server.send("/", { method: "POST", headers })).status).toBe(403);
  });

  it("corsPolicy() works without applySecurity, works when mounted twice, and is a named function", async () => {
    const handler = corsPolicy(SETTINGS);
    expect(handler.name).toBe("corsPolicyMiddleware");
    const app = express();
    app.use(handler, corsPolicy(SETTINGS));
    app.get("/", (_req, res) => void res.end("app"));
    const alone = await serve(app);
    try {
      expect(corsHeaders(await alone.send("/", { headers: { origin: LISTED } }))).toEqual(ACTUAL);
      expect(corsHeaders(await alone.send("/", { method: "OPTIONS", headers: asks(LISTED) }))).toEqual(PREFLIGHT);
    } finally {
      await alone.close();
    }
  });
});
