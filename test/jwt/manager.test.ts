import { constants, createPublicKey, verify } from "node:crypto";
import jwt from "jsonwebtoken";
import { describe, expect, it, vi } from "vitest";
import { createRuntime } from "../../src/core/runtime.js";
import { derivedKid } from "../../src/jwt/keys/key-ids.js";
import { JwtManager } from "../../src/jwt/manager.js";
import type { IssueInput } from "../../src/jwt/grant.js";
import { MemoryTokenStore } from "../../src/stores/memory/token-store.js";
import { ManualClock } from "../support/manual-clock.js";
import {
  bench,
  codeOf,
  forge,
  goodClaims,
  GOOD_HEADER,
  HMAC_SECRET,
  KEYS,
  ROOT,
  START,
  UnreliableStore,
} from "./support.js";

const header = (token: string): Record<string, unknown> =>
  jwt.decode(token, { complete: true })!.header as unknown as Record<string, unknown>;

describe("issue", () => {
  it("returns an access token with the claims of RFC 9068, and an opaque refresh token", async () => {
    const { manager } = bench({ issuer: "https://id.test", audience: ["https://api.test", "https://admin.test"] });
    const issued = await manager.issue("user-1", {
      scopes: ["read", "orders:*", "read"],
      roles: ["admin"],
      claims: { tenant: "acme", nested: { a: [1, null, true] } },
    });
    expect(Object.keys(issued)).toEqual(["accessToken", "refreshToken", "tokenType", "expiresIn"]);
    expect(issued).toMatchObject({ tokenType: "Bearer", expiresIn: 1800 });
    expect(issued.refreshToken).toMatch(/^rt_[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}$/);
    expect(header(issued.accessToken)).toEqual({
      alg: "HS256",
      typ: "at+jwt",
      kid: expect.stringMatching(/^[A-Za-z0-9_-]{16}$/),
    });
    const iat = Math.floor(START / 1000);
    expect(await manager.verifyAccessToken(issued.accessToken)).toEqual({
      iss: "https://id.test",
      sub: "user-1",
      aud: "https://api.test",
      iat,
      iat_ms: START,
      auth_time: iat,
      exp: iat + 1800,
      jti: expect.stringMatching(/^[A-Za-z0-9_-]{24}$/),
      scope: "read orders:*",
      roles: ["admin"],
      fam: expect.stringMatching(/^[A-Za-z0-9_-]{22}$/),
      tenant: "acme",
      nested: { a: [1, null, true] },
    });
  });

  it("signAccessToken() returns a token without a family", async () => {
    const { manager } = bench();
    const claims = await manager.verifyAccessToken(await manager.signAccessToken("user-1"));
    expect(claims).not.toHaveProperty("fam");
    expect(claims.scope).toBe("");
  });

  it("uses a new id each time", async () => {
    const { manager } = bench();
    const tokens = await Promise.all(Array.from({ length: 50 }, () => manager.issue("user-1")));
    const claims = await Promise.all(tokens.map(({ accessToken }) => manager.verifyAccessToken(accessToken)));
    for (const values of [
      claims.map(({ jti }) => jti),
      claims.map(({ fam }) => fam),
      tokens.map(({ refreshToken }) => refreshToken),
    ])
      expect(new Set(values).size).toBe(50);
  });

  it("neither retains nor changes its arguments", async () => {
    const { manager } = bench();
    const options = { scopes: ["read"], claims: { list: [1] } };
    const { refreshToken } = await manager.issue("user-1", options);
    options.scopes.push("write");
    options.claims.list.push(2);
    const claims = await manager.verifyAccessToken((await manager.refresh(refreshToken)).accessToken);
    expect(claims).toMatchObject({ scope: "read", list: [1] });
  });

  const cyclic: Record<string, unknown> = {};
  cyclic.self = cyclic;
  const wrong: { name: string; subject?: unknown; options?: unknown }[] = [
    { name: "no subject", subject: "" },
    { name: "a subject that is no string", subject: 1.5 },
    { name: "a long subject", subject: "x".repeat(257) },
    { name: "half a character as subject", subject: "\ud800" },
    { name: "a NUL in the subject, which no store keeps", subject: "a\0b" },
    { name: "options that are none", options: "read" },
    { name: "an option there is not", options: { scope: "read" } },
    { name: "scopes as text", options: { scopes: "read" } },
    { name: "a scope with a space", options: { scopes: ["read write"] } },
    { name: "a role with a control character", options: { roles: ["a\nb"] } },
    { name: "too many roles", options: { roles: Array.from({ length: 129 }, (_, index) => `r${index}`) } },
    ...[
      "iss",
      "sub",
      "aud",
      "exp",
      "nbf",
      "iat",
      "iat_ms",
      "jti",
      "scope",
      "scopes",
      "roles",
      "fam",
      "auth_time",
      "amr",
      "amr_times",
      "cnf",
      "constructor",
    ].map((claim) => ({ name: `the claim ${claim}`, options: { claims: { [claim]: 1 } } })),
    { name: "the claim __proto__", options: { claims: JSON.parse('{"__proto__":{"admin":true}}') as unknown } },
    { name: "a claim __proto__ inside", options: { claims: { a: JSON.parse('{"__proto__":1}') as unknown } } },
    { name: "methods as text", options: { methods: "pwd" } },
    { name: "a method there is not", options: { methods: ["sms"] } },
    { name: "a method with a time that is none", options: { methods: [{ method: "pwd", at: "now" }] } },
    { name: "claims as a list", options: { claims: [] } },
    { name: "claims of a class", options: { claims: new Map() } },
    { name: "a date among the claims", options: { claims: { since: new Date(0) } } },
    { name: "a number JSON has not", options: { claims: { ratio: Number.NaN } } },
    { name: "a function", options: { claims: { toJSON: () => ({ admin: true }) } } },
    { name: "claims that contain themselves", options: { claims: cyclic } },
    { name: "more than a request can carry", options: { claims: { text: "x".repeat(7000) } } },
  ];
  it.each(wrong)("refuses $name, and stores nothing", async ({ subject = "user-1", options }) => {
    const { manager, store } = bench();
    const inserted: unknown[] = [];
    const insert = store.insert.bind(store);
    store.insert = (token) => (inserted.push(token), insert(token));
    expect(await codeOf(manager.issue(subject as string, options as IssueInput))).toBe("invalid-input");
    expect(await codeOf(manager.signAccessToken(subject as string, options as IssueInput))).toBe("invalid-input");
    expect(inserted).toEqual([]);
  });

  it("accepts the longest subject and 128 roles", async () => {
    const { manager } = bench();
    const roles = Array.from({ length: 128 }, (_, index) => `r${index}`);
    expect(
      (await manager.verifyAccessToken((await manager.issue("x".repeat(255), { roles })).accessToken)).roles,
    ).toEqual(roles);
  });
});

