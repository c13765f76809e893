import type { Call, Reply } from "./http.js";

/** What later stops need of earlier answers. */
export interface Memory {
  apiKey: string;
  cookie: string;
  accessToken: string;
  refreshToken: string;
  usedRefreshToken: string;
  madeKey: string;
  madeKeyId: string;
}

interface Stop {
  chapter: string;
  why: string;
  request(memory: Memory): Call;
  /** What differs from the promise; empty when nothing does. */
  expect(reply: Reply, memory: Memory): string[];
}

interface Expected {
  status: number;
  /** The refusal's code. */
  code?: string;
  /** Response headers: a string must be contained, `undefined` means absent. */
  headers?: Record<string, string | undefined>;
  body?: string;
  /** Keeps something of the answer for later stops. */
  keep?: (reply: Reply, memory: Memory) => void;
}

function check(expected: Expected): Stop["expect"] {
  return (reply, memory) => {
    const found: string[] = [];
    if (reply.status !== expected.status) found.push(`status ${reply.status} instead of ${expected.status}`);
    if (expected.code !== undefined && !reply.text.includes(`"code":"${expected.code}"`))
      found.push(`the body does not name ${expected.code}`);
    if (expected.body !== undefined && !reply.text.includes(expected.body))
      found.push(`the body lacks ${expected.body}`);
    for (const [name, value] of Object.entries(expected.headers ?? {})) {
      const sent = reply.headers[name.toLowerCase()];
      const text = Array.isArray(sent) ? sent.join("\n") : sent;
      if (value === undefined ? text !== undefined : !(text ?? "").includes(value))
        found.push(`${name} is ${text ?? "absent"}`);
    }
    if (found.length === 0) expected.keep?.(reply, memory);
    return found;
  };
}

const json = (reply: Reply): Record<string, string> => JSON.parse(reply.text) as Record<string, string>;
const cookieOf = (reply: Reply): string => reply.headers["set-cookie"]?.[0]?.split(";")[0] ?? "";
const bearer = (token: string): Record<string, string> => ({ Authorization: `Bearer ${token}` });
const keep = (tokens: Reply, memory: Memory): void => {
  const { accessToken = "", refreshToken = "" } = json(tokens);
  memory.usedRefreshToken = memory.refreshToken;
  Object.assign(memory, { accessToken, refreshToken });
};
const CSP = "frame-ancestors 'none'";
const app = "https://app.example.com";

function stop(chapter: string, why: string, request: Call | ((memory: Memory) => Call), expected: Expected): Stop {
  return { chapter, why, request: typeof request === "function" ? request : () => request, expect: check(expected) };
}

