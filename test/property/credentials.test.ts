import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { ApiKeyService, JwtManager } from "portcullis";
import { checksum } from "../../src/api-key/keys/format.js";

/**
 * Any character of a credential changed: refused. The session's cookie is in test/session/middleware.test.ts, over a socket;
 * every position of an access token in test/jwt/property.test.ts.
 */
const RUNS = { numRuns: 500 };
const SECRET = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";
const CHARS = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~+/= \t\0é"];
/** One change of a text: where, and what stands there then. */
const change = fc.record({ where: fc.nat(), char: fc.constantFrom(...CHARS) });

function changed(text: string, { where, char }: { where: number; char: string }): string {
  const at = where % text.length;
  fc.pre(text[at] !== char);
  return text.slice(0, at) + char + text.slice(at + 1);
}

describe("flipping any character", () => {
  const keys = new ApiKeyService({ hash: "hmac-sha256", secret: SECRET, cacheSeconds: 0, failures: { limit: 10_000 } });
  const tokens = new JwtManager({ secret: SECRET });
  afterAll(() => Promise.all([keys.close(), tokens.close()]));

  it("of an API key is refused", async () => {
    const { key } = await keys.create({ ownerId: "ada", name: "k" });
    await fc.assert(
      fc.asyncProperty(change, async (one) => void expect((await keys.verify(changed(key, one))).ok).toBe(false)),
      RUNS,
    );
    expect((await keys.verify(key)).ok).toBe(true);
  });

  it("of an API key and its checksum made right again is refused too: by the digest, not by the sum", async () => {
    const { key } = await keys.create({ ownerId: "ada", name: "k" });
    const body = key.slice("mcp_".length, -6);
    const base62 = fc.record({
      where: fc.nat(),
      char: fc.constantFrom(...CHARS.filter((char) => /[A-Za-z0-9]/.test(char))),
    });
    const reasons = new Set<string>();
    await fc.assert(
      fc.asyncProperty(base62, async (one) => {
        const text = `mcp_${changed(body, one)}`;
        const result = await keys.verify(text + checksum(text));
        expect(result.ok).toBe(false);
        if (!result.ok) reasons.add(result.reason);
      }),
      { ...RUNS, numRuns: 300 },
    );
    expect([...reasons].sort()).not.toContain("malformed");
    expect(reasons.size).toBeGreaterThan(0);
  });

  it("of an access token is refused", async () => {
    const { accessToken } = await tokens.issue("ada");
    await fc.assert(
      fc.asyncProperty(
        change,
        async (one) =>
          void (await expect(tokens.verifyAccessToken(changed(accessToken, one))).rejects.toMatchObject({
            name: "TokenError",
          })),
      ),
      RUNS,
    );
    expect((await tokens.verifyAccessToken(accessToken)).sub).toBe("ada");
  });

  it("of a refresh token is refused, and does not end its family", async () => {
    const { refreshToken } = await tokens.issue("ada");
    await fc.assert(
      fc.asyncProperty(
        change,
        async (one) =>
          void (await expect(tokens.refresh(changed(refreshToken, one))).rejects.toMatchObject({ name: "TokenError" })),
      ),
      RUNS,
    );
    expect((await tokens.refresh(refreshToken)).tokenType).toBe("Bearer");
  });
});
