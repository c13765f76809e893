import { generateKeyPairSync } from "node:crypto";
import fc from "fast-check";

/** Secrets that pass every check, one for each purpose; none may be seen again in anything that is printed. */
export const SECRETS = {
  root: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E",
  older: "Zq8mW3xC6vB9nL2kJ5hG7fD4sA1pO0iUyTrE",
  session: "pR7nX2cK9vM4wQ6zB1tY8uJ5hG3fD0sLaE",
  token: "Hd5Gk8Jw2Nq7Rt4Vx9Zb1Cf6Ly3MpSuEoAi0WzKtBnPvQsXcRgYjUmDhFlTaHe8Ix",
  pepper: "tF4yU7iO2pA9sD6gH1jK8lZ3xC5vB0nMqW",
  // Not a secret by its form, but whoever puts one in the wrong place must not read it in a log.
  misplaced: "Wm6Tg1Xr8Kd3Pz5Ny9Qb2Hv7Jc4Lf0Sa",
} as const;
export const PRIVATE_KEY = generateKeyPairSync("ec", {
  namedCurve: "P-256",
  privateKeyEncoding: { type: "pkcs8", format: "pem" },
  publicKeyEncoding: { type: "spki", format: "pem" },
}).privateKey;

/** What must not be found in a text: the secrets, and the middle line of the private key. */
export const UNSPEAKABLE: readonly string[] = [...Object.values(SECRETS), PRIVATE_KEY.split("\n")[1] ?? ""];

const some = <T extends Record<string, fc.Arbitrary<unknown>>>(parts: T) => fc.record(parts, { requiredKeys: [] });
const mode = fc.constantFrom("enforce", "report");
/** `false`, or an object, mostly the object. */
const on = (settings: fc.Arbitrary<unknown>) =>
  fc.oneof({ weight: 5, arbitrary: settings }, { weight: 1, arbitrary: fc.constant(false) });
const list = (...entries: string[]) => fc.uniqueArray(fc.constantFrom(...entries), { minLength: 1, maxLength: 3 });
const seconds = fc.integer({ min: 1, max: 3600 });