describe("verifyAccessToken", () => {
  it("follows the clock to the millisecond", async () => {
    const { manager, clock } = bench();
    const token = await manager.signAccessToken("user-1");
    clock.advance((1800 + 5) * 1000 - 501);
    expect(await codeOf(manager.verifyAccessToken(token))).toBe("fulfilled");
    clock.advance(1);
    expect(await codeOf(manager.verifyAccessToken(token))).toBe("expired");
  });

  const rows: { name: string; header?: string | object; payload?: string | object; code: string }[] = [
    { name: "nothing changed", code: "fulfilled" },
    { name: "typ JWT", header: { ...GOOD_HEADER, typ: "JWT" }, code: "type" },
    { name: "no typ", header: { alg: "HS256" }, code: "type" },
    { name: "typ without case", header: { ...GOOD_HEADER, typ: "application/AT+JWT" }, code: "fulfilled" },
    { name: "crit under a valid signature", header: { ...GOOD_HEADER, crit: ["exp"] }, code: "critical-header" },
    { name: "an unknown kid", header: { ...GOOD_HEADER, kid: "other" }, code: "unknown-key" },
    { name: "a payload that is a list", payload: "[]", code: "malformed" },
    { name: "a payload that is null", payload: "null", code: "malformed" },
    { name: "a payload that is a string", payload: '"x"', code: "malformed" },
    { name: "a payload that is no JSON", payload: "{", code: "malformed" },
    {
      name: "a payload of null where jsonwebtoken throws a TypeError",
      header: { ...GOOD_HEADER, typ: "JWT" },
      payload: "null",
      code: "type",
    },
    {
      name: "exp 1e400",
      payload: JSON.stringify({ ...goodClaims(), exp: 1 }).replace('"exp":1', '"exp":1e400'),
      code: "claims",
    },
    { name: "exp in a billion years", payload: { ...goodClaims(), exp: 31_556_952_000_000_000 }, code: "claims" },
    { name: "exp negative", payload: { ...goodClaims(), exp: -1 }, code: "lifetime" },
    { name: "exp as text", payload: { ...goodClaims(), exp: String(goodClaims().exp) }, code: "claims" },
    { name: "no exp", payload: { ...goodClaims(), exp: undefined }, code: "claims" },
    { name: "iat in the future", payload: { ...goodClaims(), iat: START / 1000 + 60 }, code: "not-yet-valid" },
    { name: "an empty audience", payload: { ...goodClaims(), aud: "" }, code: "audience" },
    {
      name: "a claim twice: the last counts",
      payload: JSON.stringify(goodClaims()).replace("{", '{"sub":"somebody-else",'),
      code: "fulfilled",
    },
    {
      name: "a claim twice, the last wrong",
      payload: JSON.stringify(goodClaims()).replace(/}$/, ',"iss":"evil"}'),
      code: "issuer",
    },
    {
      name: "a __proto__ that lends claims",
      payload: '{"__proto__":{"iss":"portcullis","sub":"u","aud":"portcullis","exp":9999999999,"iat":1,"jti":"x"}}',
      code: "claims",
    },
  ];
  it.each(rows)("$name → $code", async ({ header: changed = GOOD_HEADER, payload = goodClaims(), code }) => {
    const { manager } = bench({ secret: HMAC_SECRET });
    expect(await codeOf(manager.verifyAccessToken(forge(changed, payload, HMAC_SECRET)))).toBe(code);
    // The same content under another key never gets as far as its claims.
    const other = await codeOf(manager.verifyAccessToken(forge(changed, payload, `${HMAC_SECRET}!`)));
    expect(["signature", "type", "critical-header", "unknown-key"]).toContain(other);
  });

  it("refuses a refresh token as access token, and the other way round", async () => {
    const { manager } = bench();
    const { accessToken, refreshToken } = await manager.issue("user-1");
    expect(await codeOf(manager.verifyAccessToken(refreshToken))).toBe("malformed");
    expect(await codeOf(manager.refresh(accessToken))).toBe("malformed");
  });

  it("uses a plain HMAC under an explicit secret, so that others can verify its tokens", async () => {
    const { manager } = bench({ secret: HMAC_SECRET });
    const [input, payload, signature] = (await manager.signAccessToken("user-1")).split(".");
    expect(
      forge(
        Buffer.from(input!, "base64url").toString(),
        Buffer.from(payload!, "base64url").toString(),
        HMAC_SECRET,
      ).split(".")[2],
    ).toBe(signature);
  });

  it("returns no promise while the store returns none", async () => {
    const { manager, store } = bench();
    const token = await manager.signAccessToken("user-1");
    expect(manager.verifier.check(token)).toMatchObject({ ok: true });
    expect(manager.verifier.check("x")).toEqual({ ok: false, code: "malformed" });
    const asynchronous = bench({}, new UnreliableStore(store)).manager;
    expect(asynchronous.verifier.check(token)).toBeInstanceOf(Promise);
    expect(await asynchronous.verifier.check(token)).toMatchObject({ ok: true });
  });

  it("asks the store only about tokens whose signature matched", async () => {
    const { store } = bench();
    const counting = new UnreliableStore(store);
    const { manager } = bench({ secret: HMAC_SECRET }, counting);
    await manager.verifier.check(forge(GOOD_HEADER, goodClaims(), "another secret"));
    expect(counting.calls).toBe(0);
    await manager.verifier.check(forge(GOOD_HEADER, goodClaims(), HMAC_SECRET));
    expect(counting.calls).toBe(1);
  });
});

