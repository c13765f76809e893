import type { ServerSettings } from "./server-process.js";

/** One request, as the load generator repeats it. */
export interface Ask {
  readonly method: "GET" | "OPTIONS" | "POST";
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** How many client addresses the requests come from, in turn. */
  readonly addresses?: number;
}

/** What a server takes as proof: it says so when it starts, but for the cookie, which its log-in gives. */
export type Credentials = Readonly<Partial<Record<"apiKey" | "badKey" | "jwt" | "cookie", string>>>;

export interface Scenario {
  readonly id: string;
  readonly title: string;
  readonly settings?: Partial<ServerSettings>;
  /** Logs in first, for the cookie. */
  readonly logsIn?: boolean;
  /** Requests sent before the one that counts. */
  readonly before?: number;
  readonly ask: (credentials: Credentials) => Ask;
  /** What a secured server answers. A bare one serves whatever it is asked. */
  readonly status: number;
  /** Headers of that answer beside those that protect every answer. */
  readonly headers: readonly string[];
  /** Headers of a rate limit belong to the answer, in one of their forms. */
  readonly limited: boolean;
}

/** What the proxy in front adds: who asks, and that it came over TLS. */
const FORWARDED = { Host: "api.example.com", "X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https" };
/** A bare server knows no credentials, and gets headers of the same length: parsing them is not security. */
const ANY = {
  apiKey: `mcp_${"x".repeat(50)}`,
  jwt: `${"x".repeat(80)}.${"x".repeat(330)}.${"x".repeat(43)}`,
  cookie: `__Host-session=${"x".repeat(80)}`,
};

const get = (path: string, headers: Record<string, string> = {}): Ask => ({
  method: "GET",
  path,
  headers: { ...FORWARDED, ...headers },
});
const withToken = ({ jwt = ANY.jwt }: Credentials): Ask => get("/me", { Authorization: `Bearer ${jwt}` });

export const SCENARIOS: readonly Scenario[] = [
  { id: "anonymous", title: "Anonymous GET", ask: () => get("/hello"), status: 200, headers: ["vary"], limited: true },
  {
    id: "session",
    title: "GET with a session cookie",
    logsIn: true,
    ask: ({ cookie = ANY.cookie }) => get("/me", { Cookie: cookie }),
    status: 200,
    headers: ["vary"],
    limited: true,
  },
  {
    id: "api-key",
    title: "GET with an API key",
    ask: ({ apiKey = ANY.apiKey }) => get("/me", { "X-API-Key": apiKey }),
    status: 200,
    headers: ["vary"],
    limited: true,
  },
  { id: "jwt-hs256", title: "GET with a JWT, HS256", ask: withToken, status: 200, headers: ["vary"], limited: true },
  {
    id: "jwt-es256",
    title: "GET with a JWT, ES256",
    settings: { algorithm: "ES256" },
    ask: withToken,
    status: 200,
    headers: ["vary"],
    limited: true,
  },
  {
    id: "preflight",
    title: "CORS preflight",
    ask: () => ({
      method: "OPTIONS",
      path: "/hello",
      headers: {
        ...FORWARDED,
        Origin: "https://app.example.com",
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type,x-api-key",
      },
    }),
    status: 204,
    headers: [
      "vary",
      "access-control-allow-origin",
      "access-control-allow-credentials",
      "access-control-allow-methods",
      "access-control-allow-headers",
      "access-control-max-age",
    ],
    limited: false,
  },
  {
    id: "429",
    title: "Over the limit: 429",
    settings: { limit: 1 },
    before: 1,
    ask: () => get("/hello"),
    status: 429,
    headers: ["vary", "retry-after"],
    limited: true,
  },
  {
    id: "host",
    title: "Refused host: 400",
    ask: () => get("/hello", { Host: "evil.example.org" }),
    status: 400,
    headers: [],
    limited: false,
  },
  {
    id: "bad-key",
    // portcullis limits wrong keys too, so they come from many addresses here. The others have no checksum: they look the key up.
    title: "A key that fails its checksum: 401",
    ask: ({ badKey = ANY.apiKey }) => ({ ...get("/me", { "X-API-Key": badKey }), addresses: 64 }),
    status: 401,
    headers: ["vary", "www-authenticate"],
    limited: true,
  },
];

/** @param others names that are no scenario of one server, but may be asked for as well  @throws RangeError for an unknown name */
export function chooseScenarios(
  ids: readonly string[] | undefined,
  others: readonly string[] = [],
): readonly Scenario[] {
  if (ids === undefined) return SCENARIOS;
  const names = [...SCENARIOS.map(({ id }) => id), ...others];
  const unknown = ids.find((id) => !names.includes(id));
  if (unknown !== undefined) throw new RangeError(`No scenario is called ${unknown}. There are: ${names.join(", ")}.`);
  return SCENARIOS.filter(({ id }) => ids.includes(id));
}

/** The answer's headers of a rate limit, by any of the names the packages know. */
export function limitHeaders(headers: Readonly<Record<string, unknown>>): string[] {
  return Object.keys(headers).filter((name) => /^(?:x-)?ratelimit/.test(name));
}
