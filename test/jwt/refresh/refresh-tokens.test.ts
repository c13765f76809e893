import { createDecipheriv, createHmac, randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { Secret } from "../../../src/core/secret.js";
import { createRuntime } from "../../../src/core/runtime.js";
import { JwtManager } from "../../../src/jwt/manager.js";
import { newRefreshToken, parseRefreshToken, RefreshSecrets } from "../../../src/jwt/refresh/refresh-secrets.js";
import { MemoryTokenStore } from "../../../src/stores/memory/token-store.js";
import { bench, codeOf, HMAC_SECRET, KEYS, ROOT, UnreliableStore, type Bench } from "../support.js";

const DAY = 86_400_000;
const names = ({ events }: Bench): string[] => events.map(({ event }) => event);
const idOf = (token: string): string => parseRefreshToken(token)!.id;

describe("refresh", () => {
  it("returns a new pair with the same grant, in the same family", async () => {
    const { manager, clock } = bench();
    const first = await manager.issue("user-1", { scopes: ["read"], roles: ["admin"], claims: { tenant: "acme" } });
    clock.advance(60_000);
    const second = await manager.refresh(first.refreshToken);
    expect(Object.keys(second)).toEqual(Object.keys(first));
    expect(second.refreshToken).not.toBe(first.refreshToken);
    const [a, b] = [
      await manager.verifyAccessToken(first.accessToken),
      await manager.verifyAccessToken(second.accessToken),
    ];
    expect(b).toMatchObject({
      sub: "user-1",
      scope: "read",
      roles: ["admin"],
      tenant: "acme",
      fam: a.fam,
      iat: a.iat + 60,
    });
    expect(b.jti).not.toBe(a.jti);
  });

  it("stores nothing from which a token could be made", async () => {
    const { manager, store } = bench();
    const { refreshToken } = await manager.issue("user-1");
    const next = await manager.refresh(refreshToken);
    for (const token of [refreshToken, next.refreshToken]) {
      const { id, secret } = parseRefreshToken(token)!;
      const records = JSON.stringify([await store.get(id), await store.get(idOf(refreshToken))]);
      expect(records).not.toContain(secret);
      expect(records).not.toContain(Buffer.from(secret, "base64url").toString("hex"));
    }
    const record = (await store.get(idOf(refreshToken)))!;
    // Nor does an old token open the seal without the server's key.
    const attacker = new RefreshSecrets([]);
    expect(
      attacker.open(parseRefreshToken(refreshToken)!, record.successorId!, record.sealedSuccessor!),
    ).toBeUndefined();
  });

  it("the stored hash is not the key inside the seal's HKDF (RFC 5869 section 2.3)", () => {
    const secrets = new RefreshSecrets([ROOT]);
    const [presented, successor] = [newRefreshToken(), newRefreshToken()];
    const expanded = createHmac("sha256", Buffer.from(secrets.hash(presented.secret), "base64url"))
      .update("portcullis/v1/refresh-seal")
      .update(Buffer.of(1))
      .digest();
    const sealed = Buffer.from(secrets.seal(presented, successor), "base64url");
    const decipher = createDecipheriv("aes-256-gcm", expanded, sealed.subarray(0, 12));
    decipher.setAAD(Buffer.from(`${presented.id}.${successor.id}`));
    decipher.setAuthTag(sealed.subarray(12, 28));
    decipher.update(sealed.subarray(28));
    expect(() => decipher.final()).toThrow();
  });

  const forms: unknown[] = [
    "",
    "rt_",
    "x",
    "rt_a.b",
    null,
    undefined,
    7,
    {},
    [],
    "rt_".padEnd(69, "A"),
    "rt_".padEnd(10_000, "A"),
  ];
  it.each(forms)("refuses %j as malformed without asking the store", async (token) => {
    const counting = new UnreliableStore(bench().store);
    const { manager } = bench({}, counting);
    expect(await codeOf(manager.refresh(token as string))).toBe("malformed");
    expect(await manager.revokeFamily(token as string)).toBe(false);
    expect(counting.calls).toBe(0);
  });

  it("refuses a wrong secret for a known id, and does not end the family", async () => {
    const b = bench();
    const { refreshToken } = await b.manager.issue("user-1");
    const guess = `rt_${idOf(refreshToken)}.${randomBytes(32).toString("base64url")}`;
    expect(await codeOf(b.manager.refresh(guess))).toBe("unknown");
    expect(await b.manager.revokeFamily(guess)).toBe(false);
    const next = await b.manager.refresh(refreshToken);
    // Also where the id is of a token that was used long ago.
    b.clock.advance(60_000);
    expect(await codeOf(b.manager.refresh(guess))).toBe("unknown");
    expect(await codeOf(b.manager.refresh(next.refreshToken))).toBe("fulfilled");
    expect(names(b)).not.toContain("authn_token_reuse");
  });

  it("refuses an unknown id as unknown", async () => {
    expect(await codeOf(bench().manager.refresh((await bench().manager.issue("user-1")).refreshToken))).toBe("unknown");
  });
});

describe("the lifetime of a refresh token", () => {
  it("an unused token ends after refreshTokenDays, to the millisecond", async () => {
    for (const [wait, code] of [
      [7 * DAY - 1, "fulfilled"],
      [7 * DAY, "expired"],
    ] as const) {
      const { manager, clock } = bench();
      const { refreshToken } = await manager.issue("user-1");
      clock.advance(wait);
      expect(await codeOf(manager.refresh(refreshToken))).toBe(code);
    }
  });

  it("each use extends the token's lifetime, but never the family's", async () => {
    const { manager, clock } = bench({ refreshTokenDays: 7, absoluteDays: 30 });
    let { refreshToken } = await manager.issue("user-1");
    for (let day = 6; day <= 24; day += 6) {
      clock.advance(6 * DAY);
      ({ refreshToken } = await manager.refresh(refreshToken));
    }
    clock.advance(6 * DAY - 1);
    ({ refreshToken } = await manager.refresh(refreshToken));
    clock.advance(1);
    expect(await codeOf(manager.refresh(refreshToken))).toBe("expired");
  });

  it("no token of a family is stored for longer than the family", async () => {
    const { manager, clock, store } = bench({ refreshTokenDays: 7, absoluteDays: 8 });
    const first = await manager.issue("user-1");
    clock.advance(6 * DAY);
    const record = (await store.get(idOf((await manager.refresh(first.refreshToken)).refreshToken)))!;
    expect(record.expiresAt).toBe(record.familyExpiresAt);
    expect(record.familyExpiresAt - clock.now()).toBe(2 * DAY);
  });

  it("an expired token is not reported as theft", async () => {
    const b = bench();
    const { refreshToken } = await b.manager.issue("user-1");
    b.clock.advance(8 * DAY);
    await codeOf(b.manager.refresh(refreshToken));
    expect(names(b)).toEqual(["authn_token_created"]);
  });
});

describe("reuse", () => {
  it("after the grace period ends the family: its refresh tokens and its access tokens, with one critical event", async () => {
    const b = bench();
    const other = await b.manager.issue("user-1");
    const first = await b.manager.issue("user-1");
    const second = await b.manager.refresh(first.refreshToken);
    b.clock.advance(10_000);
    expect(await codeOf(b.manager.refresh(first.refreshToken))).toBe("reused");
    expect(await codeOf(b.manager.refresh(second.refreshToken))).toBe("revoked");
    expect(await codeOf(b.manager.refresh(first.refreshToken))).toBe("revoked");
    expect(await codeOf(b.manager.verifyAccessToken(first.accessToken))).toBe("revoked");
    expect(await codeOf(b.manager.verifyAccessToken(second.accessToken))).toBe("revoked");
    expect(await codeOf(b.manager.verifyAccessToken(other.accessToken))).toBe("fulfilled");
    expect(await codeOf(b.manager.refresh(other.refreshToken))).toBe("fulfilled");
    const reuse = b.events.filter(({ event }) => event === "authn_token_reuse");
    expect(reuse).toMatchObject([{ level: "CRITICAL", source: "jwt", subject: "user-1", reason: "refresh-token" }]);
    expect(JSON.stringify(b.events)).not.toContain(parseRefreshToken(first.refreshToken)!.secret);
  });

  it("within the grace period returns the same successor, and new access tokens", async () => {
    const b = bench();
    const first = await b.manager.issue("user-1");
    const second = await b.manager.refresh(first.refreshToken);
    b.clock.advance(9_999);
    const again = await b.manager.refresh(first.refreshToken);
    expect(again.refreshToken).toBe(second.refreshToken);
    expect(again.accessToken).not.toBe(second.accessToken);
    expect(await codeOf(b.manager.verifyAccessToken(again.accessToken))).toBe("fulfilled");
    expect(await codeOf(b.manager.refresh(again.refreshToken))).toBe("fulfilled");
    expect(names(b)).not.toContain("authn_token_reuse");
  });

  it("of an ancestor is theft even within the grace period", async () => {
    const b = bench({ reuseGraceSeconds: 60 });
    const first = await b.manager.issue("user-1");
    const second = await b.manager.refresh(first.refreshToken);
    const third = await b.manager.refresh(second.refreshToken);
    expect((await b.manager.refresh(second.refreshToken)).refreshToken).toBe(third.refreshToken);
    expect(await codeOf(b.manager.refresh(first.refreshToken))).toBe("reused");
    expect(await codeOf(b.manager.refresh(third.refreshToken))).toBe("revoked");
  });

  it("without a grace period is always theft", async () => {
    const { manager } = bench({ reuseGraceSeconds: 0 });
    const first = await manager.issue("user-1");
    await manager.refresh(first.refreshToken);
    expect(await codeOf(manager.refresh(first.refreshToken))).toBe("reused");
  });

  it("of a token that has expired meanwhile is still theft while its family lives", async () => {
    const { manager, clock } = bench();
    const first = await manager.issue("user-1");
    const second = await manager.refresh(first.refreshToken);
    clock.advance(6 * DAY);
    const third = await manager.refresh(second.refreshToken);
    clock.advance(2 * DAY);
    expect(await codeOf(manager.refresh(first.refreshToken))).toBe("reused");
    expect(await codeOf(manager.refresh(third.refreshToken))).toBe("revoked");
  });

  it("is reported even when the store fails before the family is ended", async () => {
    const { store } = bench();
    const b = bench({}, store);
    const first = await b.manager.issue("user-1");
    await b.manager.refresh(first.refreshToken);
    b.clock.advance(60_000);
    store.denyFamily = () => Promise.reject(new Error("gone"));
    expect(await codeOf(b.manager.refresh(first.refreshToken))).toBe("store-unavailable");
    expect(names(b)).toContain("authn_token_reuse");
  });
});

describe("races", () => {
  it.each([
    { name: "at once", trouble: "none" },
    { name: "on a slow store", trouble: "slow" },
  ] as const)("100 refreshes of one token $name give one successor", async ({ trouble }) => {
    const inner = bench().store;
    const slow = new UnreliableStore(inner);
    slow.trouble = trouble;
    const b = bench({ storeTimeoutMs: 5000 }, slow);
    const { refreshToken } = await b.manager.issue("user-1");
    let inserted = 0;
    const rotate = inner.rotate.bind(inner);
    inner.rotate = async (...args) => {
      const won = await rotate(...args);
      if (won) inserted += 1;
      return won;
    };
    const all = await Promise.all(Array.from({ length: 100 }, () => b.manager.refresh(refreshToken)));
    expect(new Set(all.map((issued) => issued.refreshToken)).size).toBe(1);
    expect(new Set(all.map((issued) => issued.accessToken)).size).toBe(100);
    expect(inserted).toBe(1);
    expect(names(b)).not.toContain("authn_token_reuse");
    expect(await codeOf(b.manager.refresh(all[0]!.refreshToken))).toBe("fulfilled");
  });

  it("two processes on one store: the loser gets the winner's successor", async () => {
    const b = bench();
    const other = new JwtManager({}, { runtime: b.runtime, store: b.store, secretKey: [ROOT] });
    const { refreshToken } = await b.manager.issue("user-1");
    const [here, there] = await Promise.all([b.manager.refresh(refreshToken), other.refresh(refreshToken)]);
    expect(here.refreshToken).toBe(there.refreshToken);
  });

  it("a refresh and a revocation at the same time never leave a valid token", async () => {
    for (const order of [0, 1, 2, 3, 4, 5]) {
      const slow = new UnreliableStore(bench().store);
      const { manager } = bench({}, slow);
      const { refreshToken } = await manager.issue("user-1");
      slow.trouble = "slow";
      const refreshing = manager.refresh(refreshToken);
      await new Promise((resolve) => setTimeout(resolve, order * 3));
      await manager.revokeFamily(refreshToken);
      const [outcome] = await Promise.allSettled([refreshing]);
      if (outcome.status === "rejected") continue;
      expect(["revoked"]).toContain(await codeOf(manager.verifyAccessToken(outcome.value.accessToken)));
      expect(["revoked"]).toContain(await codeOf(manager.refresh(outcome.value.refreshToken)));
    }
  });

  it("a refresh that the store answers after its subject was revoked returns a revoked token", async () => {
    const b = bench();
    const { refreshToken } = await b.manager.issue("user-1");
    const rotate = b.store.rotate.bind(b.store);
    let release = (): void => {};
    const released = new Promise<void>((resolve) => (release = resolve));
    b.store.rotate = async (...args) => {
      const won = await rotate(...args);
      await released;
      return won;
    };
    const refreshing = b.manager.refresh(refreshToken);
    await new Promise((resolve) => setTimeout(resolve, 5));
    await b.manager.revokeSubject("user-1");
    b.clock.advance(1);
    release();
    const issued = await refreshing;
    expect(await codeOf(b.manager.verifyAccessToken(issued.accessToken))).toBe("revoked");
    expect(await codeOf(b.manager.refresh(issued.refreshToken))).toBe("revoked");
  });

  it("without a grace period one of 20 refreshes at once wins, the others are theft, and the family ends", async () => {
    const { manager } = bench({ reuseGraceSeconds: 0 });
    const { refreshToken } = await manager.issue("user-1");
    const all = await Promise.allSettled(Array.from({ length: 20 }, () => manager.refresh(refreshToken)));
    const won = all.filter((one) => one.status === "fulfilled");
    expect(won.length).toBeLessThanOrEqual(1);
    for (const one of won) expect(await codeOf(manager.refresh(one.value.refreshToken))).toBe("revoked");
  });
});

/** A store of two parts, of which the one that denies access tokens is down. */
class NoDenials extends MemoryTokenStore {
  override denyFamily(): Promise<void> {
    return Promise.reject(new Error("connection refused"));
  }
}

describe("revokeFamily", () => {
  it("ends the refresh tokens also when the denial of access tokens cannot be written, and says that it failed", async () => {
    const manager = new JwtManager({ secret: HMAC_SECRET, store: new NoDenials() });
    const { refreshToken } = await manager.issue("anna");
    await expect(manager.revokeFamily(refreshToken)).rejects.toMatchObject({ code: "store-unavailable" });
    await expect(manager.refresh(refreshToken)).rejects.toMatchObject({ code: "revoked" });
    await manager.close();
  });

  it("ends the family by any of its tokens, used ones too, and no other family", async () => {
    const b = bench();
    const first = await b.manager.issue("user-1");
    const second = await b.manager.refresh(first.refreshToken);
    const other = await b.manager.issue("user-1");
    expect(await b.manager.revokeFamily(first.refreshToken)).toBe(true);
    expect(await codeOf(b.manager.refresh(second.refreshToken))).toBe("revoked");
    expect(await codeOf(b.manager.verifyAccessToken(second.accessToken))).toBe("revoked");
    expect(await codeOf(b.manager.refresh(other.refreshToken))).toBe("fulfilled");
    expect(names(b).filter((name) => name === "authn_token_revoked")).toHaveLength(1);
  });
});

describe("restart", () => {
  const restarted = (b: Bench, secretKey: readonly Secret[] = [ROOT]): JwtManager =>
    new JwtManager({}, { runtime: createRuntime({ clock: b.clock }), store: b.store, secretKey });

  it("on the same store keeps tokens, grace periods and revocations", async () => {
    const b = bench();
    const first = await b.manager.issue("user-1");
    const revoked = await b.manager.issue("user-1");
    await b.manager.revokeFamily(revoked.refreshToken);
    const second = await b.manager.refresh(first.refreshToken);
    const after = restarted(b);
    expect(await codeOf(after.verifyAccessToken(second.accessToken))).toBe("fulfilled");
    expect(await codeOf(after.verifyAccessToken(revoked.accessToken))).toBe("revoked");
    expect((await after.refresh(first.refreshToken)).refreshToken).toBe(second.refreshToken);
    b.clock.advance(10_000);
    expect(await codeOf(after.refresh(first.refreshToken))).toBe("reused");
  });

  it("with a rotated root secret keeps refresh tokens valid while the old secret is listed", async () => {
    const fresh = new Secret("m8Xw2KzR6pQv4TnB7cLd1HsYf9GjU3eA-fresh");
    const b = bench();
    const first = await b.manager.issue("user-1");
    const second = await b.manager.refresh(first.refreshToken);
    const both = restarted(b, [fresh, ROOT]);
    expect((await both.refresh(first.refreshToken)).refreshToken).toBe(second.refreshToken);
    const third = await both.refresh(second.refreshToken);
    // Hashed anew by the first secret, so that the old one can go.
    const only = restarted(b, [fresh]);
    expect(await codeOf(only.refresh(third.refreshToken))).toBe("fulfilled");
    expect(await codeOf(only.refresh(first.refreshToken))).toBe("unknown");
  });
});

describe("RefreshSecrets", () => {
  it("opens its own seals for the same two tokens only", () => {
    const secrets = new RefreshSecrets([ROOT]);
    const [presented, successor, other] = [newRefreshToken(), newRefreshToken(), newRefreshToken()];
    const sealed = secrets.seal(presented, successor);
    expect(secrets.open(presented, successor.id, sealed)).toBe(successor.secret);
    expect(secrets.open({ ...presented, secret: other.secret }, successor.id, sealed)).toBeUndefined();
    expect(secrets.open({ ...presented, id: other.id }, successor.id, sealed)).toBeUndefined();
    expect(secrets.open(presented, other.id, sealed)).toBeUndefined();
    expect(secrets.open(presented, successor.id, sealed.slice(0, -4))).toBeUndefined();
    expect(secrets.open(presented, successor.id, "")).toBeUndefined();
    expect(new RefreshSecrets([new Secret(HMAC_SECRET)]).open(presented, successor.id, sealed)).toBeUndefined();
  });

  it("hashes differently under each root secret, and without one", () => {
    const { secret } = newRefreshToken();
    const hashes = [
      new RefreshSecrets([]),
      new RefreshSecrets([ROOT]),
      new RefreshSecrets([new Secret(HMAC_SECRET)]),
    ].map((secrets) => secrets.hash(secret));
    expect(new Set(hashes).size).toBe(3);
    expect(new RefreshSecrets([new Secret(HMAC_SECRET), ROOT]).matches(secret, hashes[1]!)).toBe(true);
    expect(new RefreshSecrets([ROOT]).matches(secret, "")).toBe(false);
  });

  it("a manager of key pairs alone refreshes across a rotation of its keys", async () => {
    const b = bench();
    const make = (keys: readonly object[]): JwtManager =>
      new JwtManager({ algorithm: "ES256", keys: keys as never }, { runtime: b.runtime, store: b.store });
    const [old, fresh] = [KEYS.ec("P-256"), KEYS.otherEc];
    const { refreshToken } = await make([{ privateKey: old.privateKey }]).issue("user-1");
    expect(
      await codeOf(make([{ privateKey: fresh.privateKey }, { publicKey: old.publicKey }]).refresh(refreshToken)),
    ).toBe("fulfilled");
  });
});
