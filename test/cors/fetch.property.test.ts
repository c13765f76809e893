import { Agent } from "node:http";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CorsSettings } from "../../src/cors/settings.js";
import { EXPRESS } from "../support/express-versions.js";
import { corsHeaders, type CorsServer, corsServer } from "./cors-app.js";
import { type BrowserRequest, needsPreflight, pageMayRead, unsafeNames, type Wire } from "./fetch-standard.js";

const PATTERNS = ["https://app.example.com", "https://*.example.org", "http://localhost:5173", "tauri://localhost"];
const ORIGINS = [
  "https://app.example.com",
  "https://a.example.org",
  "https://a.b.example.org",
  "https://example.org",
  "http://a.example.org",
  "http://localhost:5173",
  "https://evil.example.net",
  "https://evilexample.org",
  "tauri://localhost",
  "null",
];
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "PROPFIND", "patch"];
const HEADERS = ["Authorization", "X-API-Key", "X-Other", "Accept-Language"];

const subset = <T>(items: readonly T[], minLength = 0) => fc.subarray([...items], { minLength });

/** Settings that pass the start checks. */
const settingsArbitrary: fc.Arbitrary<CorsSettings> = fc.boolean().chain((credentials) => {
  const orAll = (list: fc.Arbitrary<string[]>): fc.Arbitrary<string[] | "*"> =>
    credentials ? list : fc.oneof(list, fc.constant<"*">("*"));
  return fc.record({
    origins: orAll(subset(PATTERNS, 1)),
    credentials: fc.constant(credentials),
    methods: fc.oneof(subset(METHODS.slice(0, -1), 1), fc.constant<"*">("*")),
    allowedHeaders: fc.oneof(subset(["authorization", "X-Api-Key", "Content-Type", "X-Third"]), fc.constant<"*">("*")),
    exposedHeaders: orAll(subset(["ETag"])),
    maxAge: fc.constantFrom(0, 600),
    refused: fc.constantFrom("ignore", "reject"),
  });
});

const requestArbitrary: fc.Arbitrary<BrowserRequest> = fc.record({
  // Weighted to what is listed, so that enough requests get as far as the methods and headers.
  origin: fc.oneof(fc.constantFrom(...ORIGINS), {
    weight: 2,
    arbitrary: fc.constantFrom("https://app.example.com", "https://a.b.example.org"),
  }),
  method: fc.oneof(fc.constantFrom(...METHODS), fc.constantFrom("GET", "POST", "PUT")),
  headers: fc
    .tuple(
      fc.oneof(fc.constant<string[]>([]), subset(HEADERS)),
      fc.constantFrom(undefined, "text/plain", "application/json"),
    )
    .map(([names, type]) => ({
      ...Object.fromEntries(names.map((name) => [name, "x"])),
      ...(type === undefined ? {} : { "Content-Type": type }),
    })),
  credentials: fc.constantFrom("omit", "include"),
});

/** What the settings mean, said without any header: whose pages, with what, by which methods and headers. */
function meantToBeAllowed(settings: CorsSettings, request: BrowserRequest): boolean {
  const listed = (pattern: string): boolean =>
    pattern === "https://*.example.org"
      ? /^https:\/\/.+\.example\.org$/.test(request.origin)
      : pattern === request.origin;
  if (typeof settings.origins === "function") throw new TypeError("these settings are lists");
  if (settings.origins !== "*" && !settings.origins.some(listed)) return false;
  if (request.credentials === "include" && settings.credentials !== true) return false;
  if (!needsPreflight(request)) return true;
  if (settings.methods !== "*" && !settings.methods?.includes(request.method)) return false;
  const { allowedHeaders = [] } = settings;
  return unsafeNames(request.headers).every((name) =>
    allowedHeaders === "*"
      ? settings.credentials === true || name !== "authorization"
      : allowedHeaders.some((listedName) => listedName.toLowerCase() === name),
  );
}

describe.each(EXPRESS)("judged by the Fetch standard, $name", ({ express }) => {
  let server: CorsServer;
  // Thousands of requests: to connect for each of them takes longer than all the rest.
  const agent = new Agent({ keepAlive: true });
  beforeAll(async () => {
    server = await corsServer(express, { origins: "*" });
  });
  afterAll(() => {
    agent.destroy();
    return server.close();
  });
  const wire: Wire = (method, headers) => server.send("/", { method, headers, agent });

  it("a page may read an answer exactly when the settings allow it", async () => {
    const seen = { allowed: 0, refused: 0 };
    await fc.assert(
      fc.asyncProperty(settingsArbitrary, requestArbitrary, async (settings, request) => {
        // No HTTP server of Node takes the method "patch"; a browser sends it as it is, and the preflight must stop it.
        fc.pre(request.method !== "patch" || settings.methods !== "*");
        server.use(settings);
        const meant = meantToBeAllowed(settings, request);
        seen[meant ? "allowed" : "refused"] += 1;
        expect(await pageMayRead(request, wire)).toBe(meant);
      }),
      { numRuns: 1200 },
    );
    expect(Math.min(seen.allowed, seen.refused)).toBeGreaterThan(100);
  });

  it("an answer says Vary: Origin exactly when another origin would get another answer", async () => {
    await fc.assert(
      fc.asyncProperty(settingsArbitrary, requestArbitrary, fc.boolean(), async (settings, request, asPreflight) => {
        fc.pre(request.method !== "patch");
        server.use(settings);
        const ask: Record<string, string> = asPreflight
          ? {
              "access-control-request-method": request.method,
              "access-control-request-headers": unsafeNames(request.headers).join(","),
            }
          : {};
        const method = asPreflight ? "OPTIONS" : request.method;
        const answers = await Promise.all(
          [request.origin, "https://app.example.com", "https://evil.example.net"].map((origin) =>
            wire(method, { ...ask, origin }),
          ),
        );
        const absent = await wire(method, ask);
        const worlds = answers.map((answer) =>
          JSON.stringify({ status: answer.status, ...corsHeaders(answer as never) }),
        );
        for (const answer of [...answers, absent]) {
          const varies = String(answer.headers.vary ?? "")
            .split(", ")
            .includes("Origin");
          expect(varies).toBe(settings.origins !== "*");
        }
        if (settings.origins === "*") expect(new Set(worlds).size).toBe(1);
      }),
      { numRuns: 250 },
    );
  });

  it("an unlisted origin gets no Access-Control header, whatever it asks for", async () => {
    await fc.assert(
      fc.asyncProperty(settingsArbitrary, requestArbitrary, fc.boolean(), async (settings, request, asPreflight) => {
        fc.pre(settings.origins !== "*" && request.method !== "patch");
        server.use(settings);
        const ask: Record<string, string> = asPreflight ? { "access-control-request-method": request.method } : {};
        const answer = await server.send("/", {
          method: asPreflight ? "OPTIONS" : request.method,
          headers: { ...ask, origin: "https://evil.example.net" },
          agent,
        });
        expect(Object.keys(corsHeaders(answer)).sort()).toEqual(["vary"]);
      }),
      { numRuns: 200 },
    );
  });
});
