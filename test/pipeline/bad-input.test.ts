import type { ErrorRequestHandler } from "express";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { applySecurity, type Security } from "portcullis";
import { EXPRESS } from "../support/express-versions.js";
import { serve, type TestServer } from "../support/serve.js";

/** What must stand on every refusal. */
const ALWAYS = [
  "content-security-policy",
  "x-content-type-options: nosniff",
  "x-frame-options: deny",
  "referrer-policy",
  "permissions-policy",
  "cross-origin-opener-policy",
];
const MARK = "zXq7echo";

const SETTINGS = {
  secretKey: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E",
  debug: true,
  cors: { origins: ["https://app.example.com"], refused: "reject" as const },
  session: {},
  apiKeys: { hash: "hmac-sha256" as const },
  jwt: {},
  rateLimit: { limit: 100_000 },
};

const get = (lines: string[], target = "/me", version = "1.1") =>
  `GET ${target} HTTP/${version}\r\n${lines.join("\r\n")}\r\nConnection: close\r\n\r\n`;
const HOST = "Host: localhost";

/** name, bytes, status, code (or undefined when Node itself refuses before any middleware) */
const CASES: [string, string, number, string | undefined][] = [
  ["two Host lines", get([HOST, HOST]), 400, "untrusted-host"],
  ["two different Host lines", get([HOST, `Host: ${MARK}.example`]), 400, "untrusted-host"],
  ["another name", get([`Host: ${MARK}.example`]), 400, "untrusted-host"],
  ["an empty Host", get(["Host: "]), 400, "untrusted-host"],
  ["HTTP/1.0 without Host", get([`X-A: ${MARK}`], "/me", "1.0"), 400, "untrusted-host"],
  ["HTTP/1.1 without Host", get([`X-A: ${MARK}`]), 400, undefined],
  ["user information in Host", get([`Host: ${MARK}@localhost`]), 400, "untrusted-host"],
  ["a path in Host", get([`Host: localhost/${MARK}`]), 400, "untrusted-host"],
  ["a list in Host", get([`Host: localhost, ${MARK}`]), 400, "untrusted-host"],
  ["a bad port in Host", get(["Host: localhost:99999"]), 400, "untrusted-host"],
  ["non-ASCII in Host", get([`Host: l\u00f6calhost`]), 400, "untrusted-host"],
  ["an absolute-form target that disagrees", get([HOST], `http://${MARK}.example/me`), 400, "untrusted-host"],
  ["a bare CR in a header", `GET /me HTTP/1.1\r\n${HOST}\r\nX-A: a\r${MARK}: b\r\n\r\n`, 400, undefined],
  ["headers over Node's 16 KB", get([HOST, `X-A: ${"a".repeat(17_000)}`]), 431, undefined],
  ["a header of 15 KB as the key", get([HOST, `X-API-Key: ${"a".repeat(15_000)}`]), 401, "invalid-credentials"],
  ["15 KB of Bearer token", get([HOST, `Authorization: Bearer ${"a".repeat(15_000)}`]), 401, "invalid-credentials"],
  ["15 KB of Origin", get([HOST, `Origin: https://${"a".repeat(15_000)}`]), 403, "cross-origin-refused"],
  ["15 KB of Host", get([`Host: ${"a".repeat(15_000)}`]), 400, "untrusted-host"],
  ["15 KB of session cookie", get([HOST, `Cookie: mcp_session=${"a".repeat(15_000)}`]), 401, "missing-credentials"],
  ["a refused Origin", get([HOST, `Origin: https://${MARK}.example`]), 403, "cross-origin-refused"],
  ["the null Origin", get([HOST, "Origin: null"]), 403, "cross-origin-refused"],
  [
    "two Origin lines",
    get([HOST, "Origin: https://app.example.com", `Origin: https://${MARK}.example`]),
    403,
    "cross-origin-refused",
  ],
  ["non-ASCII in Origin", get([HOST, "Origin: https://\u00e9.example"]), 403, "cross-origin-refused"],
  ["two keys", get([HOST, "X-API-Key: a", `X-API-Key: ${MARK}`]), 400, "ambiguous-credentials"],
  [
    "two Authorization lines",
    get([HOST, "Authorization: Bearer a", `Authorization: Bearer ${MARK}`]),
    400,
    "ambiguous-credentials",
  ],
  ["a key and a token", get([HOST, "X-API-Key: a", `Authorization: Bearer ${MARK}`]), 400, "ambiguous-credentials"],
  ["non-ASCII in the key", get([HOST, "X-API-Key: mcp_\u00e9\u00e9"]), 401, "invalid-credentials"],
  ["non-ASCII in the token", get([HOST, "Authorization: Bearer \u00e9.\u00e9.\u00e9"]), 401, "invalid-credentials"],
  ["an empty token", get([HOST, "Authorization: Bearer "]), 401, "invalid-credentials"],
  ["two tokens in one header", get([HOST, `Authorization: Bearer a ${MARK}`]), 401, "invalid-credentials"],
  ["two session cookies", get([HOST, `Cookie: mcp_session=a; mcp_session=${MARK}`]), 400, "ambiguous-credentials"],
  ["a malformed session cookie", get([HOST, `Cookie: mcp_session=%E0%A4%A${MARK}`]), 401, "missing-credentials"],
  ["cookies of nothing but semicolons", get([HOST, `Cookie: ${";".repeat(8000)}`]), 401, "missing-credentials"],
  [
    "X-Forwarded-Host from nobody's proxy",
    get([HOST, `X-Forwarded-Host: ${MARK}.example`]),
    401,
    "missing-credentials",
  ],
  ["X-Forwarded-For of garbage", get([HOST, `X-Forwarded-For: ${MARK}, ,,"`]), 401, "missing-credentials"],
  ["X-Forwarded-Proto of garbage", get([HOST, `X-Forwarded-Proto: ${MARK}`]), 401, "missing-credentials"],
  ["non-ASCII in the session cookie", get([HOST, "Cookie: mcp_session=\u00e9\u00e9"]), 401, "missing-credentials"],
  [
    "two Cookie lines with the session in each",
    get([HOST, "Cookie: mcp_session=a", `Cookie: mcp_session=${MARK}`]),
    400,
    "ambiguous-credentials",
  ],
  [
    "non-ASCII in X-Forwarded-*",
    get([HOST, "X-Forwarded-For: \u00e9", "X-Forwarded-Host: \u00e9", "X-Forwarded-Proto: \u00e9"]),
    401,
    "missing-credentials",
  ],
  [
    "two X-Forwarded-Host lines",
    get([HOST, "X-Forwarded-Host: localhost", `X-Forwarded-Host: ${MARK}.example`]),
    401,
    "missing-credentials",
  ],
  ["15 KB of X-Forwarded-For", get([HOST, `X-Forwarded-For: ${"1.2.3.4,".repeat(1900)}`]), 401, "missing-credentials"],
  [
    "a forged cross-site POST",
    `POST /me HTTP/1.1\r\n${HOST}\r\nSec-Fetch-Site: cross-site\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
    403,
    "cross-origin-refused",
  ],
  [
    "an unknown Sec-Fetch-Site",
    `POST /me HTTP/1.1\r\n${HOST}\r\nSec-Fetch-Site: ${MARK}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
    403,
    "cross-origin-refused",
  ],
  ["a target of nothing but percent signs", get([HOST], `/${"%".repeat(200)}`), 404, undefined],
];

