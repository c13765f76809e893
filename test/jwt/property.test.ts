import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decideClaims } from "../../src/jwt/decide.js";
import { bench, codeOf, forge, GOOD_HEADER, HMAC_SECRET, settingsFor } from "./support.js";

const OPTIONS = { numRuns: 300 };
const BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

describe("a valid token with a change", () => {
  it.each(["HS256", "ES256", "RS256"])("%s: every character, changed to any other, is refused", async (algorithm) => {
    const { manager } = bench(settingsFor(algorithm));
    const token = await manager.signAccessToken("user-1", { scopes: ["read"] });
    expect(await codeOf(manager.verifyAccessToken(token))).toBe("fulfilled");
    await fc.assert(
      fc.asyncProperty(
        fc.nat(token.length - 1),
        fc.constantFrom(...BASE64URL, ".", "=", " ", "+", "/", "\n", "\0"),
        async (at, char) => {
          fc.pre(token.charAt(at) !== char);
          expect(await codeOf(manager.verifyAccessToken(token.slice(0, at) + char + token.slice(at + 1)))).not.toBe(
            "fulfilled",
          );
        },
      ),
      OPTIONS,
    );
  });

  it("at every single position, once each, is refused for HS256", async () => {
    const { manager } = bench(settingsFor("HS256"));
    const token = await manager.signAccessToken("user-1");
    for (let at = 0; at < token.length; at += 1) {
      // The neighbour differs in the lowest bit, which at the end of a part is the bit a lax decoder drops.
      const value = BASE64URL.indexOf(token.charAt(at));
      const changed = value === -1 ? "_" : BASE64URL.charAt(value ^ 1);
      expect([
        at,
        await codeOf(manager.verifyAccessToken(token.slice(0, at) + changed + token.slice(at + 1))),
      ]).not.toEqual([at, "fulfilled"]);
    }
  });

  it("that combines parts of two valid tokens is refused", async () => {
    const { manager } = bench(settingsFor("HS256"));
    const [a, b] = [
      (await manager.signAccessToken("user-1")).split("."),
      (await manager.signAccessToken("user-2")).split("."),
    ];
    expect(await codeOf(manager.verifyAccessToken([a[0], a[1], b[2]].join(".")))).toBe("signature");
    expect(await codeOf(manager.verifyAccessToken([a[0], b[1], a[2]].join(".")))).toBe("signature");
  });
});

describe("any input", () => {
  it("never makes check() throw, and is accepted only when it is signed", () => {
    const { manager } = bench({ secret: HMAC_SECRET });
    fc.assert(
      fc.property(
        fc.oneof(
          fc.anything(),
          fc.string({ unit: "binary", maxLength: 300 }),
          fc.tuple(fc.json(), fc.json(), fc.string()).map(([h, p, s]) => forge(h, p, s || "x")),
        ),
        (value) => {
          expect(manager.verifier.check(value)).toMatchObject({ ok: false });
        },
      ),
      OPTIONS,
    );
  });

  it("that is signed is accepted only with every required claim", () => {
    const { manager } = bench({ secret: HMAC_SECRET });
    fc.assert(
      fc.property(fc.json(), (payload) => {
        expect(manager.verifier.check(forge(GOOD_HEADER, payload, HMAC_SECRET))).toMatchObject({ ok: false });
      }),
      OPTIONS,
    );
  });

  it("outside its time is refused by decideClaims", () => {
    const policy = { issuer: "i", audiences: new Set(["a"]), maxLifeSeconds: 1800, leewaySeconds: 5 };
    const seconds = fc.oneof(
      fc.integer({ min: -10, max: 5000 }),
      fc.double({ min: -10, max: 5000, noNaN: true }),
      fc.constantFrom(NaN, Infinity, -Infinity, 2 ** 53),
    );
    fc.assert(
      fc.property(
        seconds,
        seconds,
        fc.option(seconds, { nil: undefined }),
        fc.integer({ min: 0, max: 5000 }),
        (exp, iat, nbf, now) => {
          const verdict = decideClaims({ iss: "i", aud: "a", sub: "s", jti: "j", exp, iat, nbf }, policy, now);
          const good =
            Number.isSafeInteger(exp) &&
            Number.isFinite(iat) &&
            now < exp + 5 &&
            iat <= now + 5 &&
            exp > iat &&
            exp - iat <= 1805 &&
            (nbf === undefined || (Number.isFinite(nbf) && nbf <= now + 5));
          expect(verdict.ok).toBe(good);
        },
      ),
      { numRuns: 3000 },
    );
  });
});
