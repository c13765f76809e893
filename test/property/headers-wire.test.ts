import express from "express";
import fc from "fast-check";
import { isInnerList, parseDictionary, parseList, Token } from "structured-headers";
import { expect, it, onTestFinished, vi } from "vitest";
import { applySecurity, type Security, SettingsError, type SecuritySettings } from "portcullis";
import { serve } from "../support/serve.js";
import {
  listOf,
  readAll,
  readChallenges,
  readCookie,
  readPolicies,
  readResponse,
  type WireResponse,
} from "./headers-grammar.js";
import { runs } from "./seed.js";
import { SECRETS } from "./settings-arbitraries.js";

const ALLOWED = "https://app.example.com";
/** Stands in every hostile text, so that one that comes back is seen. */
const MARK = "zqxw";

const some = <T>(parts: { [Key in keyof T]: fc.Arbitrary<T[Key]> }): fc.Arbitrary<Partial<T>> =>
  fc.record(parts, { requiredKeys: [] }) as fc.Arbitrary<Partial<T>>;
/** Right, or now and then a text that would break out of the header it is for: refused, or it must not. */
const breakOut = fc
  .array(
    fc.constantFrom(
      ";",
      ",",
      " ",
      "\r\n",
      "\n",
      "\0",
      "\t",
      '"',
      "\\",
      "'",
      "(",
      ")",
      "=",
      "é",
      "\u2028",
      "%0d%0a",
      "://",
      "x",
    ),
    { minLength: 1, maxLength: 3 },
  )
  .map((pieces) => pieces.join(""));
const orBroken = (right: fc.Arbitrary<string>) =>
  fc.oneof(
    { weight: 60, arbitrary: right },
    { weight: 1, arbitrary: fc.tuple(right, breakOut).map((pair) => pair.join("")) },
    { weight: 1, arbitrary: breakOut },
  );
const token = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}$/);
const headerName = token.filter((name) => name !== "*" && !/^(access-control-|set-cookie|sec-|proxy-)/i.test(name));
const names = (element: fc.Arbitrary<string>) =>
  fc.uniqueArray(orBroken(element), { minLength: 1, maxLength: 4, selector: (name) => name.toLowerCase() });
const source = orBroken(
  fc.constantFrom(
    "'self'",
    "'nonce'",
    "https://cdn.example:8443/a/b.js",
    "*.example.com",
    "data:",
    "wss://s.example:*",
  ),
);
const sources = fc.oneof(fc.uniqueArray(source, { minLength: 1, maxLength: 4 }), fc.constant(["'none'"]));
const path = fc.stringMatching(/^[\x21\x23-\x2e\x30-\x5b\x5d-\x7e]{0,12}$/);
const origins = fc.uniqueArray(
  fc.oneof(
    fc.constant("self"),
    fc.domain().map((domain) => `https://${domain}`),
  ),
  { maxLength: 3 },
);

