import express from "express";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { JwtManager, SettingsError } from "portcullis";
import type { OnRefresh, RefreshGrant } from "../../../src/jwt/refresh/renewal.js";
import { tokenRoutes } from "../../../src/jwt/routes.js";
import { StoreFullError } from "../../../src/stores/health/store-full.js";
import { serve } from "../../support/serve.js";
import { bench, codeOf, HMAC_SECRET, START, type Bench } from "../support.js";

const SECOND = Math.floor(START / 1000) * 1000;
const ISSUED = { scopes: ["read"], roles: ["member"], claims: { plan: "free" }, methods: ["pwd"] } as const;

const claimsOf = ({ manager }: Bench, token: string) => manager.verifyAccessToken(token);
const names = ({ events }: Bench): string[] => events.map(({ event, reason }) => `${event} ${reason}`);

describe("onRefresh", () => {
  const warnings: string[] = [];
  const warned = (warning: Error & { code?: string }): void => void warnings.push(`${warning.code} ${warning.message}`);
  beforeEach(() => void process.on("warning", warned));
  afterEach(() => {
    process.off("warning", warned);
    warnings.length = 0;
  });

  it("sees what the family gives so far, frozen, and once for each refresh", async () => {
    const seen: RefreshGrant[] = [];
    const made = bench({
      onRefresh: (grant) => {
        seen.push(grant);
        return grant;
      },
    });
    const first = await made.manager.issue("ada", ISSUED);
    made.clock.advance(60_000);
    const second = await made.manager.refresh(first.refreshToken);
    await made.manager.refresh(second.refreshToken);
    const { fam } = await claimsOf(made, first.accessToken);
    const expected = {
      subject: "ada",
      scopes: ["read"],
      roles: ["member"],
      claims: { plan: "free" },
      authenticatedAt: SECOND,
      methods: [{ method: "pwd", at: SECOND }],
      familyId: fam,
    };
    expect(seen).toEqual([expected, expected]);
    for (const part of [seen[0], seen[0]?.scopes, seen[0]?.claims, seen[0]?.methods])
      expect(Object.isFrozen(part)).toBe(true);
  });

  it.each<{ name: string; decide: OnRefresh; gives: object }>([
    { name: "the grant itself", decide: (grant) => grant, gives: { scope: "read", roles: ["member"], plan: "free" } },
    { name: "nothing new", decide: () => ({}), gives: { scope: "read", roles: ["member"], plan: "free" } },
    {
      name: "fewer scopes, and the rest stays",
      decide: async () => Promise.resolve({ scopes: [] }),
      gives: { scope: "", roles: ["member"], plan: "free" },
    },
    {
      name: "more scopes: it decides anew",
      decide: (grant) => ({ ...grant, scopes: ["read", "write"] }),
      gives: { scope: "read write", roles: ["member"], plan: "free" },
    },
    {
      name: "other roles and claims",
      decide: () => ({ roles: ["admin"], claims: { plan: "paid" } }),
      gives: { scope: "read", roles: ["admin"], plan: "paid" },
    },
  ])("may return $name; later refreshes build on it, and how the subject was authenticated stays", async (row) => {
    const seen: RefreshGrant[] = [];
    let decide = row.decide;
    const made = bench({
      onRefresh: (grant) => {
        seen.push(grant);
        return decide(grant);
      },
    });
    const first = await made.manager.issue("ada", ISSUED);
    const second = await made.manager.refresh(first.refreshToken);
    expect(await claimsOf(made, second.accessToken)).toMatchObject({
      ...row.gives,
      auth_time: SECOND / 1000,
      amr: ["pwd"],
    });
    decide = () => ({});
    const third = await made.manager.refresh(second.refreshToken);
    expect(await claimsOf(made, third.accessToken)).toMatchObject({ ...row.gives, amr: ["pwd"] });
    expect(seen[1]?.scopes).toEqual((row.gives as { scope: string }).scope.split(" ").filter(Boolean));
  });

  it("ends the family when it returns null: 401, and the access tokens of the family too", async () => {
    let isMember = true;
    const made = bench({ onRefresh: (grant) => (isMember ? grant : null) });
    const first = await made.manager.issue("ada", ISSUED);
    const other = await made.manager.issue("ada", ISSUED);
    const second = await made.manager.refresh(first.refreshToken);
    isMember = false;
    expect(await codeOf(made.manager.refresh(second.refreshToken))).toBe("refused");
    isMember = true;
    for (const token of [first.refreshToken, second.refreshToken])
      expect(await codeOf(made.manager.refresh(token))).toBe("revoked");
    for (const token of [first.accessToken, second.accessToken])
      expect(await codeOf(made.manager.verifyAccessToken(token))).toBe("revoked");
    expect(await codeOf(made.manager.verifyAccessToken(other.accessToken))).toBe("fulfilled");
    expect(await codeOf(made.manager.refresh(other.refreshToken))).toBe("fulfilled");
    expect(names(made).filter((name) => name.startsWith("authn_token_revoked"))).toEqual([
      "authn_token_revoked family",
    ]);
  });

  it.each<{ name: string; decide: unknown }>([
    {
      name: "throws",
      decide: () => {
        throw new Error("the table is gone");
      },
    },
    { name: "rejects", decide: () => Promise.reject(new Error("the table is gone")) },
    { name: "throws what is no error", decide: () => Promise.reject("gone") },
    { name: "returns undefined, perhaps by mistake", decide: () => undefined },
    { name: "returns a list", decide: () => ["read"] },
    { name: "returns an unknown name", decide: () => ({ scope: "read" }) },
    { name: "returns a malformed scope", decide: () => ({ scopes: ["read write"] }) },
    { name: "returns a malformed role", decide: () => ({ roles: "admin" }) },
    { name: "returns a reserved claim", decide: () => ({ claims: { auth_time: 4e9 } }) },
    { name: "returns another subject", decide: (grant: RefreshGrant) => ({ ...grant, subject: "eve" }) },
    { name: "returns other methods", decide: (grant: RefreshGrant) => ({ ...grant, methods: ["webauthn"] }) },
    { name: "returns claims of which no token has room", decide: () => ({ claims: { all: "x".repeat(8000) } }) },
  ])("that $name changes nothing: the same refresh succeeds later", async ({ decide }) => {
    let current = decide as OnRefresh;
    const made = bench({ onRefresh: (grant) => current(grant) });
    const { refreshToken, accessToken } = await made.manager.issue("ada", ISSUED);
    for (let attempt = 0; attempt < 2; attempt += 1)
      expect(await codeOf(made.manager.refresh(refreshToken))).toBe("store-unavailable");
    // Once for the outage, not for each attempt.
    expect(names(made).filter((name) => name.includes("misconfigured"))).toEqual([
      "portcullis_misconfigured on-refresh",
    ]);
    made.clock.advance(3600_000);
    current = (grant) => grant;
    const renewed = await made.manager.refresh(refreshToken);
    expect(await claimsOf(made, renewed.accessToken)).toMatchObject({ scope: "read", sub: "ada" });
    expect(accessToken).not.toBe(renewed.accessToken);
    await expect.poll(() => warnings.length).toBe(1);
    expect(warnings[0]).toMatch(/^PORTCULLIS_ON_REFRESH jwt\.onRefresh failed/);
    current = decide as OnRefresh;
    expect(await codeOf(made.manager.refresh(renewed.refreshToken))).toBe("store-unavailable");
    expect(names(made).filter((name) => name.includes("misconfigured"))).toHaveLength(2);
    await expect.poll(() => warnings.length).toBe(2);
  });

  it("has a second, which the store's time does not include", async () => {
    let waitMs = 600;
    const made = bench({
      storeTimeoutMs: 100,
      onRefresh: async (grant) => {
        await new Promise((resolve) => setTimeout(resolve, waitMs));
        return grant;
      },
    });
    const { refreshToken } = await made.manager.issue("ada", ISSUED);
    const second = await made.manager.refresh(refreshToken);
    waitMs = 60_000;
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      const late = codeOf(made.manager.refresh(second.refreshToken));
      await vi.advanceTimersByTimeAsync(999);
      expect(await Promise.race([late, Promise.resolve("waiting")])).toBe("waiting");
      await vi.advanceTimersByTimeAsync(1);
      expect(await late).toBe("store-unavailable");
      expect(warnings.join()).toMatch(/no response within 1000 ms/);
    } finally {
      vi.useRealTimers();
    }
    waitMs = 0;
    expect(await codeOf(made.manager.refresh(second.refreshToken))).toBe("fulfilled");
  });

  it("is not asked about a token that cannot be refreshed", async () => {
    const onRefresh = vi.fn((grant: RefreshGrant) => grant);
    const made = bench({ onRefresh, reuseGraceSeconds: 0 });
    const { refreshToken } = await made.manager.issue("ada", ISSUED);
    const wrong = `${refreshToken.slice(0, -1)}${refreshToken.endsWith("A") ? "Q" : "A"}`;
    for (const token of ["", "rt_x", wrong]) await codeOf(made.manager.refresh(token));
    expect(onRefresh).not.toHaveBeenCalled();
    await made.manager.refresh(refreshToken);
    expect(await codeOf(made.manager.refresh(refreshToken))).toBe("reused");
    expect(onRefresh).toHaveBeenCalledTimes(1);
  });

  it("parallel uses of one token get the same successor, with what its winner was given", async () => {
    let calls = 0;
    const made = bench({
      onRefresh: async () => {
        calls += 1;
        const scopes = [`decision:${calls}`];
        await new Promise((resolve) => setImmediate(resolve));
        return { scopes };
      },
    });
    const { refreshToken } = await made.manager.issue("ada", ISSUED);
    const pairs = await Promise.all(Array.from({ length: 8 }, () => made.manager.refresh(refreshToken)));
    expect(new Set(pairs.map((pair) => pair.refreshToken)).size).toBe(1);
    const given = await Promise.all(pairs.map(async (pair) => (await claimsOf(made, pair.accessToken)).scope));
    expect(new Set(given).size).toBe(1);
    const late = await made.manager.refresh(refreshToken);
    expect([late.refreshToken, (await claimsOf(made, late.accessToken)).scope]).toEqual([
      pairs[0]?.refreshToken,
      given[0],
    ]);
    expect(calls).toBe(8);
  });

  it("a refusal wins against a parallel renewal", async () => {
    let calls = 0;
    const made = bench({ onRefresh: (grant) => ((calls += 1) === 2 ? null : grant) });
    const { refreshToken } = await made.manager.issue("ada", ISSUED);
    const [one, other] = await Promise.allSettled([
      made.manager.refresh(refreshToken),
      made.manager.refresh(refreshToken),
    ]);
    expect(calls).toBe(2);
    expect(other.status).toBe("rejected");
    if (one.status === "fulfilled") {
      expect(await codeOf(made.manager.verifyAccessToken(one.value.accessToken))).toBe("revoked");
      expect(await codeOf(made.manager.refresh(one.value.refreshToken))).toBe("revoked");
    }
  });

  it("a rotation that the store refuses after the decision changes nothing", async () => {
    const made = bench({ onRefresh: (grant) => grant });
    const { refreshToken } = await made.manager.issue("ada", ISSUED);
    const rotate = made.store.rotate.bind(made.store);
    made.store.rotate = () => Promise.reject(new StoreFullError("store", "full"));
    expect(await codeOf(made.manager.refresh(refreshToken))).toBe("store-unavailable");
    made.store.rotate = rotate;
    expect(await codeOf(made.manager.refresh(refreshToken))).toBe("fulfilled");
  });

  it("decides for POST /refresh: 401 and a challenge for null, 503 with Retry-After for an error", async () => {
    let decide: OnRefresh = (grant) => grant;
    const made = bench({ onRefresh: (grant) => decide(grant) });
    const app = express();
    app.use("/token", tokenRoutes(made.manager));
    const server = await serve(app);
    try {
      const refresh = (refreshToken: string) =>
        server.send("/token/refresh", {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ refreshToken }),
        });
      const { refreshToken } = await made.manager.issue("ada", ISSUED);
      decide = () => {
        throw new Error("down");
      };
      const failed = await refresh(refreshToken);
      expect([failed.status, failed.headers["retry-after"], failed.json()]).toMatchObject([
        503,
        "1",
        { code: "store-unavailable" },
      ]);
      expect(failed.text).not.toContain("down");
      decide = (grant) => grant;
      const renewed = await refresh(refreshToken);
      expect(renewed.status).toBe(200);
      decide = () => null;
      const refused = await refresh((renewed.json() as { refreshToken: string }).refreshToken);
      expect([refused.status, refused.json()]).toMatchObject([401, { code: "invalid-credentials" }]);
      expect(refused.headers["www-authenticate"]).toBe('Bearer realm="api", error="invalid_token"');
      expect(names(made)).toContain("authn_login_fail refused");
    } finally {
      await server.close();
    }
  });

  it("must be a function, and describe() names it", () => {
    const issues = (onRefresh: unknown): string[] => {
      try {
        new JwtManager({ secret: HMAC_SECRET, onRefresh: onRefresh as OnRefresh });
      } catch (error) {
        if (error instanceof SettingsError) return error.issues.map(({ code, path }) => `${code} ${path}`);
        throw error;
      }
      return [];
    };
    expect(issues("always")).toEqual(["wrong-value onRefresh"]);
    expect(issues((grant: RefreshGrant) => grant)).toEqual([]);
    expect(bench({ onRefresh: () => null }).manager.describe()).toMatchObject({ onRefresh: "[function]" });
    expect(bench().manager.describe()).not.toHaveProperty("onRefresh");
  });
});
