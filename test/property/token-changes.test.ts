import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { JwtManager } from "portcullis";
import { codeOf, settingsFor } from "../jwt/support.js";
import { runs } from "./seed.js";
import { singleChanges } from "./single-changes.js";

vi.setConfig({ testTimeout: runs(60_000) });

const grant = fc.record({
  subject: fc
    .string({ minLength: 1, maxLength: 40, unit: "grapheme" })
    .filter((text) => text.length <= 256 && !text.includes("\0")),
  scopes: fc.uniqueArray(fc.stringMatching(/^[A-Za-z0-9._-]{1,8}(:[a-z]{1,8}){0,2}(:\*)?$/), { maxLength: 4 }),
  roles: fc.uniqueArray(fc.stringMatching(/^[A-Za-z0-9._:-]{1,16}$/), { maxLength: 3 }),
  // Names of a letter and digits meet none that is reserved.
  claims: fc
    .dictionary(fc.stringMatching(/^[a-z][0-9]{1,3}$/), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3 })
    .filter((value) => !JSON.stringify(value).includes("__proto__")),
});
const char = fc.constantFrom(..."Ab0-_.=+/ \n\0\u00e9");

/** Both ways a verified token can be looked at: anew each time, and remembered. */
const MANAGERS = ["HS256", "ES256", "PS256"].flatMap((algorithm) =>
  [0, 100].map((cacheSize) => ({
    name: `${algorithm}, ${cacheSize} remembered`,
    manager: new JwtManager({ ...settingsFor(algorithm), cacheSize }),
  })),
);

describe.each(MANAGERS)("tokens, $name", ({ manager }) => {
  it("are verified with the grant they were issued for, also after a refresh", async () => {
    await fc.assert(
      fc.asyncProperty(grant, async ({ subject, ...options }) => {
        const first = await manager.issue(subject, options);
        const second = await manager.refresh(first.refreshToken);
        for (const { accessToken } of [first, second]) {
          const claims = await manager.verifyAccessToken(accessToken);
          expect(claims).toMatchObject({
            ...(JSON.parse(JSON.stringify(options.claims)) as object),
            sub: subject,
            scope: options.scopes.join(" "),
          });
          expect(claims["roles"] ?? []).toEqual(options.roles);
        }
        expect(second.refreshToken).not.toBe(first.refreshToken);
      }),
      { numRuns: runs(40) },
    );
  });

  it("with any single change are refused, and a changed refresh token does not end its family", async () => {
    await fc.assert(
      fc.asyncProperty(grant, char, async ({ subject, ...options }, put) => {
        const { accessToken, refreshToken } = await manager.issue(subject, options);
        expect(await codeOf(manager.verifyAccessToken(accessToken))).toBe("fulfilled");
        for (const change of singleChanges(accessToken, put)) {
          const code = await codeOf(manager.verifyAccessToken(change.text));
          if (typeof code !== "string" || code === "fulfilled" || code === "revoked")
            expect.fail(`${JSON.stringify(change)}: ${String(code)}`);
        }
        for (const change of singleChanges(refreshToken, put)) {
          expect({ ...change, code: await codeOf(manager.refresh(change.text)) }).toEqual({
            ...change,
            code: expect.stringMatching(/^(malformed|unknown)$/),
          });
        }
        expect(await codeOf(manager.verifyAccessToken(accessToken))).toBe("fulfilled");
        expect(await codeOf(manager.refresh(refreshToken))).toBe("fulfilled");
      }),
      { numRuns: runs(2) },
    );
  });
});