/** What ends up in a header, all of it chosen freely within its grammar. */
const anySettings = fc.record({
  headers: some({
    contentSecurityPolicy: fc.record({
      directives: some({ "script-src": sources, "img-src": sources, "report-to": fc.constant(["csp"]) }),
    }),
    contentSecurityPolicyReportOnly: fc.record({
      directives: some({ "connect-src": fc.constant(["'none'"]), "style-src": fc.constant(["'self'"]) }),
    }),
    permissionsPolicy: fc.dictionary(
      orBroken(fc.stringMatching(/^[a-z][a-z0-9-]{0,12}$/)),
      fc.oneof(origins, fc.constant("*")),
      { minKeys: 1, maxKeys: 3 },
    ),
    reportingEndpoints: fc.record({ csp: orBroken(path.map((text) => `https://r.example/${text}`)) }),
    referrerPolicy: fc.constantFrom("no-referrer", ["no-referrer", "strict-origin"]),
    strictTransportSecurity: fc.record({ maxAge: fc.nat(), includeSubDomains: fc.boolean() }),
    xssProtection: fc.constantFrom("0", "block"),
  }),
  cors: fc.record({
    origins: fc
      .uniqueArray(orBroken(fc.constantFrom("https://*.example.org", "http://localhost:5173")), { maxLength: 2 })
      .map((list) => [ALLOWED, ...list]),
    credentials: fc.boolean(),
    methods: fc.constantFrom(["GET"], ["GET", "PUT"]),
    allowedHeaders: names(headerName),
    exposedHeaders: names(headerName),
    maxAge: fc.integer({ min: 0, max: 86_400 }),
    refused: fc.constantFrom("ignore", "reject"),
    privateNetwork: fc.boolean(),
  }),
  rateLimit: fc.record({
    limit: fc.integer({ min: 4, max: 12 }),
    windowSeconds: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
    name: orBroken(fc.stringMatching(/^[A-Za-z0-9._-]{1,20}$/)),
    headers: fc.constantFrom("draft-8", "draft-8", "draft-6", "legacy", false),
    perPrincipal: fc.record({
      limit: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
      windowSeconds: fc.integer({ min: 1, max: 1e6 }),
    }),
  }),
  session: fc.record({
    cookieName: orBroken(token.filter((name) => !name.startsWith("__"))),
    maxAge: fc.integer({ min: 1, max: 1e6 }),
    sameSite: fc.constantFrom("lax", "strict"),
    domain: fc.option(fc.constantFrom("example.com", "a.b.example.org"), { nil: undefined }),
  }),
  apiKeys: fc.record({ realm: orBroken(fc.stringMatching(/^[\x20-\x21\x23-\x5b\x5d-\x7e]{1,20}$/)) }),
  jwt: fc.record({ realm: orBroken(fc.stringMatching(/^[\x20-\x21\x23-\x5b\x5d-\x7e]{1,20}$/)) }),
  debug: fc.boolean(),
});
type Wire = typeof anySettings extends fc.Arbitrary<infer T> ? T : never;

/** Everything but CR, LF and NUL, which end a field for Node itself: separators, quotes, control-like text, and obs-text (RFC 9110 section 5.5). */
const hostile = fc
  .array(
    fc.constantFrom(
      ",",
      ";",
      '"',
      "\\",
      "'",
      " ",
      "\t",
      "=",
      "(",
      ":",
      "/",
      "@",
      "\x80",
      "\xff",
      "\xe9",
      "%0d%0aSet-Cookie:%20a=b",
      "*",
      "null",
      "https://",
      "localhost",
      "Bearer ",
      "mcp_",
      "127.0.0.1",
      "sid=",
      "a".repeat(300),
    ),
    { maxLength: 6 },
  )
  .map((pieces) => `${pieces.join("")}${MARK}`);
const FIELDS = [
  "Origin",
  "Access-Control-Request-Method",
  "Access-Control-Request-Headers",
  "Access-Control-Request-Private-Network",
  "Cookie",
  "Authorization",
  "X-API-Key",
  "X-Forwarded-For",
  "X-Forwarded-Host",
  "Sec-Fetch-Site",
  "If-None-Match",
  "Accept",
  "Content-Type",
  "X-Anything",
];
const lines = fc.array(
  fc.tuple(
    fc.constantFrom(...FIELDS),
    fc.oneof(
      { weight: 3, arbitrary: hostile },
      { weight: 1, arbitrary: fc.constantFrom(ALLOWED, "GET", "x-one", "same-origin") },
    ),
  ),
  { maxLength: 4 },
);
const anyRequest = fc.record({
  method: fc.constantFrom("GET", "GET", "OPTIONS", "POST", "HEAD"),
  path: fc.constantFrom(
    "/open",
    "/nonce",
    "/patched",
    "/guarded",
    "/once",
    "/boom",
    "/nowhere",
    "/login",
    "/logout",
    "/api-keys",
    "/tokens/jwks.json",
    "/tokens/refresh",
    `/open?${MARK}`,
  ),
  host: fc.oneof({ weight: 6, arbitrary: fc.constant("127.0.0.1") }, { weight: 1, arbitrary: hostile }),
  lines,
});