describe("revocation", () => {
  it("of one token does not affect others", async () => {
    const { manager, events } = bench();
    const [first, second] = [await manager.signAccessToken("user-1"), await manager.signAccessToken("user-1")];
    await manager.revokeToken((await manager.verifyAccessToken(first)).jti);
    expect(await codeOf(manager.verifyAccessToken(first))).toBe("revoked");
    expect(await codeOf(manager.verifyAccessToken(second))).toBe("fulfilled");
    expect(events.map(({ event }) => event)).toEqual([
      "authn_token_created",
      "authn_token_created",
      "authn_token_revoked",
    ]);
  });

  it("lasts until the token has expired by itself, leeway included", async () => {
    const { manager, clock, store } = bench();
    const token = await manager.signAccessToken("user-1");
    await manager.revokeToken((await manager.verifyAccessToken(token)).jti);
    clock.advance((1800 + 5) * 1000 - 501);
    await store.deleteExpired(clock.now());
    expect(await codeOf(manager.verifyAccessToken(token))).toBe("revoked");
    clock.advance(1);
    expect(await codeOf(manager.verifyAccessToken(token))).toBe("expired");
  });

  it("accepts a jti, and refuses a token in its place", async () => {
    const { manager } = bench();
    expect(await codeOf(manager.revokeToken(await manager.signAccessToken("user-1")))).toBe("invalid-input");
    expect(await codeOf(manager.revokeToken(""))).toBe("invalid-input");
  });

  it("of an access token accepts the whole token too", async () => {
    const { manager } = bench();
    const token = await manager.signAccessToken("user-1");
    expect(await manager.revokeAccessToken("nonsense")).toBe(false);
    expect(await manager.revokeAccessToken(token)).toBe(true);
    expect(await manager.revokeAccessToken(token)).toBe(false);
    expect(await codeOf(manager.verifyAccessToken(token))).toBe("revoked");
  });

  it("of a subject ends all its tokens, and none that is issued afterwards in the same millisecond", async () => {
    const { manager, clock } = bench();
    for (let round = 0; round < 3; round += 1) {
      const before = await manager.issue("user-1");
      const lone = await manager.signAccessToken("user-1");
      const other = await manager.issue("user-2");
      await manager.revokeSubject("user-1");
      const after = await manager.issue("user-1");
      expect(await codeOf(manager.verifyAccessToken(before.accessToken))).toBe("revoked");
      expect(await codeOf(manager.verifyAccessToken(lone))).toBe("revoked");
      expect(await codeOf(manager.refresh(before.refreshToken))).toBe("revoked");
      expect(await codeOf(manager.verifyAccessToken(other.accessToken))).toBe("fulfilled");
      expect(await codeOf(manager.verifyAccessToken(after.accessToken))).toBe("fulfilled");
      expect(await codeOf(manager.refresh(after.refreshToken))).toBe("fulfilled");
      if (round === 1) clock.advance(1);
    }
  });

  it("of a subject also catches tokens made before the machine's clock was set back", async () => {
    const { manager, clock } = bench();
    const before = await manager.signAccessToken("user-1");
    clock.step(-3_000);
    await manager.revokeSubject("user-1");
    const after = await manager.signAccessToken("user-1");
    expect(await codeOf(manager.verifyAccessToken(before))).toBe("revoked");
    expect(await codeOf(manager.verifyAccessToken(after))).toBe("fulfilled");
  });

  it("of a subject catches a token whose issue or refresh was under way", async () => {
    const { store } = bench();
    const slow = new UnreliableStore(store);
    const { manager, clock } = bench({}, slow);
    const first = await manager.issue("user-1");
    slow.trouble = "slow";
    const refreshing = manager.refresh(first.refreshToken);
    const issuing = manager.issue("user-1");
    clock.advance(2);
    const revoking = manager.revokeSubject("user-1");
    clock.advance(2);
    const [refreshed, issued] = await Promise.allSettled([refreshing, issuing, revoking]);
    slow.trouble = "none";
    for (const made of [refreshed, issued])
      if (made.status === "fulfilled")
        expect(await codeOf(manager.verifyAccessToken(made.value.accessToken))).toBe("revoked");
    expect(await codeOf(manager.verifyAccessToken(await manager.signAccessToken("user-1")))).toBe("fulfilled");
  });

  it("of a subject compares iat where another service signed, and refuses in case of doubt", async () => {
    const { manager } = bench({ secret: HMAC_SECRET });
    const foreign = forge(GOOD_HEADER, goodClaims(), HMAC_SECRET);
    expect(await codeOf(manager.verifyAccessToken(foreign))).toBe("fulfilled");
    await manager.revokeSubject("user-1");
    expect(await codeOf(manager.verifyAccessToken(foreign))).toBe("revoked");
  });
});

