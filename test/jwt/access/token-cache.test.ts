import { afterAll, beforeEach, describe, expect, it, vi } from "vitest";
import { VerifiedTokens } from "../../../src/jwt/access/token-cache.js";
import * as signatures from "../../../src/jwt/access/verify-signature.js";
import { bench, codeOf, forge, goodClaims, HMAC_SECRET, START } from "../support.js";

const HEADER = { alg: "HS256", typ: "at+jwt" };
const settings = { secret: HMAC_SECRET };
const verify = vi.spyOn(signatures, "verifySignature");
beforeEach(() => void verify.mockClear());
afterAll(() => verify.mockRestore());

describe("a token whose signature is cached", () => {
  it("is verified once, and its claims are the same, frozen", async () => {
    const { manager } = bench(settings);
    const token = await manager.signAccessToken("ada", { scopes: ["read"], claims: { org: { id: 7, tags: ["a"] } } });
    const first = await manager.verifyAccessToken(token);
    const again = await manager.verifyAccessToken(`${token}`);
    expect(verify).toHaveBeenCalledTimes(1);
    expect(again).toEqual(first);
    for (const part of [first, first["org"], (first["org"] as { tags: unknown }).tags])
      expect(Object.isFrozen(part)).toBe(true);
  });

  it("is verified each time with cacheSize 0", async () => {
    const { manager } = bench({ ...settings, cacheSize: 0 });
    const token = await manager.signAccessToken("ada");
    for (let n = 0; n < 3; n += 1) await manager.verifyAccessToken(token);
    expect(verify).toHaveBeenCalledTimes(3);
  });

  it("is refused when it expires, to the second, and then leaves the cache", async () => {
    const { manager, clock } = bench({ ...settings, leewaySeconds: 0 });
    const token = forge(HEADER, goodClaims(), HMAC_SECRET);
    expect(await codeOf(manager.verifyAccessToken(token))).toBe("fulfilled");
    clock.advance(1800 * 1000 - 501);
    expect(await codeOf(manager.verifyAccessToken(token))).toBe("fulfilled");
    clock.advance(1);
    expect(await codeOf(manager.verifyAccessToken(token))).toBe("expired");
    expect(verify).toHaveBeenCalledTimes(1);
    expect(await codeOf(manager.verifyAccessToken(token))).toBe("expired");
    expect(verify).toHaveBeenCalledTimes(2);
  });

  it.each(["token", "subject", "family"] as const)("is refused at once when its %s is revoked", async (what) => {
    const { manager } = bench(settings);
    const { accessToken, refreshToken } = await manager.issue("ada");
    const { jti } = await manager.verifyAccessToken(accessToken);
    if (what === "token") await manager.revokeToken(jti);
    else if (what === "subject") await manager.revokeSubject("ada");
    else await manager.revokeFamily(refreshToken);
    expect(await codeOf(manager.verifyAccessToken(accessToken))).toBe("revoked");
  });

  it("does not help another token: one with any one character changed is refused", async () => {
    const { manager } = bench(settings);
    const token = forge(HEADER, goodClaims(), HMAC_SECRET);
    await manager.verifyAccessToken(token);
    for (let at = 0; at < token.length; at += 1) {
      const other = `${token.slice(0, at)}${token[at] === "A" ? "B" : "A"}${token.slice(at + 1)}`;
      if (other !== token) expect(await codeOf(manager.verifyAccessToken(other))).not.toBe("fulfilled");
    }
    for (const other of [`${token} `, ` ${token}`, `${token}.`, `${token}=`, [token], { toString: () => token }]) {
      expect(await codeOf(manager.verifyAccessToken(other as string))).toBe("malformed");
    }
  });

  it("was accepted: one that is not yet valid, or whose claims are invalid, is not cached", async () => {
    const { manager, clock } = bench(settings);
    const early = forge(HEADER, { ...goodClaims(START + 60_000) }, HMAC_SECRET);
    const odd = forge(HEADER, { ...goodClaims(), exp: "soon" }, HMAC_SECRET);
    for (let n = 1; n <= 2; n += 1) {
      expect(await codeOf(manager.verifyAccessToken(early))).toBe("not-yet-valid");
      expect(await codeOf(manager.verifyAccessToken(odd))).toBe("claims");
      expect(verify).toHaveBeenCalledTimes(2 * n);
    }
    clock.advance(60_000);
    expect(await codeOf(manager.verifyAccessToken(early))).toBe("fulfilled");
  });
});

describe("VerifiedTokens", () => {
  it("keeps a fixed number, the most recently used", () => {
    const tokens = new VerifiedTokens(3);
    for (const name of ["a", "b", "c"]) tokens.add(name, { name });
    expect(tokens.get("a")).toEqual({ name: "a" });
    tokens.add("d", { name: "d" });
    expect(["a", "b", "c", "d"].filter((name) => tokens.get(name) !== undefined)).toEqual(["a", "c", "d"]);
  });

  it("keeps no more than 1,024 characters for each, whatever their length", () => {
    const tokens = new VerifiedTokens(100);
    for (let n = 0; n < 100; n += 1) tokens.add(`${n}:${"x".repeat(8000)}`, {});
    expect(tokens.size).toBe(12);
  });
});