/** What every pipeline answers with most of its headers: a preflight, a log-in, a log-out. */
const USUAL: { method: string; path: string; host: string; lines: [string, string][] }[] = [
  {
    method: "OPTIONS",
    path: "/open",
    host: "127.0.0.1",
    lines: [
      ["Origin", ALLOWED],
      ["Access-Control-Request-Method", "GET"],
      ["X-Forwarded-For", "192.0.2.1"],
    ],
  },
  {
    method: "POST",
    path: "/login",
    host: "127.0.0.1",
    lines: [
      ["Sec-Fetch-Site", "same-origin"],
      ["X-Forwarded-For", "192.0.2.1"],
    ],
  },
  {
    method: "POST",
    path: "/logout",
    host: "127.0.0.1",
    lines: [
      ["Sec-Fetch-Site", "same-origin"],
      ["X-Forwarded-For", "192.0.2.1"],
    ],
  },
];

type Secured = Security<SecuritySettings & { apiKeys: object; jwt: object }>;
function appOf(wire: Wire): { app: express.Express; security: Secured } | undefined {
  const app = express();
  try {
    const security = applySecurity(app, {
      ...wire,
      secretKey: SECRETS.root,
      trustedHosts: ["127.0.0.1"],
      trustProxy: 1,
    } as never) as Secured;
    app.get("/open", (_req, res) => void res.send("open"));
    app.get("/nonce", (_req, res) => void res.send(String(res.locals.cspNonce)));
    app.get(
      "/patched",
      security.headers({
        contentSecurityPolicy: { directives: { "img-src": ["https://img.example"] } },
        frameOptions: "SAMEORIGIN",
      }),
      (_req, res) => void res.send("patched"),
    );
    app.get(
      "/guarded",
      security.requireAuth({ scopes: ["orders:read", "a.b:*"] }),
      (_req, res) => void res.send("guarded"),
    );
    app.get(
      "/once",
      security.rateLimit({ name: "once", limit: 1, windowSeconds: 60 }),
      (_req, res) => void res.send("once"),
    );
    app.get("/boom", () => {
      throw new Error(MARK);
    });
    app.post(
      "/login",
      (req, res, next) => void security.logIn(req, { id: "ada", scopes: ["b"] }).then(() => res.send("in"), next),
    );
    app.post("/logout", (req, res, next) => void security.logOut(req, res).then(() => res.send("out"), next));
    app.use("/api-keys", security.apiKeyRoutes());
    app.use("/tokens", security.tokenRoutes());
    app.use(((_error, _req, res, _next) => void res.status(500).send("failed")) as express.ErrorRequestHandler);
    return { app, security };
  } catch (error) {
    if (error instanceof SettingsError) return undefined;
    throw error;
  }
}

type Ask = (
  method: string,
  target: string,
  fields?: readonly (readonly [string, string])[],
  host?: string,
) => Promise<WireResponse>;

it("for any settings and request, every header of every answer is one clean line of its own grammar and repeats nothing of the request", async () => {
  silence();
  let taken = 0;
  const statuses = new Set<number>();
  const seen = new Set<string>();
  await fc.assert(
    fc.asyncProperty(anySettings, fc.array(anyRequest, { minLength: 6, maxLength: 12 }), (wire, requests) =>
      served(wire, async (ask) => {
        taken += 1;
        for (const { method, path: target, host, lines: fields } of [...requests, ...USUAL]) {
          const answer = await ask(method, target, fields, host);
          statuses.add(answer.status);
          const values = readAll(answer);
          for (const [name, value] of values) {
            seen.add(name);
            expect(value.includes(MARK), `${name}: ${value}`).toBe(false);
          }
          if (answer.status !== 304 && method !== "HEAD" && values.has("content-length"))
            expect(answer.body).toHaveLength(Number(values.get("content-length")));
        }
      }),
    ),
    { numRuns: runs(60) },
  );
  expect(taken).toBeGreaterThan(runs(60) / 4);
  expect([...statuses].sort()).toEqual(expect.arrayContaining([200, 204, 400, 401, 403, 404, 429, 500]));
  for (const name of [
    "access-control-allow-headers",
    "clear-site-data",
    "content-security-policy",
    "permissions-policy",
    "ratelimit",
    "ratelimit-reset",
    "reporting-endpoints",
    "retry-after",
    "set-cookie",
    "vary",
    "www-authenticate",
    "x-ratelimit-limit",
  ])
    expect(seen).toContain(name);
}, 120_000);

