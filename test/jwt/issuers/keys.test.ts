import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { JwtIssuerSettings } from "../../../src/jwt/issuers/settings.js";
import { jwtAuth } from "../../../src/jwt/middleware.js";
import { requireJwt } from "../../../src/guards.js";
import { EXPRESS } from "../../support/express-versions.js";
import { heapUsed } from "../../support/heap.js";
import { serve } from "../../support/serve.js";
import { codeOf, KEYS as OTHER_KEYS } from "../support.js";
import {
  AUDIENCE,
  type ForeignBench,
  foreignBench,
  foreignClaims,
  foreignToken,
  json,
  jwkOf,
  TestIssuer,
  type TestKey,
  testKey,
} from "./support.js";

const FIRST = testKey("ES256", "first");
const SECOND = testKey("ES256", "second");
const OUTAGE = { event: "portcullis_store_unavailable", source: "jwt-keys" };
const RECOVERY = { event: "portcullis_store_recovered", source: "jwt-keys" };

const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  vi.useRealTimers();
  for (const end of ends.splice(0).reverse()) await end();
});

/** An issuer that publishes FIRST, and a manager that knows it. */
async function start(
  settings: Partial<JwtIssuerSettings> = {},
  isOpen = true,
): Promise<ForeignBench & { issuer: TestIssuer; code(key: TestKey, header?: object): Promise<unknown> }> {
  const issuer = await TestIssuer.start(FIRST);
  const entry = { issuer: issuer.url, audience: AUDIENCE, algorithms: ["ES256" as const], jwksUri: issuer.jwksUri };
  const bench = foreignBench({ issuers: [{ ...entry, ...settings }] });
  ends.push(
    () => issuer.close(),
    () => bench.manager.close(),
  );
  if (isOpen) await bench.manager.init();
  let number = 0;
  const code = async (key: TestKey, header?: object): Promise<unknown> => {
    number += 1;
    // Each token is another one, so that none is remembered.
    const token = await foreignToken(key, foreignClaims(issuer.url, { number }, bench.clock.now()), header);
    return codeOf(bench.manager.verifyAccessToken(token));
  };
  return { ...bench, issuer, code };
}

const outages = ({ events }: ForeignBench): unknown[] =>
  events.filter(({ source }) => source === "jwt-keys").map(({ event, reason }) => [event, reason]);

