import assert from "node:assert/strict";
import type { TokenStore } from "../stores/contracts.js";
import { AWKWARD_TEXTS, type ConformanceCase } from "./conformance.js";
import { sampleToken } from "./samples.js";
import type { TokenCase } from "./token-rotation-cases.js";

const HOUR_MS = 3_600_000;

/** The checks of `isRevoked` and what feeds it. */
export function denialCases(testCase: TokenCase): ConformanceCase[] {
  return [
    testCase("isRevoked: false for a token that was never denied", async (store) => {
      const now = Date.now();
      await store.denyAccessToken("jti-1", now + HOUR_MS);
      await store.denyFamily("family-1", now + HOUR_MS);
      for (const name of ["jti-2", "JTI-1", "", "__proto__", "constructor", "family-1"]) {
        assert.equal(await store.isRevoked({ jti: name, subject: name, issuedAt: now }), false, name);
        if (name !== "family-1")
          assert.equal(await store.isRevoked({ jti: name, subject: name, issuedAt: now, familyId: name }), false, name);
      }
    }),

    testCase(
      "denyAccessToken denies the token as soon as it resolves, again and again without error",
      async (store) => {
        const now = Date.now();
        for (const jti of AWKWARD_TEXTS) {
          await store.denyAccessToken(jti, now + HOUR_MS);
          assert.equal(await store.isRevoked({ jti, subject: "user-1", issuedAt: now }), true, jti);
        }
        await store.denyAccessToken("twice", now + HOUR_MS);
        await store.denyAccessToken("twice", now + HOUR_MS);
        assert.equal(await store.isRevoked({ jti: "twice", subject: "user-1", issuedAt: now }), true);
      },
    ),

    testCase("denyFamily denies the family's access tokens, and only those", async (store) => {
      const now = Date.now();
      for (const familyId of AWKWARD_TEXTS) {
        assert.equal(await store.isRevoked({ jti: "j", subject: "s", issuedAt: now, familyId }), false);
        await store.denyFamily(familyId, now + HOUR_MS);
        assert.equal(await store.isRevoked({ jti: "j", subject: "s", issuedAt: now, familyId }), true);
      }
      assert.equal(await store.isRevoked({ jti: "j", subject: "s", issuedAt: now, familyId: "other" }), false);
      assert.equal(await store.isRevoked({ jti: "j", subject: "s", issuedAt: now }), false);
    }),

    testCase("revokeSubject cuts off tokens issued before, not at or after", async (store) => {
      const at = Date.now();
      for (const subject of AWKWARD_TEXTS) {
        await store.revokeSubject(subject, at, at + HOUR_MS);
        assert.equal(await store.isRevoked({ jti: "j", subject, issuedAt: at - 1 }), true);
        assert.equal(await store.isRevoked({ jti: "j", subject, issuedAt: at }), false);
        assert.equal(await store.isRevoked({ jti: "j", subject, issuedAt: at + 1 }), false);
      }
      assert.equal(await store.isRevoked({ jti: "j", subject: "other", issuedAt: at - 1 }), false);
    }),

    testCase("a second denial may extend the first but never shortens it", async (store) => {
      const at = Date.now();
      await store.revokeSubject("user-1", at, at + HOUR_MS);
      await store.revokeSubject("user-1", at - 1000, at + 1);
      assert.equal(await store.isRevoked({ jti: "j", subject: "user-1", issuedAt: at - 1 }), true);
      await store.revokeSubject("user-1", at + 1000, at + 2);
      assert.equal(await store.isRevoked({ jti: "j", subject: "user-1", issuedAt: at + 999 }), true);
      await store.denyAccessToken("jti-1", at + HOUR_MS);
      await store.denyAccessToken("jti-1", at + 1);
      await store.denyFamily("family-1", at + HOUR_MS);
      await store.denyFamily("family-1", at + 1);
      await store.deleteExpired(at + HOUR_MS - 1);
      assert.equal(await store.isRevoked({ jti: "j", subject: "user-1", issuedAt: at + 999 }), true);
      assert.equal(await store.isRevoked({ jti: "jti-1", subject: "s", issuedAt: at }), true);
      assert.equal(await store.isRevoked({ jti: "j", subject: "s", issuedAt: at, familyId: "family-1" }), true);
    }),

    testCase("cutOffOf, where there is one, returns the latest cut-off of a subject", async (store) => {
      if (store.cutOffOf === undefined) return;
      const at = Date.now();
      for (const subject of AWKWARD_TEXTS) {
        assert.equal(await store.cutOffOf(subject), undefined);
        await store.revokeSubject(subject, at + 5000, at + HOUR_MS);
        assert.equal(await store.cutOffOf(subject), at + 5000);
        await store.revokeSubject(subject, at, at + HOUR_MS);
        assert.equal(await store.cutOffOf(subject), at + 5000);
      }
      assert.equal(await store.cutOffOf("other"), undefined);
    }),

    testCase("concurrent denials are all kept", async (store) => {
      const now = Date.now();
      await Promise.all(
        Array.from({ length: 30 }, (_, index) => store.denyAccessToken(`jti-${index % 15}`, now + HOUR_MS + index)),
      );
      for (let index = 0; index < 15; index += 1)
        assert.equal(await store.isRevoked({ jti: `jti-${index}`, subject: "s", issuedAt: now }), true);
    }),
  ];
}