it("headers are read back as they were set: by a parser of policies, by structured-headers, and by readers of the other grammars", async () => {
  silence();
  let taken = 0;
  await fc.assert(
    fc.asyncProperty(anySettings, (wire) =>
      served(wire, async (ask, security) => {
        taken += 1;
        expectHeaders(wire, readAll(await ask("GET", "/nonce", [["X-Forwarded-Proto", "https"]])), "nonce");
        const open = await ask("GET", "/open", [["Origin", ALLOWED]]);
        expectHeaders(wire, readAll(open), "plain");
        expectCors(
          wire,
          readAll(open),
          readAll(
            await ask("OPTIONS", "/open", [
              ["Origin", ALLOWED],
              ["Access-Control-Request-Method", "GET"],
              ["Access-Control-Request-Private-Network", "true"],
            ]),
          ),
        );
        expectCookie(wire, await ask("POST", "/login", [["Sec-Fetch-Site", "same-origin"]]));
        await expectChallenges(wire, ask, security);
      }),
    ),
    { numRuns: runs(50) },
  );
  expect(taken).toBeGreaterThan(runs(50) / 4);
}, 120_000);

function silence(): void {
  const spy = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
  onTestFinished(() => spy.mockRestore());
}

async function served(wire: Wire, use: (ask: Ask, security: Secured) => Promise<void>): Promise<void> {
  const made = appOf(wire);
  if (made === undefined) return;
  const server = await serve(made.app);
  try {
    await made.security.ready();
    await use(async (method, target, fields = [], host = "127.0.0.1") => {
      const text = [
        `${method} ${target} HTTP/1.1`,
        `Host: ${host}`,
        ...fields.map(([name, value]) => `${name}: ${value}`),
        ...(method === "POST" ? ["Content-Length: 0"] : []),
        "Connection: close",
        "",
        "",
      ].join("\r\n");
      return readResponse(await server.raw(Buffer.from(text, "latin1"), 5000));
    }, made.security);
  } finally {
    await server.close();
    await made.security.close();
  }
}

function expectHeaders(
  { headers, rateLimit, debug }: Wire,
  values: Map<string, string>,
  kind: "nonce" | "plain",
): void {
  const csp = readPolicies(values.get("content-security-policy") ?? "");
  expect(csp).toHaveLength(1);
  const nonces = [...(csp[0]?.values() ?? [])].flat().filter((text) => text.startsWith("'nonce-"));
  for (const [name, set] of Object.entries(headers.contentSecurityPolicy?.directives ?? {}) as [string, string[]][]) {
    const withNonce = set.map((text) => (text === "'nonce'" ? (nonces[0] ?? "the nonce is missing") : text));
    const without = set.filter((text) => text !== "'nonce'");
    expect(csp[0]?.get(name), name).toEqual(kind === "nonce" ? withNonce : without.length === 0 ? ["'none'"] : without);
  }
  expect(new Set(nonces).size).toBeLessThan(2);
  const watched = readPolicies(values.get("content-security-policy-report-only") ?? "default-src 'self'");
  for (const [name, set] of Object.entries(headers.contentSecurityPolicyReportOnly?.directives ?? {}))
    expect(watched[0]?.get(name), name).toEqual(set);
  const permissions = parseDictionary(values.get("permissions-policy") ?? "");
  for (const [feature, allow] of Object.entries(headers.permissionsPolicy ?? {})) {
    const member = permissions.get(feature);
    expect(
      member !== undefined &&
        (isInnerList(member)
          ? member[0].map(([item]) => (item instanceof Token ? item.toString() : item))
          : String(member[0])),
      feature,
    ).toEqual(allow);
  }
  const endpoints = Object.fromEntries(
    [...parseDictionary(values.get("reporting-endpoints") ?? "")].map(([name, [url]]) => [name, url]),
  );
  expect(endpoints).toEqual(headers.reportingEndpoints ?? {});
  const transport = headers.strictTransportSecurity ?? { maxAge: 31_536_000, includeSubDomains: true };
  expect(values.get("strict-transport-security")).toBe(
    debug || kind === "plain"
      ? undefined
      : `max-age=${transport.maxAge}${transport.includeSubDomains ? "; includeSubDomains" : ""}`,
  );
  expect(listOf(values.get("referrer-policy") ?? "")).toEqual([headers.referrerPolicy ?? "no-referrer"].flat());
  const { limit, windowSeconds, name } = rateLimit;
  if (rateLimit.headers === "draft-8") {
    expect(
      parseList(values.get("ratelimit-policy") ?? "").map(([item, parameters]) => [
        item,
        Object.fromEntries(parameters),
      ]),
    ).toEqual([[name, { q: limit, w: windowSeconds }]]);
    expect(parseList(values.get("ratelimit") ?? "").map(([item]) => item)).toEqual([name]);
  } else
    expect(values.get("ratelimit-limit") ?? values.get("x-ratelimit-limit")).toBe(
      rateLimit.headers === false ? undefined : String(limit),
    );
}

