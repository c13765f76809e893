import express from "express";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { applySecurity } from "portcullis";
import { serve, type Answer } from "../support/serve.js";
import { fault, FaultyStores, STORE_TIMEOUT_MS } from "./pipeline-faults.js";
import { runs } from "./seed.js";
import { SECRETS } from "./settings-arbitraries.js";

const unhandled: unknown[] = [];
const note = (reason: unknown) => void unhandled.push(reason);
/** How far the clock moves in one turn of the event loop, in milliseconds. */
const TICK_MS = 5;
/** Most turns in which a request and its answer pass through both sockets. */
const TURNS = 30;
beforeEach(() => {
  // A clock of turns, not of seconds: on a busy machine a store that answers at once would time out in real time.
  vi.useFakeTimers({
    toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date", "performance"],
    shouldAdvanceTime: true,
    advanceTimeDelta: TICK_MS,
  });
  unhandled.length = 0;
  process.on("unhandledRejection", note);
  vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
});
afterEach(() => {
  process.off("unhandledRejection", note);
  vi.useRealTimers();
  vi.restoreAllMocks();
  expect(unhandled).toEqual([]);
});

/** What the design leaves to the app, and so is part of what is varied. */
const policy = fc.record({
  limits: fc.constantFrom("local" as const, "allow" as const, "deny" as const),
  tokens: fc.constantFrom("deny" as const, "deny" as const, "allow" as const),
  mode: fc.constantFrom("enforce" as const, "enforce" as const, "report" as const),
  cacheSeconds: fc.constantFrom(0, 10),
});
type Policy = typeof policy extends fc.Arbitrary<infer T> ? T : never;

/** Callers by what they have proved and lost again before the faults begin. */
const REFUSED = [
  "nobody",
  "unknown key",
  "revoked key",
  "key without scope",
  "forged cookie",
  "ended session",
  "session without scope",
  "revoked token",
  "token of a revoked family",
  "token of a revoked subject",
  "forged token",
  "two credentials",
] as const;
const PROVEN = ["key", "session", "token"] as const;
type Caller = (typeof REFUSED)[number] | (typeof PROVEN)[number];
const SCOPES = ["orders:read"];
const POST = { "sec-fetch-site": "same-origin" };
const cookieOf = (answer: Answer): string =>
  (answer.headers["set-cookie"] ?? []).map((line) => line.split(";")[0]).join("; ");

async function stack({ limits, tokens, mode, cacheSeconds }: Policy) {
  const stores = new FaultyStores();
  const app = express();
  const security = applySecurity(app, {
    secretKey: SECRETS.root,
    trustedHosts: ["127.0.0.1"],
    debug: true,
    trustProxy: 1,
    rateLimit: { store: stores.limits, limit: 200, onStoreError: limits, storeTimeoutMs: STORE_TIMEOUT_MS, mode },
    session: { store: stores.sessions as never, storeTimeoutMs: STORE_TIMEOUT_MS, mode },
    apiKeys: {
      store: stores.keys,
      hash: "hmac-sha256",
      cacheSeconds,
      storeTimeoutMs: STORE_TIMEOUT_MS,
      failures: { limit: 1000 },
      mode,
    },
    jwt: { store: stores.tokens, onStoreError: tokens, storeTimeoutMs: STORE_TIMEOUT_MS, mode },
  });
  const served: string[] = [];
  app.get("/in", security.requireAuth({ scopes: SCOPES }), (req, res) => {
    served.push(String(req.headers["x-caller"]));
    res.send(`served ${req.principal?.kind}`);
  });
  app.get("/open", (_req, res) => void res.send("open"));
  app.post(
    "/login",
    (req, res, next) =>
      void security
        .logIn(req, { id: "ada", scopes: req.headers["x-scopes"] === "none" ? [] : SCOPES })
        .then(() => res.send("in"), next),
  );
  app.post("/logout", (req, res, next) => void security.logOut(req, res).then(() => res.send("out"), next));
  app.use("/tokens", security.tokenRoutes());
  app.use(
    ((error: { status?: number }, _req, res, _next) =>
      void (res.headersSent
        ? res.end()
        : res.status(error.status ?? 500).send("failed"))) as express.ErrorRequestHandler,
  );
  await security.ready();
  const server = await serve(app);
  let client = 0;
  const send = (path: string, options: { method?: string; headers?: Record<string, string>; body?: string } = {}) =>
    server.send(path, {
      ...options,
      headers: { "x-forwarded-for": `192.0.2.${(client = (client + 1) % 250)}`, ...options.headers },
    });
  return { stores, security, server, send, served };
}
type Stack = Awaited<ReturnType<typeof stack>>;