describe("a store that fails", () => {
  const broken = (settings = {}): ReturnType<typeof bench> & { unreliable: UnreliableStore } => {
    const unreliable = new UnreliableStore(bench().store);
    // Long enough for a busy machine to make the calls that must be in time.
    return { ...bench({ storeTimeoutMs: 150, ...settings }, unreliable), unreliable };
  };

  it.each(["fails", "hangs"] as const)(
    "%s: verification is refused, with one event, and works again by itself",
    async (trouble) => {
      const { manager, unreliable, events, clock } = broken();
      const { accessToken, refreshToken } = await manager.issue("user-1");
      unreliable.trouble = trouble;
      const codes = await Promise.all(Array.from({ length: 5 }, () => codeOf(manager.verifyAccessToken(accessToken))));
      expect(new Set(codes)).toEqual(new Set(["store-unavailable"]));
      expect(events.filter(({ event }) => event === "portcullis_store_unavailable")).toHaveLength(1);
      expect(await codeOf(manager.refresh(refreshToken))).toBe("store-unavailable");
      expect(await codeOf(manager.issue("user-1"))).toBe("store-unavailable");
      expect(await codeOf(manager.revokeSubject("user-1"))).toBe("store-unavailable");
      expect(await codeOf(manager.revokeAccessToken(accessToken))).toBe("store-unavailable");
      unreliable.trouble = "none";
      clock.advance(1000);
      expect(await codeOf(manager.verifyAccessToken(accessToken))).toBe("fulfilled");
      expect(await codeOf(manager.refresh(refreshToken))).toBe("fulfilled");
    },
  );

  it("a revocation that was refused, and that its caller then repeated, is not repeated again, and a later log-in is valid", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      const { manager, unreliable, store } = broken();
      const { refreshToken } = await manager.issue("user-1");
      unreliable.trouble = "fails";
      expect(await codeOf(manager.revokeSubject("user-1"))).toBe("store-unavailable");
      unreliable.trouble = "none";
      await manager.revokeSubject("user-1");
      expect(await codeOf(manager.refresh(refreshToken))).toBe("revoked");
      const again = await manager.issue("user-1");
      const revoke = vi.spyOn(store, "revokeSubject");
      await vi.advanceTimersByTimeAsync(60_000);
      expect(await codeOf(manager.refresh(again.refreshToken))).toBe("fulfilled");
      expect(revoke).not.toHaveBeenCalled();
    } finally {
      vi.useRealTimers();
    }
  });

  it('with onStoreError "allow" valid tokens are accepted, invalid ones are not, and refresh is still refused', async () => {
    const { manager, unreliable } = broken({ onStoreError: "allow" });
    const { accessToken, refreshToken } = await manager.issue("user-1");
    unreliable.trouble = "fails";
    expect(await codeOf(manager.verifyAccessToken(accessToken))).toBe("fulfilled");
    expect(await codeOf(manager.verifyAccessToken(`${accessToken}x`))).toBe("signature");
    expect(await codeOf(manager.refresh(refreshToken))).toBe("store-unavailable");
  });

  it("a full store of refresh tokens does not affect tokens that were issued before", async () => {
    const { manager, store } = bench();
    const { accessToken } = await manager.issue("user-1");
    store.insert = () => Promise.reject(new Error("full"));
    expect(await codeOf(manager.issue("user-1"))).toBe("store-unavailable");
    expect(await codeOf(manager.verifyAccessToken(accessToken))).toBe("fulfilled");
  });
});