const csp = some({
  directives: some({
    "script-src": list("'self'", "'nonce'", "https://cdn.example"),
    "img-src": list("'self'", "data:", "*.example.com"),
    "connect-src": fc.constant(["'none'"]),
    "upgrade-insecure-requests": fc.constant(false),
  }),
  useDefaults: fc.constant(true),
});
const headers = some({
  mode,
  contentSecurityPolicy: on(csp),
  contentSecurityPolicyReportOnly: csp,
  strictTransportSecurity: on(
    some({ maxAge: fc.integer({ min: 0, max: 63_072_000 }), includeSubDomains: fc.boolean() }),
  ),
  permissionsPolicy: on(
    some({
      camera: fc.constant([]),
      geolocation: fc.constant(["self", "https://maps.example.com"]),
      fullscreen: fc.constant("*"),
    }),
  ),
  referrerPolicy: fc.constantFrom("no-referrer", "same-origin", ["no-referrer", "strict-origin"], false),
  xssProtection: fc.constantFrom("0", "block", false),
  crossOriginOpenerPolicy: fc.constantFrom("same-origin", "unsafe-none", false),
  crossOriginResourcePolicy: fc.constantFrom("same-site", "cross-origin", false),
  crossOriginEmbedderPolicy: fc.constantFrom("require-corp", false),
  reportingEndpoints: fc.constantFrom({}, { csp: "https://r.example.com/csp" }),
});
const cors = fc.record(
  {
    origins: list("https://app.example.com", "https://*.example.org", "http://localhost:5173"),
    credentials: fc.boolean(),
    methods: list("GET", "PUT", "DELETE"),
    allowedHeaders: list("Content-Type", "X-One", "Authorization"),
    exposedHeaders: list("RateLimit", "X-Two"),
    maxAge: fc.integer({ min: 0, max: 86_400 }),
    refused: fc.constantFrom("ignore", "reject"),
    privateNetwork: fc.boolean(),
    mode,
  },
  { requiredKeys: ["origins"] },
);
const rateLimit = some({
  limit: fc.integer({ min: 5, max: 2 ** 31 - 1 }),
  windowSeconds: seconds,
  cost: fc.integer({ min: 1, max: 5 }),
  allow: list("10.0.0.0/8", "2001:db8::1"),
  ipv6Subnet: fc.integer({ min: 32, max: 64 }),
  maxClients: fc.integer({ min: 1, max: 5000 }),
  headers: fc.constantFrom("draft-8", "draft-6", "legacy", false),
  onStoreError: fc.constantFrom("local", "allow", "deny"),
  name: fc.constantFrom("default", "main.limit"),
  mode,
});
const csrf = some({
  trustedOrigins: list("https://b.example.com", "https://*.c.example.com"),
  exemptPaths: list("/hook", "/a/b"),
  sameSite: fc.constantFrom("refuse", "allow"),
  unmarked: fc.constantFrom("allow", "refuse"),
  mode,
});
const session = some({
  secret: fc.constantFrom(SECRETS.session, [SECRETS.session]),
  cookieName: fc.constantFrom("mcp_session", "sid"),
  maxAge: seconds,
  absoluteMaxAge: fc.integer({ min: 3600, max: 90_000 }),
  sameSite: fc.constantFrom("lax", "strict"),
  domain: fc.constant("example.com"),
  maxSessions: fc.integer({ min: 1, max: 1000 }),
  mode,
});
const apiKeys = some({
  prefix: fc.constantFrom("mcp_", "acme-"),
  length: fc.integer({ min: 19, max: 64 }),
  hash: fc.constantFrom("argon2id", "hmac-sha256"),
  headerName: fc.constantFrom("X-API-Key", "X-Key"),
  cacheSeconds: fc.integer({ min: 0, max: 60 }),
  failures: some({ limit: fc.integer({ min: 1, max: 100 }), windowSeconds: seconds }),
  secret: fc.constant(SECRETS.pepper),
  realm: fc.constantFrom("api", "a realm; with, marks"),
  mode,
});
const jwt = fc.oneof(
  some({
    algorithm: fc.constantFrom("HS256", "HS384", "HS512"),
    secret: fc.constantFrom(SECRETS.token, [SECRETS.token]),
    issuer: fc.constantFrom("portcullis", "https://api.example.com"),
    audience: list("one", "two"),
    accessTokenMinutes: fc.integer({ min: 1, max: 60 }),
    onStoreError: fc.constantFrom("deny", "allow"),
    realm: fc.constant("tokens"),
    mode,
  }),
  fc.record({ algorithm: fc.constant("ES256"), privateKey: fc.constant(PRIVATE_KEY) }),
  fc.record({ algorithm: fc.constant("ES256"), keys: fc.constant([{ kid: "new", privateKey: PRIVATE_KEY }]) }),
);
const trustedHosts = fc.oneof(
  fc.constant(["127.0.0.1"]),
  fc.record({
    hosts: fc.constantFrom(["127.0.0.1"], ["127.0.0.1", "*.example.com", "[::1]:8443"]),
    exemptPaths: list("/health"),
    mode,
  }),
);

/** Settings of which nearly all are right: every protection and most of its options, on, off or absent. */
export const rightSettings = fc
  .record(
    {
      trustedHosts,
      secretKey: fc.constantFrom<unknown>(SECRETS.root, [SECRETS.root, SECRETS.older]),
      trustProxy: fc.constantFrom<unknown>(false, 0, 1, ["10.0.0.0/8"], ["loopback"]),
      debug: fc.boolean(),
      headers: on(headers),
      cors: on(cors),
      rateLimit: on(rateLimit),
      csrf: on(csrf),
      session: on(session),
      apiKeys: on(apiKeys),
      jwt: on(jwt),
    },
    { requiredKeys: ["trustedHosts", "secretKey"] },
  )
  .map((settings) => structuredClone(settings) as Record<string, unknown>);

class Instance {
  readonly limit = 5;
}
const nested = (depth: number): unknown => (depth === 0 ? 1 : { headers: nested(depth - 1) });
const nestedList = (depth: number): unknown => (depth === 0 ? 1 : [nestedList(depth - 1)]);
const cyclic: Record<string, unknown> = {};
cyclic.cyclic = cyclic;

