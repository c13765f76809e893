import express from "express";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { corsPolicy } from "portcullis";
import type { CorsSettings } from "../../src/cors/settings.js";
import { type BrowserRequest, pageMayRead, unsafeNames, type Wire } from "../cors/fetch-standard.js";
import { serve, type TestServer } from "../support/serve.js";
import { mayEnterPrivateNetwork, readableHeaders, SharedCache } from "./cors-reader.js";
import { runs } from "./seed.js";

vi.setConfig({ testTimeout: runs(60_000) });

const PATTERNS = ["https://app.example.com", "https://*.example.org", "http://localhost:5173"];
const ORIGINS = [
  "https://app.example.com",
  "https://a.example.org",
  "https://example.org",
  "http://localhost:5173",
  "https://evil.example.net",
  "null",
];
const METHODS = ["GET", "POST", "PUT", "DELETE"];
const NAMES = ["ETag", "X-Request-Id", "RateLimit", "X-Secret"];
/** What the app puts on its answers. */
const HEADERS = { ETag: '"1"', "X-Request-Id": "7", RateLimit: '"default";r=1;t=1', "X-Secret": "s" };

const subset = <Item>(items: readonly Item[], minLength = 0) => fc.subarray([...items], { minLength });
const settingsArbitrary: fc.Arbitrary<CorsSettings> = fc.boolean().chain((credentials) => {
  const orAll = (list: fc.Arbitrary<string[]>): fc.Arbitrary<string[] | "*"> =>
    credentials ? list : fc.oneof(list, fc.constant<"*">("*"));
  const either = fc.record({
    credentials: fc.constant(credentials),
    methods: orAll(subset(METHODS, 1)),
    allowedHeaders: orAll(subset(["X-Api-Key", "Content-Type"])),
    exposedHeaders: orAll(subset(NAMES)),
    maxAge: fc.constantFrom(0, 600),
    refused: fc.constantFrom("ignore" as const, "reject" as const),
  });
  return fc.oneof(
    fc
      .tuple(either, orAll(subset(PATTERNS, 1)))
      .map(([settings, origins]) => ({ ...settings, origins, privateNetwork: false })),
    fc
      .tuple(either, subset(PATTERNS, 1))
      .map(([settings, origins]) => ({ ...settings, origins, privateNetwork: true })),
  );
});
const requestArbitrary: fc.Arbitrary<BrowserRequest> = fc.record({
  origin: fc.oneof(fc.constantFrom(...ORIGINS), fc.constantFrom("https://app.example.com", "https://a.example.org")),
  method: fc.constantFrom("GET", "GET", ...METHODS),
  headers: fc.constantFrom<Record<string, string>>({}, { "X-Api-Key": "k" }, { "Content-Type": "application/json" }),
  credentials: fc.constantFrom("omit" as const, "include" as const),
});

function isListed({ origins }: CorsSettings, origin: string): boolean {
  if (typeof origins === "function") throw new TypeError("these settings are lists");
  return (
    origins === "*" ||
    origins.some((pattern) =>
      pattern === "https://*.example.org" ? /^https:\/\/.+\.example\.org$/.test(origin) : pattern === origin,
    )
  );
}

describe("what a page gets to see", () => {
  let server: TestServer;
  let handler = corsPolicy({ origins: "*" });
  beforeAll(async () => {
    const app = express();
    app.use((req, res, next) => void handler(req, res, next));
    app.use((_req, res) => void res.set(HEADERS).type("text/plain").send("app"));
    server = await serve(app);
  });
  afterAll(() => server.close());
  const wire: Wire = (method, headers) => server.send("/", { method, headers });

  it("of the headers: those the settings expose, and no other of the app's", async () => {
    const seen = { readable: 0, wildcard: 0, hidden: 0 };
    await fc.assert(
      fc.asyncProperty(settingsArbitrary, requestArbitrary, async (settings, request) => {
        handler = corsPolicy(settings);
        if (!(await pageMayRead(request, wire))) return;
        const answer = await wire(request.method, { ...request.headers, origin: request.origin });
        const { exposedHeaders = [] } = settings;
        const meant = NAMES.filter((name) => exposedHeaders === "*" || exposedHeaders.includes(name)).map((name) =>
          name.toLowerCase(),
        );
        const readable = readableHeaders(request, answer);
        expect(readable.filter((name) => NAMES.some((own) => own.toLowerCase() === name))).toEqual(meant.sort());
        seen[exposedHeaders === "*" ? "wildcard" : "readable"] += 1;
        if (meant.length < NAMES.length) seen.hidden += 1;
      }),
      { numRuns: runs(300) },
    );
    expect(Math.min(...Object.values(seen))).toBeGreaterThan(5);
  });

  it("of a private network: nothing, unless the setting opens it to that origin, that method and those headers", async () => {
    const seen = { entered: 0, refused: 0 };
    await fc.assert(
      fc.asyncProperty(settingsArbitrary, requestArbitrary, async (settings, request) => {
        handler = corsPolicy(settings);
        const names = unsafeNames(request.headers);
        const ask = {
          origin: request.origin,
          "access-control-request-method": request.method,
          ...(names.length === 0 ? {} : { "access-control-request-headers": names.join(",") }),
        };
        const answer = await wire("OPTIONS", { ...ask, "access-control-request-private-network": "true" });
        const { methods = [], allowedHeaders = [] } = settings;
        const meant =
          settings.privateNetwork === true &&
          isListed(settings, request.origin) &&
          (methods === "*" || methods.includes(request.method)) &&
          (allowedHeaders === "*" ||
            names.every((name) => allowedHeaders.some((allowed) => allowed.toLowerCase() === name)));
        expect(mayEnterPrivateNetwork(answer)).toBe(meant);
        // Who does not ask is not told, and caches keep the two apart.
        expect(mayEnterPrivateNetwork(await wire("OPTIONS", ask))).toBe(false);
        if (meant)
          expect(String(answer.headers.vary).toLowerCase().split(", ")).toContain(
            "access-control-request-private-network",
          );
        seen[meant ? "entered" : "refused"] += 1;
      }),
      { numRuns: runs(300) },
    );
    expect(Math.min(...Object.values(seen))).toBeGreaterThan(5);
  });

  it("through a shared cache: the same as without one, whichever page filled it", async () => {
    const visitor = fc.option(
      requestArbitrary.map((request) => ({ ...request, method: "GET", headers: {} })),
      { nil: undefined },
    );
    let hits = 0;
    await fc.assert(
      fc.asyncProperty(
        settingsArbitrary,
        fc.array(visitor, { minLength: 2, maxLength: 8 }),
        async (settings, visitors) => {
          handler = corsPolicy(settings);
          const cache = new SharedCache();
          const cached: Wire = (_method, headers) => cache.ask(headers, (asked) => wire("GET", asked));
          for (const request of visitors) {
            // Somebody without a page, such as a crawler, fills the cache too.
            if (request === undefined) await cached("GET", {});
            else expect(await pageMayRead(request, cached)).toBe(await pageMayRead(request, wire));
          }
          hits += cache.hits;
        },
      ),
      { numRuns: runs(200) },
    );
    expect(hits).toBeGreaterThan(50);
  });
});