function expectCors({ cors }: Wire, actual: Map<string, string>, preflight: Map<string, string>): void {
  for (const values of [actual, preflight]) {
    expect(values.get("access-control-allow-origin")).toBe(ALLOWED);
    expect(values.get("access-control-allow-credentials")).toBe(cors.credentials ? "true" : undefined);
    expect(listOf(values.get("vary") ?? "")).toContain("Origin");
  }
  expect(listOf(actual.get("access-control-expose-headers") ?? "")).toEqual(cors.exposedHeaders);
  expect(listOf(preflight.get("access-control-allow-methods") ?? "")).toEqual(cors.methods);
  expect(
    listOf(preflight.get("access-control-allow-headers") ?? "")
      .map((name) => name.toLowerCase())
      .sort(),
  ).toEqual(cors.allowedHeaders.map((name) => name.toLowerCase()).sort());
  expect(preflight.get("access-control-max-age")).toBe(String(cors.maxAge));
  expect(preflight.get("access-control-allow-private-network")).toBe(cors.privateNetwork ? "true" : undefined);
}

function expectCookie({ session, debug }: Wire, answer: WireResponse): void {
  expect(answer.body).toBe("in");
  const cookies = answer.fields.filter(([name]) => name === "set-cookie").map(([, value]) => readCookie(value));
  expect(cookies).toHaveLength(1);
  const [cookie] = cookies;
  const prefix = debug ? "" : session.domain === undefined ? "__Host-" : "__Secure-";
  expect(cookie?.name).toBe(`${prefix}${session.cookieName}`);
  const attributes = {
    Path: "/",
    HttpOnly: "",
    SameSite: session.sameSite === "lax" ? "Lax" : "Strict",
    ...(debug ? {} : { Secure: "" }),
    ...(session.domain === undefined ? {} : { Domain: session.domain }),
  };
  expect(Object.fromEntries(cookie?.attributes ?? [])).toEqual({ ...attributes, "Max-Age": String(session.maxAge) });
  expect(readAll(answer).get("cache-control")).toBe("no-store");
}

async function expectChallenges({ apiKeys, jwt }: Wire, ask: Ask, security: Secured): Promise<void> {
  let client = 0;
  // Each from an address of its own, or the limit would answer.
  const challengesOf = async (name: string, value: string) =>
    readChallenges(
      readAll(
        await ask("GET", "/guarded", [
          ["X-Forwarded-For", `192.0.2.${(client += 1)}`],
          [name, value],
        ]),
      ).get("www-authenticate") ?? "",
    );
  expect(await challengesOf("X-API-Key", "mcp_wrong")).toEqual([
    { scheme: "ApiKey", parameters: { realm: apiKeys.realm } },
  ]);
  expect(await challengesOf("Authorization", "Bearer wrong")).toEqual([
    { scheme: "Bearer", parameters: { realm: jwt.realm, error: "invalid_token" } },
  ]);
  const { accessToken } = await security.jwt.issue("ada", { scopes: ["b"] });
  const [lacking, ...others] = await challengesOf("Authorization", `Bearer ${accessToken}`);
  expect(lacking).toEqual({
    scheme: "Bearer",
    parameters: { realm: "api", error: "insufficient_scope", scope: "orders:read a.b:*" },
  });
  expect(others.map(({ scheme }) => scheme)).toEqual(["ApiKey", "Session"]);
}