/** The credential of each caller, every one made, and taken back, by the real thing. */
async function credentials({ security, send }: Stack): Promise<Record<Caller, Record<string, string>>> {
  const key = async (scopes: string[]) => security.apiKeys.create({ ownerId: "ada", name: "k", scopes });
  const token = async (subject: string) => security.jwt.issue(subject, { scopes: SCOPES });
  const session = async (scopes = "all") =>
    cookieOf(await send("/login", { method: "POST", headers: { ...POST, "x-scopes": scopes } }));
  const [good, revoked, poor] = [await key(SCOPES), await key(SCOPES), await key([])];
  await security.apiKeys.revoke(revoked.record.id, { reason: "lost" });
  const [fine, gone, family, subject] = [
    await token("ada"),
    await token("ada"),
    await token("ada"),
    await token("eve"),
  ];
  await security.jwt.revokeToken((await security.jwt.verifyAccessToken(gone.accessToken)).jti);
  await security.jwt.revokeFamily(family.refreshToken);
  await security.jwt.revokeSubject("eve");
  const [alive, ended, bare] = [await session(), await session(), await session("none")];
  await send("/logout", { method: "POST", headers: { ...POST, cookie: ended } });
  const bearer = (text: string) => ({ authorization: `Bearer ${text}` });
  return {
    nobody: {},
    "unknown key": { "x-api-key": good.key.replace(/.(?=.{6}$)/, (char) => (char === "A" ? "B" : "A")) },
    "revoked key": { "x-api-key": revoked.key },
    "key without scope": { "x-api-key": poor.key },
    "forged cookie": { cookie: alive.replace(/.$/, (char) => (char === "A" ? "B" : "A")) },
    "ended session": { cookie: ended },
    "session without scope": { cookie: bare },
    "revoked token": bearer(gone.accessToken),
    "token of a revoked family": bearer(family.accessToken),
    "token of a revoked subject": bearer(subject.accessToken),
    "forged token": bearer(fine.accessToken.replace(/.$/, (char) => (char === "A" ? "B" : "A"))),
    "two credentials": { ...bearer(fine.accessToken), "x-api-key": good.key },
    key: { "x-api-key": good.key },
    session: { cookie: alive },
    token: bearer(fine.accessToken),
  };
}

/** The store that says whether a caller is to be believed. */
const STORE_OF: Record<(typeof PROVEN)[number], string> = {
  key: "keys.get",
  session: "sessions.get",
  token: "tokens.isRevoked",
};
const REVOKED_TOKENS: readonly Caller[] = ["revoked token", "token of a revoked family", "token of a revoked subject"];