/** What stands where something else should. */
export const wrongValue = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom<unknown>(
      true,
      false,
      null,
      undefined,
      "",
      [],
      {},
      0,
      -1,
      1,
      "report",
      "*",
      SECRETS.misplaced,
      [SECRETS.misplaced],
      { hosts: [SECRETS.misplaced] },
    ),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom<unknown>(
      NaN,
      Infinity,
      -Infinity,
      -0,
      0.5,
      2 ** 31,
      2 ** 53,
      1e300,
      5e-324,
      10n,
      10n ** 40n,
    ),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom<unknown>(
      Symbol("s"),
      () => 1,
      () => {
        throw new Error("a function of the app");
      },
      new Date(0),
      new Date(NaN),
      new Map([["limit", 5]]),
      new Set(["a.example"]),
      /a/g,
      Buffer.from("a"),
      new Uint8Array(4),
      new Instance(),
      Instance,
      Object(1),
      Object("a.example"),
      Promise.resolve(1),
      new Error("an error"),
      new (class extends Array {})(),
      Object.assign(Object.create(null), { limit: 5 }),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<unknown>(
      nested(200),
      nestedList(200),
      cyclic,
      Object.assign([], { length: 3 }),
      Object.assign([1], { hosts: ["a.example"] }),
      "a".repeat(100_000),
    ),
  },
  { weight: 2, arbitrary: fc.jsonValue() },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 20 }) },
);

const strangeKey = fc.constantFrom<string | symbol>(
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "hasOwnProperty",
  "then",
  "toJSON",
  "",
  "0",
  "lenght",
  "mode",
  "a\r\nb",
  "\u2028",
  SECRETS.misplaced.slice(0, 3),
  "x".repeat(5000),
  Symbol("key"),
  Symbol.iterator,
  Symbol.toPrimitive,
);

/** One change somewhere in the settings. `where` counts the places there are. */
const mutation = fc.record({
  where: fc.nat(10_000),
  kind: fc.constantFrom(
    "replace",
    "replace",
    "replace",
    "add",
    "add",
    "remove",
    "list",
    "unlist",
    "getter",
    "proxy",
    "prototype",
  ),
  value: wrongValue,
  key: strangeKey,
});

type Holder = Record<PropertyKey, unknown>;
const isHolder = (value: unknown): value is Holder => typeof value === "object" && value !== null;

/** Every place of a tree: the object and the key under it. Only what the arbitrary made is walked, never what a mutation put in. */
function placesOf(tree: Holder, seen = new Set<unknown>()): [Holder, string][] {
  if (seen.has(tree) || seen.size > 500) return [];
  seen.add(tree);
  return Object.entries(Object.getOwnPropertyDescriptors(tree)).flatMap(([key, { value }]): [Holder, string][] => [
    [tree, key],
    ...(isHolder(value) && [Object.prototype, Array.prototype].includes(Object.getPrototypeOf(value) as object)
      ? placesOf(value, seen)
      : []),
  ]);
}

const refuses = (): never => {
  throw new Error("a getter of the app");
};

function mutate(
  tree: Holder,
  { where, kind, value, key }: { where: number; kind: string; value: unknown; key: PropertyKey },
): void {
  const places = placesOf(tree).filter(([holder]) => Object.isExtensible(holder));
  const [holder, at] = places[where % places.length] ?? [tree, "headers"];
  const define = (target: Holder, name: PropertyKey, property: PropertyDescriptor) =>
    void Object.defineProperty(target, name, { enumerable: true, configurable: true, ...property });
  if (Array.isArray(holder) && at === "length") return;
  const inner = holder[at];
  switch (kind) {
    case "replace":
      return define(holder, at, { value, writable: true });
    case "add":
      return define(isHolder(inner) && Object.isExtensible(inner) && !Array.isArray(inner) ? inner : tree, key, {
        value,
        writable: true,
      });
    case "remove":
      return void Reflect.deleteProperty(holder, at);
    case "list":
      return define(holder, at, { value: [inner], writable: true });
    case "unlist":
      return define(holder, at, { value: Array.isArray(inner) ? inner[0] : { ...(inner as object) }, writable: true });
    case "getter":
      return define(holder, at, { get: refuses });
    case "proxy":
      return define(holder, at, {
        value: new Proxy(isHolder(inner) ? inner : {}, {
          ownKeys: refuses,
          get: refuses,
          has: refuses,
          getOwnPropertyDescriptor: refuses,
        }),
        writable: true,
      });
    default:
      return define(holder, at, {
        value: Object.create(isHolder(inner) ? inner : { limit: 5 }) as unknown,
        writable: true,
      });
  }
}

/** Right settings with one to three things wrong in them, or that look wrong. */
export const nearlyRight = fc
  .tuple(rightSettings, fc.array(mutation, { minLength: 1, maxLength: 3 }))
  .map(([settings, mutations]) => {
    for (const one of mutations) {
      try {
        mutate(settings, one);
      } catch {
        // A second mutation walked into the getter or proxy of the first: that one stands.
      }
    }
    return settings;
  });