describe("a caller's mistake or excess is not reported as an outage", () => {
  it("a NUL in a subject or a jti is refused before the store is asked", async () => {
    const { manager, events } = bench();
    for (const call of [
      manager.issue("a\0"),
      manager.revokeSubject("a\0"),
      manager.revokeToken("a\0"),
      manager.revokeToken("\ud800"),
    ]) {
      expect(await codeOf(call)).toBe("invalid-input");
    }
    expect(await codeOf(manager.issue("user-1"))).toBe("fulfilled");
    expect(events.filter(({ event }) => event === "portcullis_store_unavailable")).toEqual([]);
  });

  it("while the memory store is full, what it holds can be revoked and nothing is announced as down", async () => {
    const store = new MemoryTokenStore({ maxTokens: 1, clock: new ManualClock(START) });
    const { manager, events } = bench({}, store);
    const { accessToken, refreshToken } = await manager.issue("user-1");
    expect(await codeOf(manager.issue("user-2"))).toBe("store-unavailable");
    expect(await codeOf(manager.refresh(refreshToken))).toBe("store-unavailable");
    expect(await manager.revokeFamily(refreshToken)).toBe(true);
    expect(await codeOf(manager.verifyAccessToken(accessToken))).toBe("revoked");
    expect(events.filter(({ event }) => event === "portcullis_store_unavailable")).toEqual([]);
    expect(events.filter(({ event }) => event === "portcullis_overload")).toMatchObject([
      { source: "refresh-token", reason: "store" },
    ]);
    // What was revoked gives way.
    expect(await codeOf(manager.issue("user-2"))).toBe("fulfilled");
  });

  it("a family that fills its subject's share ends, theft is detected until then, and others can log in", async () => {
    const { manager } = bench({}, new MemoryTokenStore({ maxTokens: 100, clock: new ManualClock(START) }));
    const { refreshToken: first } = await manager.issue("user-1");
    let newest = first;
    let code = "fulfilled";
    for (let n = 0; n < 30 && code === "fulfilled"; n += 1) {
      code = String(await codeOf(manager.refresh(newest).then(({ refreshToken }) => (newest = refreshToken))));
    }
    expect(code).toBe("revoked");
    expect(await codeOf(manager.refresh(newest))).toBe("revoked");
    expect(await codeOf(manager.issue("user-1"))).toBe("fulfilled");
    expect(await codeOf(manager.issue("user-2"))).toBe("fulfilled");
  });
});