describe("whatever a store does,", () => {
  it("the stack without faults serves callers with a valid credential and refuses the others", async () => {
    const one = await stack({ limits: "deny", tokens: "deny", mode: "enforce", cacheSeconds: 0 });
    const who = await credentials(one);
    const served = async (caller: Caller) => [caller, (await one.send("/in", { headers: who[caller] })).status === 200];
    for (const caller of PROVEN) expect(await served(caller)).toEqual([caller, true]);
    for (const caller of REFUSED) expect(await served(caller)).toEqual([caller, false]);
    await one.server.close();
    await one.security.close();
  });

  it("it serves no caller that it would refuse, except where the settings say so; a caller that it would serve gets that answer or 503, and nothing hangs", async () => {
    const seen = { refused: 0, served: 0, unavailable: 0, hits: 0, failedOpen: 0 };
    await fc.assert(
      fc.asyncProperty(
        policy,
        fc.array(fault, { minLength: 1, maxLength: 3 }),
        fc.shuffledSubarray([...REFUSED, ...PROVEN], { minLength: 5, maxLength: 9 }),
        async (how, faults, callers) => {
          const one = await stack(how);
          const who = await credentials(one);
          one.stores.switchOn(faults);
          for (const caller of callers) {
            one.served.length = 0;
            const before = one.stores.hit.length;
            const began = performance.now();
            const answer = await one.send("/in", { headers: { ...who[caller], "x-caller": caller } });
            // The limiter, the credential's store, and the session's save wait once each; the exchange takes some turns.
            expect(performance.now() - began).toBeLessThan(STORE_TIMEOUT_MS * 3 + TURNS * TICK_MS);
            const hits = one.stores.hit.slice(before);
            expect(one.served.length).toBe(answer.status === 200 ? 1 : 0);
            expectOutcome(caller, answer, hits, one.stores.hit, how, seen);
          }
          seen.hits += one.stores.hit.length;
          one.stores.switchOff();
          await one.server.close();
          await one.security.close();
        },
      ),
      {
        numRuns: runs(45),
        // Whatever the seed, each of the outcomes is met.
        examples: [
          [
            { limits: "local", tokens: "allow", mode: "enforce", cacheSeconds: 0 },
            [{ store: "tokens", kind: "rejects", error: "route", from: 1, times: Infinity }],
            [...REFUSED, ...PROVEN],
          ],
          [
            { limits: "deny", tokens: "deny", mode: "enforce", cacheSeconds: 10 },
            [{ store: "limits", kind: "hangs", error: undefined, from: 3, times: Infinity }],
            [...PROVEN, ...REFUSED],
          ],
        ],
      },
    );
    // Each of the outcomes was met, or this proves nothing.
    for (const [name, count] of Object.entries(seen)) expect(count, name).toBeGreaterThan(0);
  }, 120_000);

  it("a used or revoked refresh token returns nothing, and a failed log-in logs nobody in", async () => {
    let refusedRefresh = 0;
    let failedLogIns = 0;
    await fc.assert(
      fc.asyncProperty(
        policy,
        fault.filter(({ store }) => store === "tokens" || store === "sessions"),
        async (how, one) => {
          const made = await stack(how);
          const { security, send, stores } = made;
          const [spent, revoked, alive] = [
            await security.jwt.issue("ada"),
            await security.jwt.issue("ada"),
            await security.jwt.issue("ada"),
          ];
          const successor = await security.jwt.refresh(spent.refreshToken);
          await security.jwt.refresh(successor.refreshToken);
          await security.jwt.revokeFamily(revoked.refreshToken);
          stores.switchOn([one]);
          const refresh = (refreshToken: string) =>
            send("/tokens/refresh", {
              method: "POST",
              headers: { ...POST, "content-type": "application/json" },
              body: JSON.stringify({ refreshToken }),
            });
          for (const token of [spent.refreshToken, revoked.refreshToken]) {
            const { status, text } = await refresh(token);
            expect([401, 503]).toContain(status);
            expect(text).not.toContain("accessToken");
            refusedRefresh += 1;
          }
          expect([200, 401, 503]).toContain((await refresh(alive.refreshToken)).status);
          const logIn = await send("/login", { method: "POST", headers: POST });
          expect([200, 503]).toContain(logIn.status);
          stores.switchOff();
          // Its circuit is closed again, or a refusal would say nothing of the cookie.
          await vi.waitFor(
            async () => expect((await send("/login", { method: "POST", headers: POST })).status).toBe(200),
            { timeout: 5000, interval: 50 },
          );
          if (logIn.status !== 200) {
            failedLogIns += 1;
            expect((await send("/in", { headers: { cookie: cookieOf(logIn) } })).status).toBe(401);
          } else expect((await send("/in", { headers: { cookie: cookieOf(logIn) } })).status).toBe(200);
          await made.server.close();
          await security.close();
        },
      ),
      { numRuns: runs(24) },
    );
    expect(refusedRefresh).toBe(runs(24) * 2);
    expect(failedLogIns).toBeGreaterThan(0);
  }, 120_000);

  it("a client over its limit passes only where the settings say so: never with deny, always with allow, as often as the limit again with local", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom("local" as const, "allow" as const, "deny" as const),
        fault.filter(({ store, from, times }) => store === "limits" && from === 1 && times === Infinity),
        fc.integer({ min: 1, max: 4 }),
        async (onStoreError, one, limit) => {
          const stores = new FaultyStores();
          const app = express();
          const security = applySecurity(app, {
            trustedHosts: ["127.0.0.1"],
            debug: true,
            rateLimit: {
              store: stores.limits,
              limit,
              windowSeconds: 3600,
              onStoreError,
              storeTimeoutMs: STORE_TIMEOUT_MS,
            },
          });
          let reached = 0;
          app.get("/", (_req, res) => {
            reached += 1;
            res.send("reached");
          });
          const server = await serve(app);
          for (let n = 0; n < limit; n += 1) await server.send("/");
          expect((await server.send("/")).status).toBe(429);
          expect(reached).toBe(limit);
          stores.switchOn([one]);
          const statuses: number[] = [];
          for (let n = 0; n < limit + 2; n += 1) statuses.push((await server.send("/")).status);
          const refused = onStoreError === "deny" ? 503 : 429;
          const passing = onStoreError === "allow" ? limit + 2 : onStoreError === "local" ? limit : 0;
          expect(statuses).toEqual([
            ...Array<number>(passing).fill(200),
            ...Array<number>(limit + 2 - passing).fill(refused),
          ]);
          expect(reached).toBe(limit + passing);
          await server.close();
          await security.close();
        },
      ),
      { numRuns: runs(30) },
    );
  }, 120_000);
});