/** What functions are asked about, which is nothing malformed. */
const asked: string[] = [];
const trusts =
  (...names: string[]) =>
  async (name: string): Promise<boolean> => {
    asked.push(name);
    return Promise.resolve(names.includes(name));
  };
/** The same policies, decided by functions of the app instead of lists. */
const WITH_FUNCTIONS = {
  ...SETTINGS,
  trustedHosts: { hosts: trusts("localhost", "127.0.0.1", "[::1]") },
  cors: { ...SETTINGS.cors, origins: trusts("https://app.example.com") },
};

const APPS = EXPRESS.flatMap(({ name, express }) => [
  { title: `bad input on ${name}`, express, settings: SETTINGS },
  { title: `bad input where functions decide about hosts and origins, on ${name}`, express, settings: WITH_FUNCTIONS },
]);

describe.each(APPS)("$title", ({ express, settings }) => {
  let server: TestServer;
  let security: Security<typeof SETTINGS>;
  const errors: unknown[] = [];
  const events: string[] = [];

  beforeAll(async () => {
    asked.length = 0;
    const app = express();
    security = applySecurity(app, settings);
    security.events.on("*", (event) => events.push(JSON.stringify(event)));
    app.get("/me", security.requireAuth(), (_req, res) => void res.send("reached"));
    app.post("/me", security.requireAuth(), (_req, res) => void res.send("reached"));
    app.use(((error, _req, res, _next) => {
      // Express's own 400 for a path it cannot decode is the app's business; anything else is an exception of ours.
      if ((error as { status?: number }).status !== 400) errors.push(error);
      res.status((error as { status?: number }).status ?? 500).end();
    }) as ErrorRequestHandler);
    await security.ready();
    server = await serve(app);
  });
  afterAll(async () => {
    await server.close();
    await security.close();
  });

  it.each(CASES)("%s", async (_name, bytes, status, code) => {
    const answer = await server.raw(Buffer.from(bytes, "latin1"));
    expect(answer.split("\r\n")[0]).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(answer).not.toContain(MARK);
    expect(errors).toEqual([]);
    if (code === undefined) return;
    expect(answer).toContain(`"code":"${code}"`);
    const head = answer.split("\r\n\r\n")[0]?.toLowerCase() ?? "";
    for (const header of ALWAYS) expect(head).toContain(header);
    expect(head).toContain("content-type: application/problem+json");
    expect(head).not.toContain("x-powered-by");
    // Two cookies of one name are taken back; no other cookie is set.
    expect(head).not.toMatch(/set-cookie: (?!mcp_session=; max-age=0; )/);
  });

  it("is repeated in no event when it was sent as a header", () => {
    expect(events.length).toBeGreaterThan(10);
    expect(events.join()).not.toContain(MARK.slice(1));
  });

  it("reaches no function of the app unless it is a well-formed host or origin", () => {
    const wellFormed = /^(?:https:\/\/)?(?:127\.0\.0\.1|localhost|zxq7echo\.example)$/;
    expect(asked.filter((name) => !wellFormed.test(name))).toEqual([]);
    if (settings === WITH_FUNCTIONS) expect(asked).toContain("zxq7echo.example");
    else expect(asked).toEqual([]);
  });

  it("is followed by a good request that passes", async () => {
    const { key } = await security.apiKeys.create({ ownerId: "ada", name: "k" });
    expect((await server.send("/me", { headers: { "X-API-Key": key } })).text).toBe("reached");
  });
});