describe("opening, closing, cleaning", () => {
  it("opens the store once, again after a failure, and closes it once unless the app owns it", async () => {
    const calls: string[] = [];
    const make = (): UnreliableStore => {
      const store = new UnreliableStore(bench().store);
      store.init = () => (
        calls.push("init"),
        calls.length === 1 ? Promise.reject(new Error("no route to host")) : Promise.resolve()
      );
      store.close = () => (calls.push("close"), Promise.resolve());
      return store;
    };
    const own = new JwtManager({ store: make() }, { secretKey: [ROOT] });
    await expect(own.init()).rejects.toThrow("no route to host");
    await Promise.all([own.init(), own.init()]);
    await Promise.all([own.close(), own.close()]);
    expect(calls).toEqual(["init", "init", "close"]);
    const lent = new JwtManager({}, { secretKey: [ROOT], store: make() });
    await lent.init();
    await lent.close();
    expect(calls).toEqual(["init", "init", "close", "init"]);
  });

  it("deletes expired records now and then, and ignores a failure to do so", async () => {
    const { manager, clock, store } = bench({ refreshTokenDays: 1, absoluteDays: 1 });
    const times: number[] = [];
    store.deleteExpired = (now) => (times.push(now), Promise.reject(new Error("busy")));
    await manager.issue("user-1");
    expect(times).toEqual([]);
    clock.advance(11 * 60_000);
    await manager.issue("user-1");
    await manager.issue("user-1");
    expect(times).toEqual([clock.now()]);
    await manager.close();
  });

  it("ignores a clean-up that throws, and closes without waiting for one that never ends", async () => {
    for (const cleanUp of [
      () => {
        throw new Error("not a promise");
      },
      () => new Promise<number>(() => undefined),
    ]) {
      const { manager, clock, store } = bench({ storeTimeoutMs: 150 });
      store.deleteExpired = cleanUp;
      clock.advance(11 * 60_000);
      expect(await codeOf(manager.issue("user-1"))).toBe("fulfilled");
      await manager.close();
    }
  });

  it("works with the machine's clock and a store of its own", async () => {
    const manager = new JwtManager({}, { secretKey: [ROOT], runtime: createRuntime() });
    await manager.init();
    const { accessToken, refreshToken } = await manager.issue("user-1");
    expect(await codeOf(manager.verifyAccessToken(accessToken))).toBe("fulfilled");
    expect(await codeOf(manager.refresh(refreshToken))).toBe("fulfilled");
    await manager.close();
  });
});