/** The checks of `deleteExpired`. */
export function expiryCases(testCase: TokenCase): ConformanceCase[] {
  return [
    testCase("deleteExpired: a denial holds until its end and is deleted after it", async (store) => {
      const now = Date.now();
      const end = now + HOUR_MS;
      await store.denyAccessToken("jti-1", end);
      await store.denyFamily("family-1", end);
      await store.revokeSubject("user-1", now, end);
      const denied = async () => [
        await store.isRevoked({ jti: "jti-1", subject: "s", issuedAt: now }),
        await store.isRevoked({ jti: "j", subject: "s", issuedAt: now, familyId: "family-1" }),
        await store.isRevoked({ jti: "j", subject: "user-1", issuedAt: now - 1 }),
      ];
      assert.equal(await store.deleteExpired(end), 0);
      assert.deepEqual(await denied(), [true, true, true]);
      assert.equal(await store.deleteExpired(end + 1), 3);
      assert.deepEqual(await denied(), [false, false, false]);
      assert.equal(await store.deleteExpired(end + 1), 0);
    }),

    testCase(
      "deleteExpired: an unused token is deleted after its end, a used one only after the end of its family",
      async (store) => {
        const token = sampleToken();
        const successor = sampleToken({ id: "token-2", expiresAt: token.expiresAt + 1 });
        await store.insert(token);
        await store.rotate("token-1", token.issuedAt, successor, "sealed");
        assert.equal(await store.deleteExpired(token.expiresAt + 1), 0);
        assert.equal(await store.deleteExpired(token.expiresAt + 2), 1);
        assert.equal(await store.get("token-2"), undefined);
        // Presenting a used token is how theft is noticed, so it is known as long as the family could live.
        assert.notEqual((await store.get("token-1"))?.usedAt, null);
        assert.equal(await store.deleteExpired(token.familyExpiresAt), 0);
        assert.equal(await store.deleteExpired(token.familyExpiresAt + 1), 1);
        assert.equal(await store.get("token-1"), undefined);
      },
    ),

    testCase(
      "deleteExpired: the sealed successor is deleted 60 s after the use, and nothing else of the token",
      async (store) => {
        const usedAt = Date.now();
        for (const [index, id] of ["live", "revoked"].entries()) {
          await store.insert(sampleToken({ id, familyId: id }));
          await store.rotate(id, usedAt + index, sampleToken({ id: `${id}-next`, familyId: id }), `sealed-${id}`);
        }
        await store.revokeFamily("revoked", usedAt + 2);
        const before = [await store.get("live"), await store.get("revoked")];
        assert.equal(await store.deleteExpired(usedAt + 60_000), 0);
        assert.deepEqual([await store.get("live"), await store.get("revoked")], before);
        assert.equal(await store.deleteExpired(usedAt + 60_001), 0);
        assert.deepEqual(
          [await store.get("live"), await store.get("revoked")],
          [{ ...before[0], sealedSuccessor: null }, before[1]],
        );
        assert.equal(await store.deleteExpired(usedAt + 60_002), 0);
        assert.equal((await store.get("revoked"))?.sealedSuccessor, null);
        assert.equal((await store.get("live-next"))?.usedAt, null);
      },
    ),

    testCase("deleteExpired: deletes nothing that is still valid, however much has ended", async (store) => {
      const token = sampleToken();
      await store.insert(token);
      for (let index = 0; index < 40; index += 1) {
        await store.insert(
          sampleToken({
            id: `old-${index}`,
            familyId: `old-${index}`,
            expiresAt: token.issuedAt + HOUR_MS,
            familyExpiresAt: token.issuedAt + 2 * HOUR_MS,
          }),
        );
      }
      assert.equal(await store.deleteExpired(token.issuedAt + 3 * HOUR_MS), 40);
      assert.deepEqual(await store.get("token-1"), token);
      assert.equal(await store.revokeFamily("old-1", token.issuedAt), false);
      assert.equal(await allGone(store, 40), true);
    }),
  ];
}

async function allGone(store: TokenStore, count: number): Promise<boolean> {
  for (let index = 0; index < count; index += 1) if ((await store.get(`old-${index}`)) !== undefined) return false;
  return true;
}