export const stops: readonly Stop[] = [
  stop(
    "1 Security headers",
    "every answer carries them",
    { path: "/public" },
    {
      status: 200,
      headers: {
        "Content-Security-Policy": CSP,
        "X-Content-Type-Options": "nosniff",
        "Permissions-Policy": "camera=()",
        "X-Powered-By": undefined,
      },
    },
  ),
  stop(
    "1 Security headers",
    "a 404 carries them too",
    { path: "/nowhere" },
    { status: 404, headers: { "Content-Security-Policy": CSP, "X-Frame-Options": "DENY" } },
  ),
  stop(
    "1 Security headers",
    "the page's script bears this response's nonce",
    { path: "/page" },
    { status: 200, headers: { "Content-Security-Policy": "'nonce-" }, body: '<script nonce="' },
  ),

  stop(
    "2 Rate limit",
    "the answer says what is left",
    { path: "/public" },
    { status: 200, headers: { RateLimit: "r=", "RateLimit-Policy": "q=100" } },
  ),

  stop(
    "3 CORS",
    "an origin on the list may read the answer",
    { path: "/public", headers: { Origin: app } },
    { status: 200, headers: { "Access-Control-Allow-Origin": app, Vary: "Origin" } },
  ),
  stop(
    "3 CORS",
    "a preflight of that origin is answered",
    { method: "OPTIONS", path: "/public", headers: { Origin: app, "Access-Control-Request-Method": "POST" } },
    { status: 204, headers: { "Access-Control-Allow-Methods": "POST" } },
  ),
  stop(
    "3 CORS",
    "another origin gets no Access-Control header at all",
    { path: "/public", headers: { Origin: "https://evil.example" } },
    { status: 200, headers: { "Access-Control-Allow-Origin": undefined, Vary: "Origin" } },
  ),

  stop(
    "4 Trusted hosts",
    "a loopback name is on the list",
    { path: "/public", headers: { Host: "localhost:3000" } },
    { status: 200 },
  ),
  stop(
    "4 Trusted hosts",
    "another name is refused",
    { path: "/public", headers: { Host: "evil.example" } },
    { status: 400, code: "untrusted-host", headers: { "Content-Security-Policy": CSP } },
  ),
  stop(
    "4 Trusted hosts",
    "user information in Host is refused",
    { path: "/public", headers: { Host: "evil.example@localhost" } },
    { status: 400, code: "untrusted-host" },
  ),

  stop(
    "5 Sessions",
    "without a session there is no /me",
    { path: "/me" },
    { status: 401, code: "missing-credentials", headers: { "WWW-Authenticate": "Session", "Set-Cookie": undefined } },
  ),
  stop(
    "5 Sessions",
    "logging in gives a cookie scripts cannot read",
    { method: "POST", path: "/login", body: '{"username":"ada"}' },
    { status: 200, headers: { "Set-Cookie": "HttpOnly" }, keep: (reply, memory) => (memory.cookie = cookieOf(reply)) },
  ),
  stop(
    "5 Sessions",
    "the cookie says who is calling",
    (memory) => ({ path: "/me", headers: { Cookie: memory.cookie } }),
    { status: 200, body: '"id":"ada"' },
  ),
  stop(
    "5 Sessions",
    "one changed character, and it says nothing",
    (memory) => ({
      path: "/me",
      headers: { Cookie: `${memory.cookie.slice(0, -1)}${memory.cookie.endsWith("A") ? "B" : "A"}` },
    }),
    { status: 401, code: "missing-credentials" },
  ),

  stop(
    "6 Cross-origin request forgery",
    "a form on another site cannot act for ada",
    (memory) => ({
      method: "POST",
      path: "/token",
      headers: { Cookie: memory.cookie, "Sec-Fetch-Site": "cross-site", Origin: "https://evil.example" },
    }),
    { status: 403, code: "cross-origin-refused" },
  ),
  stop(
    "6 Cross-origin request forgery",
    "our own page can",
    (memory) => ({
      method: "POST",
      path: "/token",
      headers: { Cookie: memory.cookie, "Sec-Fetch-Site": "same-origin" },
    }),
    { status: 200, headers: { "Cache-Control": "no-store" }, keep },
  ),

  stop(
    "7 JWT",
    "the access token opens the route",
    (memory) => ({ path: "/jwt-protected", headers: bearer(memory.accessToken) }),
    { status: 200, body: "Hello, ada!" },
  ),
  stop(
    "7 JWT",
    "one changed character, and it opens nothing",
    (memory) => ({
      path: "/jwt-protected",
      headers: bearer(
        `${memory.accessToken.slice(0, -2)}${memory.accessToken.at(-2) === "A" ? "B" : "A"}${memory.accessToken.at(-1) ?? ""}`,
      ),
    }),
    { status: 401, code: "invalid-credentials", headers: { "WWW-Authenticate": 'error="invalid_token"' } },
  ),
  stop(
    "7 JWT",
    "a token and a session at once are refused",
    (memory) => ({ path: "/jwt-protected", headers: { ...bearer(memory.accessToken), Cookie: memory.cookie } }),
    { status: 400, code: "ambiguous-credentials" },
  ),
  stop(
    "7 JWT",
    "refreshing gives a new pair",
    (memory) => ({
      method: "POST",
      path: "/tokens/refresh",
      body: JSON.stringify({ refreshToken: memory.refreshToken }),
    }),
    { status: 200, keep },
  ),
  stop(
    "7 JWT",
    "and again",
    (memory) => ({
      method: "POST",
      path: "/tokens/refresh",
      body: JSON.stringify({ refreshToken: memory.refreshToken }),
    }),
    { status: 200, keep: (reply, memory) => ((memory.usedRefreshToken = ""), keep(reply, memory)) },
  ),
  stop(
    "7 JWT",
    "revoking ends the family",
    (memory) => ({
      method: "POST",
      path: "/tokens/revoke",
      body: JSON.stringify({ refreshToken: memory.refreshToken }),
    }),
    { status: 204 },
  ),
  stop(
    "7 JWT",
    "so its refresh token is dead",
    (memory) => ({
      method: "POST",
      path: "/tokens/refresh",
      body: JSON.stringify({ refreshToken: memory.refreshToken }),
    }),
    { status: 401, code: "invalid-credentials" },
  ),
  stop(
    "7 JWT",
    "and its access token too",
    (memory) => ({ path: "/jwt-protected", headers: bearer(memory.accessToken) }),
    { status: 401, code: "invalid-credentials" },
  ),

  stop(
    "8 API keys",
    "no key, no entry",
    { path: "/protected" },
    { status: 401, code: "missing-credentials", headers: { "WWW-Authenticate": "ApiKey" } },
  ),
  stop(
    "8 API keys",
    "the key opens the route",
    (memory) => ({ path: "/protected", headers: { "X-API-Key": memory.apiKey } }),
    { status: 200, body: '{"message":"Hello, demo-service!"}' },
  ),
  stop(
    "8 API keys",
    "as a Bearer credential too",
    (memory) => ({ path: "/protected", headers: bearer(memory.apiKey) }),
    { status: 200 },
  ),
  stop(
    "8 API keys",
    "one changed character fails the checksum",
    (memory) => ({
      path: "/protected",
      headers: { "X-API-Key": `${memory.apiKey.slice(0, -1)}${memory.apiKey.endsWith("A") ? "B" : "A"}` },
    }),
    { status: 401, code: "invalid-credentials" },
  ),
  stop(
    "8 API keys",
    "ada makes a key within her own scopes",
    (memory) => ({
      method: "POST",
      path: "/api-keys",
      headers: { Cookie: memory.cookie },
      body: '{"name":"cli","scopes":["read"]}',
    }),
    {
      status: 201,
      headers: { "Cache-Control": "no-store" },
      keep: (reply, memory) => {
        const made = JSON.parse(reply.text) as { key: string; record: { id: string } };
        Object.assign(memory, { madeKey: made.key, madeKeyId: made.record.id });
      },
    },
  ),
  stop(
    "8 API keys",
    "but not beyond them",
    (memory) => ({
      method: "POST",
      path: "/api-keys",
      headers: { Cookie: memory.cookie },
      body: '{"name":"cli","scopes":["admin"]}',
    }),
    { status: 403, code: "insufficient-scope" },
  ),
  stop(
    "8 API keys",
    "her key speaks for her",
    (memory) => ({ path: "/protected", headers: { "X-API-Key": memory.madeKey } }),
    { status: 200, body: "Hello, ada!" },
  ),
  stop(
    "8 API keys",
    "she revokes it",
    (memory) => ({ method: "DELETE", path: `/api-keys/${memory.madeKeyId}`, headers: { Cookie: memory.cookie } }),
    { status: 204 },
  ),
  stop(
    "8 API keys",
    "and it is dead at once",
    (memory) => ({ path: "/protected", headers: { "X-API-Key": memory.madeKey } }),
    { status: 401, code: "invalid-credentials" },
  ),

  stop(
    "9 Logging out",
    "ends the session and clears the browser",
    (memory) => ({ method: "POST", path: "/logout", headers: { Cookie: memory.cookie } }),
    { status: 204, headers: { "Clear-Site-Data": "cookies" } },
  ),
  stop("9 Logging out", "the old cookie is dead", (memory) => ({ path: "/me", headers: { Cookie: memory.cookie } }), {
    status: 401,
    code: "missing-credentials",
  }),

  ...[2, 3, 4, 5].map((attempt) =>
    stop(
      "10 The limit of one route",
      `attempt ${attempt} of 5`,
      { method: "POST", path: "/login", body: "{}" },
      { status: 400 },
    ),
  ),
  stop(
    "10 The limit of one route",
    "the sixth within a minute is refused",
    { method: "POST", path: "/login", body: "{}" },
    { status: 429, code: "rate-limited", headers: { "Retry-After": "", "Content-Security-Policy": CSP } },
  ),
];