describe("keys", () => {
  it("rotate: the first signs, all verify, and a removed one no longer verifies", async () => {
    const clock = new ManualClock(START);
    const runtime = createRuntime({ clock });
    const [old, fresh] = [KEYS.ec("P-256"), KEYS.otherEc];
    const before = new JwtManager({ algorithm: "ES256", privateKey: old.privateKey }, { runtime });
    const during = new JwtManager(
      { algorithm: "ES256", keys: [{ kid: "2026-02", privateKey: fresh.privateKey }, { publicKey: old.publicKey }] },
      { runtime },
    );
    const after = new JwtManager(
      { algorithm: "ES256", keys: [{ kid: "2026-02", privateKey: fresh.privateKey }] },
      { runtime },
    );
    const [first, second] = [await before.signAccessToken("u"), await during.signAccessToken("u")];
    expect(header(second).kid).toBe("2026-02");
    expect([await codeOf(during.verifyAccessToken(first)), await codeOf(during.verifyAccessToken(second))]).toEqual([
      "fulfilled",
      "fulfilled",
    ]);
    expect([await codeOf(after.verifyAccessToken(first)), await codeOf(after.verifyAccessToken(second))]).toEqual([
      "unknown-key",
      "fulfilled",
    ]);
  });

  it("rotate by a list of secrets, and by a list of root secrets", async () => {
    const second = `${HMAC_SECRET.split("").reverse().join("")}`;
    const clock = new ManualClock(START);
    const runtime = createRuntime({ clock });
    const before = new JwtManager({ secret: HMAC_SECRET }, { runtime });
    const during = new JwtManager({ secret: [second, HMAC_SECRET] }, { runtime });
    const after = new JwtManager({ secret: second }, { runtime });
    const token = await before.signAccessToken("u");
    expect(await codeOf(during.verifyAccessToken(token))).toBe("fulfilled");
    expect(await codeOf(after.verifyAccessToken(token))).toBe("unknown-key");
    expect(await codeOf(after.verifyAccessToken(await during.signAccessToken("u")))).toBe("fulfilled");
  });

  it("are tried for a token without kid only when there is one", async () => {
    const token = forge(GOOD_HEADER, goodClaims(), HMAC_SECRET);
    const other = HMAC_SECRET.split("").reverse().join("");
    expect(await codeOf(bench({ secret: HMAC_SECRET }).manager.verifyAccessToken(token))).toBe("fulfilled");
    expect(await codeOf(bench({ secret: [HMAC_SECRET, other] }).manager.verifyAccessToken(token))).toBe("unknown-key");
  });

  it("for HS256, HS384 and HS512 derived from one root secret are independent", async () => {
    const tokens = await Promise.all(
      (["HS256", "HS384", "HS512"] as const).map(
        async (algorithm) => header(await bench({ algorithm }).manager.signAccessToken("u")).kid,
      ),
    );
    expect(new Set(tokens).size).toBe(3);
  });

  it("are published by jwks() for key pairs, without any private number, and never for HMAC", async () => {
    expect(await bench().manager.jwks()).toEqual({ keys: [] });
    const { rsa, otherRsa } = KEYS;
    const manager = new JwtManager({
      algorithm: "PS256",
      keys: [
        { privateKey: rsa.privateKey },
        { kid: "old", publicKey: otherRsa.publicKey },
        { kid: "pss", privateKey: KEYS.pss("sha256").privateKey },
      ],
    });
    const { keys } = await manager.jwks();
    expect(keys.map((key) => Object.keys(key))).toEqual(
      Array.from({ length: 3 }, () => ["kty", "n", "e", "kid", "alg", "use"]),
    );
    expect(keys[0]).toMatchObject({
      ...rsa.publicKey.export({ format: "jwk" }),
      alg: "PS256",
      use: "sig",
      kid: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/),
    });
    expect(keys[1]?.kid).toBe("old");
    const ec = await new JwtManager({ algorithm: "ES384", privateKey: KEYS.ec("P-384").privateKey }).jwks();
    expect(ec.keys.map((key) => Object.keys(key))).toEqual([["kty", "crv", "x", "y", "kid", "alg", "use"]]);
  });

  it("of a key pair have the thumbprint of RFC 7638 section 3.1 as kid", () => {
    const n =
      "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    expect(derivedKid(createPublicKey({ key: { kty: "RSA", n, e: "AQAB" }, format: "jwk" }))).toBe(
      "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
    );
  });

  it("of type rsa-pss have a JWK with which others can verify", async () => {
    const manager = new JwtManager({ algorithm: "PS256", privateKey: KEYS.pss("sha256").privateKey });
    const token = await manager.signAccessToken("u");
    const [jwk] = (await manager.jwks()).keys;
    const [h, p, s] = token.split(".");
    const key = {
      key: createPublicKey({ key: { ...jwk }, format: "jwk" }),
      padding: constants.RSA_PKCS1_PSS_PADDING,
      saltLength: 32,
    };
    expect(verify("sha256", Buffer.from(`${h}.${p}`), key, Buffer.from(s!, "base64url"))).toBe(true);
    expect(await codeOf(manager.verifyAccessToken(token))).toBe("fulfilled");
  });
});

describe("lives in seconds", () => {
  it("hold to the millisecond, and are those that clients and describe() see", async () => {
    const { manager, clock } = bench({
      accessTokenSeconds: 90,
      refreshTokenSeconds: 120,
      absoluteSeconds: 200,
      leewaySeconds: 0,
    });
    expect(manager.describe()).toMatchObject({
      accessTokenSeconds: 90,
      refreshTokenSeconds: 120,
      absoluteSeconds: 200,
    });
    expect(manager.describe()).not.toHaveProperty("accessTokenMinutes");
    const { accessToken, refreshToken, expiresIn } = await manager.issue("ada");
    expect(expiresIn).toBe(90);
    // `exp` counts from the whole second in which the token was issued.
    clock.advance(89_499);
    expect((await manager.verifyAccessToken(accessToken)).sub).toBe("ada");
    clock.advance(1);
    expect(await codeOf(manager.verifyAccessToken(accessToken))).toBe("expired");
    clock.advance(30_499);
    const renewed = await manager.refresh(refreshToken);
    clock.advance(80_000);
    const last = await manager.refresh(renewed.refreshToken);
    clock.advance(1);
    expect(await codeOf(manager.refresh(last.refreshToken))).toBe("expired");
  });
});