describe("the keys of an issuer", () => {
  it("are fetched once by init, and found by kid from then on", async () => {
    const b = await start();
    expect(b.issuer.fetches).toBe(1);
    for (let time = 0; time < 5; time += 1) expect(await b.code(FIRST)).toBe("fulfilled");
    expect(b.issuer.fetches).toBe(1);
  });

  it("are fetched by the first token without init, once for all requests", async () => {
    const b = await start({}, false);
    expect(await Promise.all(Array.from({ length: 20 }, () => b.code(FIRST)))).toEqual(Array(20).fill("fulfilled"));
    expect(b.issuer.fetches).toBe(1);
  });

  it("are those of the document when there is no jwksUri", async () => {
    const b = await start({ jwksUri: undefined });
    expect(await b.code(FIRST)).toBe("fulfilled");
    expect(b.issuer.asked).toEqual(["/.well-known/openid-configuration", "/jwks"]);
  });

  it("are those of the document of RFC 8414 when there is no other", async () => {
    const b = await start({ jwksUri: undefined }, false);
    b.issuer.server.removeAllListeners("request");
    b.issuer.server.on("request", (req, res) => {
      if (req.url === "/jwks") json(res, { keys: [jwkOf(FIRST)] });
      else if (req.url === "/.well-known/oauth-authorization-server")
        json(res, { issuer: b.issuer.url, jwks_uri: b.issuer.jwksUri });
      else res.writeHead(404).end();
    });
    expect(await b.code(FIRST)).toBe("fulfilled");
  });

  it("are picked up when the issuer rotates them, and end when it no longer publishes them", async () => {
    const b = await start();
    const old = await foreignToken(FIRST, foreignClaims(b.issuer.url));
    expect(await codeOf(b.manager.verifyAccessToken(old))).toBe("fulfilled");
    b.issuer.keys = [SECOND];
    // A token that was verified before stays valid until the next fetch.
    expect(await codeOf(b.manager.verifyAccessToken(old))).toBe("fulfilled");
    expect(await b.code(SECOND)).toBe("fulfilled");
    expect(b.issuer.fetches).toBe(2);
    expect(await codeOf(b.manager.verifyAccessToken(old))).toBe("unknown-key");
    expect(await b.code(FIRST)).toBe("unknown-key");
    expect(outages(b)).toEqual([]);
  });

  it("are renewed in the background, by a timer that close() stops", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const b = await start();
    b.issuer.keys = [FIRST, SECOND];
    vi.advanceTimersByTime(600_000);
    await vi.waitFor(() => expect(b.issuer.fetches).toBe(2));
    await vi.waitFor(() => expect(vi.getTimerCount()).toBe(1));
    expect(await b.code(SECOND)).toBe("fulfilled");
    expect(b.issuer.fetches).toBe(2);
    await b.manager.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("are renewed by a request when the timer could not run", async () => {
    const b = await start();
    b.clock.advance(601_000);
    expect(await b.code(FIRST)).toBe("fulfilled");
    await vi.waitFor(() => expect(b.issuer.fetches).toBe(2));
  });
});

describe("an unknown key", () => {
  it("causes one fetch in 30 seconds, whatever its name", async () => {
    const b = await start();
    for (let index = 0; index < 50; index += 1)
      expect(await b.code({ ...SECOND, kid: `k${index}` })).toBe("unknown-key");
    expect(b.issuer.fetches).toBe(2);
    b.clock.advance(30_000);
    expect(await Promise.all(Array.from({ length: 50 }, (_, i) => b.code({ ...SECOND, kid: `m${i}` })))).toEqual(
      Array(50).fill("unknown-key"),
    );
    expect(b.issuer.fetches).toBe(3);
  });

  it("is not looked for again within a minute, and is found once any fetch has brought it", async () => {
    const b = await start();
    expect(await b.code(SECOND)).toBe("unknown-key");
    b.issuer.keys = [FIRST, SECOND];
    b.clock.advance(45_000);
    expect(await b.code(SECOND)).toBe("unknown-key");
    expect(b.issuer.fetches).toBe(2);
    b.clock.advance(16_000);
    expect(await b.code(SECOND)).toBe("fulfilled");
    expect(b.issuer.fetches).toBe(3);
  });

  it("is forgotten when others follow, so that names cost no memory", async () => {
    const b = await start();
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
    let number = 0;
    // As many as one fetch looks up, of the longest names.
    const flood = async (rounds: number): Promise<void> => {
      for (let round = 0; round < rounds; round += 1) {
        b.clock.advance(30_000);
        const claims = part(foreignClaims(b.issuer.url, {}, b.clock.now()));
        const tokens = Array.from({ length: 100 }, () => {
          const kid = String((number += 1)).padStart(255, "k");
          return `${part({ alg: "ES256", kid })}.${claims}.${"A".repeat(86)}`;
        });
        const codes = await Promise.all(tokens.map((token) => codeOf(b.manager.verifyAccessToken(token))));
        expect(new Set(codes)).toEqual(new Set(["unknown-key"]));
      }
    };
    await flood(20);
    const before = heapUsed();
    await flood(200);
    // Twenty thousand names are five million characters.
    expect(heapUsed() - before).toBeLessThan(2_500_000);
    expect(await b.code(FIRST)).toBe("fulfilled");
  });

  it("causes no fetch with an algorithm that is not in the settings, another typ, or a name of over 255 characters", async () => {
    const b = await start();
    expect(await b.code({ ...OTHER_KEYS.rsa, alg: "RS256", kid: "x" })).toBe("algorithm");
    expect(await b.code(SECOND, { typ: "logout+jwt" })).toBe("type");
    expect(await b.code({ ...SECOND, kid: "k".repeat(256) })).toBe("unknown-key");
    expect(await b.code({ ...SECOND, kid: undefined })).toBe("signature");
    expect(b.issuer.fetches).toBe(1);
  });

  it("waits with at most 99 others for a slow fetch; more get 503 at once, and known keys go on", async () => {
    const b = await start({ fetchTimeoutMs: 2000 });
    let release: () => void = () => undefined;
    b.issuer.answer = (_req, res) => void (release = () => json(res, { keys: [jwkOf(FIRST), jwkOf(SECOND)] }));
    const waiting = Array.from({ length: 100 }, () => b.code(SECOND));
    await vi.waitFor(() => expect(b.issuer.fetches).toBe(2));
    const began = performance.now();
    expect(await Promise.all([b.code(SECOND), b.code(SECOND), b.code(FIRST)])).toEqual([
      "keys-unavailable",
      "keys-unavailable",
      "fulfilled",
    ]);
    expect(performance.now() - began).toBeLessThan(1500);
    release();
    expect(await Promise.all(waiting)).toEqual(Array(100).fill("fulfilled"));
    expect(b.issuer.fetches).toBe(2);
    expect(outages(b)).toEqual([["portcullis_overload", "waiters"]]);
  });
});

const BOMB = gzipSync(Buffer.alloc(20_000_000, " "));

/** What an endpoint may answer instead of its keys, and the reason in the event. */
const BAD: readonly { name: string; reason: string; answer: NonNullable<TestIssuer["answer"]> }[] = [
  { name: "nothing for too long", reason: "timeout", answer: () => undefined },
  {
    name: "a byte now and then",
    reason: "timeout",
    answer: (_req, res) => {
      res.writeHead(200);
      const timer = setInterval(() => res.write(" "), 20);
      res.on("close", () => clearInterval(timer));
    },
  },
  {
    name: "a stream without end",
    reason: "too-large",
    answer: (_req, res) => {
      const chunk = Buffer.alloc(65_536, " ");
      const more = (): void => {
        while (!res.destroyed && res.write(chunk));
      };
      res.on("drain", more);
      more();
    },
  },
  {
    name: "a length that is too large",
    reason: "too-large",
    answer: (_req, res) => void res.writeHead(200, { "Content-Length": 10_000_000 }).write("{"),
  },
  {
    name: "a gzip bomb",
    reason: "compressed",
    answer: (_req, res) => void res.writeHead(200, { "Content-Encoding": "gzip" }).end(BOMB),
  },
  {
    name: "a redirect to itself",
    reason: "redirect",
    answer: (_req, res) => void res.writeHead(302, { Location: "/jwks" }).end(),
  },
  {
    name: "a page",
    reason: "not-json",
    answer: (_req, res) => void res.writeHead(200, { "Content-Type": "text/html" }).end("<html>"),
  },
  { name: "half of a document", reason: "not-json", answer: (_req, res) => void res.end('{"keys":[') },
  { name: "a list", reason: "no-key-set", answer: (_req, res) => json(res, [jwkOf(SECOND)]) },
  { name: "no keys", reason: "no-usable-key", answer: (_req, res) => json(res, { keys: [] }) },
  {
    name: "a hundred and one keys",
    reason: "too-many-keys",
    answer: (_req, res) => json(res, { keys: Array(101).fill(jwkOf(SECOND)) }),
  },
  { name: "an error", reason: "status-500", answer: (_req, res) => void res.writeHead(500).end() },
  { name: "a closed connection", reason: "ECONNRESET", answer: (req) => void req.socket.destroy() },
];

describe.each(BAD)("an endpoint that sends $name", ({ reason, answer }) => {
  const fetchTimeoutMs = reason === "timeout" ? 150 : 2000;

  it("does not stop the start; its tokens get 503, and it is asked a few times only", async () => {
    const b = await start({ fetchTimeoutMs }, false);
    b.issuer.answer = answer;
    await b.manager.init();
    const began = performance.now();
    const codes = await Promise.all(Array.from({ length: 30 }, () => b.code(FIRST)));
    expect(new Set(codes)).toEqual(new Set(["keys-unavailable"]));
    for (let time = 0; time < 30; time += 1) expect(await b.code(FIRST)).toBe("keys-unavailable");
    expect(performance.now() - began).toBeLessThan(3000);
    expect(b.issuer.fetches).toBeLessThanOrEqual(2);
    expect(outages(b)).toEqual([[OUTAGE.event, reason]]);
    b.issuer.answer = undefined;
    b.clock.advance(120_000);
    expect(await b.code(FIRST)).toBe("fulfilled");
    expect(outages(b)).toEqual([
      [OUTAGE.event, reason],
      [RECOVERY.event, "answered"],
    ]);
    expect(b.events.filter(({ source }) => source === "jwt-keys").every(({ issuer }) => issuer === b.issuer.url)).toBe(
      true,
    );
  });

  it("leaves tokens with known keys as they are for staleSeconds, and not longer", async () => {
    const b = await start({ fetchTimeoutMs, staleSeconds: 1000, refreshSeconds: 600 });
    const known = await foreignToken(
      FIRST,
      foreignClaims(b.issuer.url, { exp: Math.floor(b.clock.now() / 1000) + 7200 }),
    );
    expect(await codeOf(b.manager.verifyAccessToken(known))).toBe("fulfilled");
    b.issuer.answer = answer;
    b.clock.advance(601_000);
    expect(await b.code(FIRST)).toBe("fulfilled");
    await vi.waitFor(() => expect(outages(b)).toEqual([[OUTAGE.event, reason]]), { timeout: 3000 });
    expect(await b.code(SECOND)).toBe("keys-unavailable");
    expect(await b.code(FIRST)).toBe("fulfilled");
    b.clock.advance(1000_000);
    expect(await b.code(FIRST)).toBe("keys-unavailable");
    expect(await codeOf(b.manager.verifyAccessToken(known))).toBe("keys-unavailable");
    expect(outages(b)).toEqual([[OUTAGE.event, reason]]);
  });
});

describe("a token that was verified before", () => {
  it("ends with stale keys, also when no other token arrives", async () => {
    const b = await start({ staleSeconds: 1000, refreshSeconds: 600 });
    const exp = Math.floor(b.clock.now() / 1000) + 7200;
    const known = await foreignToken(FIRST, foreignClaims(b.issuer.url, { exp }));
    const code = () => codeOf(b.manager.verifyAccessToken(known));
    expect(await code()).toBe("fulfilled");
    b.issuer.answer = (_req, res) => void res.writeHead(500).end();
    b.clock.advance(601_000);
    expect(await code()).toBe("fulfilled");
    await vi.waitFor(() => expect(outages(b)).toEqual([[OUTAGE.event, "status-500"]]));
    b.clock.advance(1000_000);
    expect(await code()).toBe("keys-unavailable");
  });

  it("starts a renewal when the timer could not run, and ends with a key that is no longer published", async () => {
    const b = await start();
    const exp = Math.floor(b.clock.now() / 1000) + 7200;
    const known = await foreignToken(FIRST, foreignClaims(b.issuer.url, { exp }));
    const code = () => codeOf(b.manager.verifyAccessToken(known));
    expect(await code()).toBe("fulfilled");
    b.issuer.keys = [SECOND];
    b.clock.advance(601_000);
    expect(await code()).toBe("fulfilled");
    await vi.waitFor(async () => expect(await code()).toBe("unknown-key"));
  });
});

describe("an endpoint that is down", () => {
  it("does not stop the start, and its tokens are accepted once it is up", async () => {
    const b = await start({}, false);
    const { port } = b.issuer.server.address() as { port: number };
    await b.issuer.close();
    await b.manager.init();
    expect(outages(b)).toEqual([[OUTAGE.event, "ECONNREFUSED"]]);
    const token = await foreignToken(FIRST, foreignClaims(`http://127.0.0.1:${port}`));
    expect(await codeOf(b.manager.verifyAccessToken(token))).toBe("keys-unavailable");
    b.issuer.server.listen(port, "127.0.0.1");
    await vi.waitFor(() => expect(b.issuer.server.listening).toBe(true));
    b.clock.advance(30_000);
    expect(await codeOf(b.manager.verifyAccessToken(token))).toBe("fulfilled");
    expect(outages(b).at(-1)).toEqual([RECOVERY.event, "answered"]);
  });
});

describe("a document for discovery", () => {
  it.each([
    { name: "of another issuer", reason: "wrong-issuer", change: { issuer: "https://other.example" } },
    { name: "of the issuer with a slash", reason: "wrong-issuer", change: (url: string) => ({ issuer: `${url}/` }) },
    { name: "without a key set", reason: "no-jwks-uri", change: { jwks_uri: undefined } },
    { name: "with a key set over plain http", reason: "url", change: { jwks_uri: "http://keys.example/jwks" } },
    { name: "with a key set in a file", reason: "url", change: { jwks_uri: "file:///etc/passwd" } },
    { name: "that is no object", reason: "no-issuer-document", change: "text" },
  ])("$name is not used", async ({ reason, change }) => {
    const b = await start({ jwksUri: undefined }, false);
    b.issuer.document = (_req, res) => {
      const good = { issuer: b.issuer.url, jwks_uri: b.issuer.jwksUri };
      json(
        res,
        typeof change === "string"
          ? change
          : { ...good, ...(typeof change === "function" ? change(b.issuer.url) : change) },
      );
    };
    await b.manager.init();
    expect(await b.code(FIRST)).toBe("keys-unavailable");
    expect(outages(b)).toEqual([[OUTAGE.event, reason]]);
    expect(b.issuer.fetches).toBe(0);
  });
});

describe("a key set", () => {
  const rsa = (pair: { privateKey: TestKey["privateKey"]; publicKey: TestKey["publicKey"] }, kid: string): TestKey => ({
    ...pair,
    alg: "RS256",
    kid,
  });
  const weak = rsa(OTHER_KEYS.weakRsa, "weak");
  const strong = rsa(OTHER_KEYS.rsa, "strong");

  it.each([
    { name: "for encryption", key: SECOND, jwk: jwkOf(SECOND, { use: "enc" }) },
    { name: "for other operations", key: SECOND, jwk: jwkOf(SECOND, { key_ops: ["encrypt"] }) },
    { name: "that is private", key: SECOND, jwk: { ...SECOND.privateKey.export({ format: "jwk" }), kid: "second" } },
    { name: "of another algorithm", key: SECOND, jwk: jwkOf(SECOND, { alg: "ES384" }) },
    { name: "with a symmetric part", key: SECOND, jwk: jwkOf(SECOND, { k: "c2VjcmV0" }) },
    { name: "whose kid is no text", key: SECOND, jwk: jwkOf(SECOND, { kid: 7 }) },
    { name: "of 1024 bits", key: weak, jwk: jwkOf(weak) },
  ])("leaves out a key $name", async ({ key, jwk }) => {
    const b = await start({ algorithms: ["ES256", "RS256"] }, false);
    b.issuer.answer = (_req, res) =>
      json(res, { keys: [jwk, jwkOf(FIRST), null, 7, "key", { kty: "oct", k: "c2VjcmV0", kid: "second" }] });
    await b.manager.init();
    expect(await b.code(FIRST)).toBe("fulfilled");
    // jose does not sign with 1024 bits.
    if (key === weak) return;
    expect(await b.code(key)).toBe("unknown-key");
  });

  it("takes the twins of those keys", async () => {
    const b = await start({ algorithms: ["ES256", "RS256"] }, false);
    b.issuer.answer = (_req, res) =>
      json(res, { keys: [jwkOf(SECOND, { use: undefined, alg: undefined, key_ops: ["verify"] }), jwkOf(strong)] });
    await b.manager.init();
    expect([await b.code(SECOND), await b.code(strong)]).toEqual(["fulfilled", "fulfilled"]);
  });

  it("uses neither of two keys with one kid, unless they are the same or of other algorithms", async () => {
    const b = await start({ algorithms: ["ES256", "RS256"] }, false);
    const twin = { ...SECOND, kid: "first" };
    const other = { ...strong, kid: "first" };
    b.issuer.keys = [FIRST, twin];
    await b.manager.init();
    expect([await b.code(FIRST), await b.code(twin)]).toEqual(["unknown-key", "unknown-key"]);
    b.issuer.keys = [FIRST, FIRST, other];
    b.clock.advance(601_000);
    await b.code(FIRST);
    await vi.waitFor(() => expect(b.issuer.fetches).toBe(2));
    await vi.waitFor(async () => expect(await b.code(FIRST)).toBe("fulfilled"));
    expect(await b.code(other)).toBe("fulfilled");
  });

  it("needs a kid in the token only when there is a choice", async () => {
    const b = await start();
    expect(await b.code(FIRST, { kid: undefined })).toBe("fulfilled");
    b.issuer.keys = [FIRST, SECOND];
    expect(await b.code(SECOND)).toBe("fulfilled");
    expect(await b.code(FIRST, { kid: undefined })).toBe("unknown-key");
  });
});

describe.each(EXPRESS)("a request on $name while the keys cannot be fetched", ({ express }) => {
  it("gets 503 with Retry-After and no event of its own; one of another issuer gets 401", async () => {
    const b = await start({ fetchTimeoutMs: 150 }, false);
    b.issuer.answer = (_req, res) => void res.writeHead(500).end();
    await b.manager.init();
    const app = express();
    app.use(jwtAuth(b.manager));
    app.get("/", requireJwt(), (_req, res) => void res.json("in"));
    const server = await serve(app);
    ends.push(() => server.close());
    const ask = (token: string): ReturnType<typeof server.send> =>
      server.send("/", { headers: { authorization: `Bearer ${token}` } });
    const unavailable = await ask(await foreignToken(FIRST, foreignClaims(b.issuer.url)));
    expect([unavailable.status, unavailable.headers["retry-after"]]).toEqual([503, "1"]);
    expect(unavailable.json()).toMatchObject({ code: "store-unavailable" });
    expect((await ask(await foreignToken(FIRST, foreignClaims("https://unknown.example")))).status).toBe(401);
    const { accessToken } = await b.manager.issue("ada");
    expect((await ask(accessToken)).status).toBe(200);
    expect(b.events.filter(({ event }) => event === "authn_login_fail").map(({ reason }) => reason)).toEqual([
      "issuer",
    ]);
  });
});