/** Believed here, so each of them decides something; what is no host or no address is still no exception. */
describe.each(EXPRESS)("bad X-Forwarded-* from a trusted proxy on $name", ({ express }) => {
  let server: TestServer;
  let security: Security;
  const errors: unknown[] = [];

  beforeAll(async () => {
    const app = express();
    security = applySecurity(app, {
      ...SETTINGS,
      trustProxy: 1,
      trustedHosts: { hosts: ["localhost"], forwardedHost: true },
    });
    app.get("/me", security.requireAuth(), (_req, res) => void res.send("reached"));
    app.use(((error, _req, res, _next) => {
      errors.push(error);
      res.status(500).end();
    }) as ErrorRequestHandler);
    await security.ready();
    server = await serve(app);
  });
  afterAll(async () => {
    await server.close();
    await security.close();
  });

  it.each([
    ["a good X-Forwarded-Host", ["X-Forwarded-Host: localhost"], 401, "missing-credentials"],
    ["another host", [`X-Forwarded-Host: ${MARK}.example`], 400, "untrusted-host"],
    ["a list with another host", [`X-Forwarded-Host: localhost, ${MARK}.example`], 400, "untrusted-host"],
    [
      "two lines, one of another host",
      ["X-Forwarded-Host: localhost", `X-Forwarded-Host: ${MARK}.example`],
      400,
      "untrusted-host",
    ],
    ["non-ASCII in X-Forwarded-Host", ["X-Forwarded-Host: l\u00f6calhost"], 400, "untrusted-host"],
    ["15 KB of X-Forwarded-Host", [`X-Forwarded-Host: ${"a".repeat(15_000)}`], 400, "untrusted-host"],
    ["garbage in X-Forwarded-For", [`X-Forwarded-For: ${MARK}, ,,"`], 401, "missing-credentials"],
    ["non-ASCII in X-Forwarded-For", ["X-Forwarded-For: \u00e9"], 401, "missing-credentials"],
    ["15 KB of X-Forwarded-For", [`X-Forwarded-For: ${"1.2.3.4,".repeat(1900)}`], 401, "missing-credentials"],
    [
      "two X-Forwarded-For lines",
      ["X-Forwarded-For: 192.0.2.1", `X-Forwarded-For: ${MARK}`],
      401,
      "missing-credentials",
    ],
    ["garbage in X-Forwarded-Proto", [`X-Forwarded-Proto: ${MARK},https`], 401, "missing-credentials"],
  ] as [string, string[], number, string][])("%s", async (_name, lines, status, code) => {
    const answer = await server.raw(Buffer.from(get([HOST, ...lines]), "latin1"));
    expect(answer.split("\r\n")[0]).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(answer).toContain(`"code":"${code}"`);
    expect(answer).not.toContain(MARK);
    for (const header of ALWAYS) expect(answer.toLowerCase()).toContain(header);
    expect(errors).toEqual([]);
  });
});