function expectOutcome(
  caller: Caller,
  { status, text }: Answer,
  hits: readonly string[],
  everHit: readonly string[],
  how: Policy,
  seen: Record<string, number>,
): void {
  const isProven = (PROVEN as readonly Caller[]).includes(caller);
  const isDown = (store: string) => everHit.some((call) => call.startsWith(store));
  if (status === 200) {
    expect(text).toBe(`served ${caller.includes("key") ? "api-key" : caller.includes("session") ? "session" : "jwt"}`);
    if (isProven) seen.served = (seen.served ?? 0) + 1;
    // On trial the layer that finds two credentials says so and lets the request go on to the next, to which the token is good.
    else if (caller !== "two credentials" || how.mode !== "report") {
      // The one way open: jwt.onStoreError "allow", in an outage.
      expect([caller, how.tokens, isDown("tokens")]).toEqual([
        expect.toSatisfy((one: Caller) => REVOKED_TOKENS.includes(one)),
        "allow",
        true,
      ]);
      seen.failedOpen = (seen.failedOpen ?? 0) + 1;
    }
    // Whose own store failed in this very request is not served: it had not been asked.
    if (isProven && caller !== "token") expect(hits).not.toContain(STORE_OF[caller as "key"]);
    if (caller === "token" && how.tokens === "deny") expect(hits).not.toContain("tokens.isRevoked");
    // `peek` is the API keys' look at earlier failures, which this process counts itself in an outage.
    if (how.limits === "deny" && how.mode === "enforce")
      expect(hits.filter((call) => call.startsWith("limits.consume"))).toEqual([]);
    return;
  }
  if (isProven) {
    // On trial the protection that fails lets the request go on, as nobody, and the guard refuses it.
    expect(how.mode === "report" ? [401, 503] : [503]).toContain(status);
    expect(everHit.length).toBeGreaterThan(0);
    seen.unavailable = (seen.unavailable ?? 0) + 1;
    return;
  }
  expect([400, 401, 403, 503]).toContain(status);
  if (status === 503) expect(everHit.length).toBeGreaterThan(0);
  seen.refused = (seen.refused ?? 0) + 1;
}
