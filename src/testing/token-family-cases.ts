import assert from "node:assert/strict";
import { type ConformanceCase, UNSTORABLE_TEXTS } from "./conformance.js";
import { sampleToken } from "./samples.js";
import type { TokenCase } from "./token-rotation-cases.js";

/** The checks of the revocation of refresh-token families. */
export function familyCases(testCase: TokenCase): ConformanceCase[] {
  return [
    testCase(
      "revokeFamily revokes every token of the family, used ones too, and no others; it returns true once",
      async (store) => {
        const at = Date.now();
        await store.insert(sampleToken());
        await store.rotate("token-1", at, sampleToken({ id: "token-2" }), "sealed");
        await store.insert(sampleToken({ id: "other", familyId: "family-2" }));
        assert.equal(await store.revokeFamily("family-1", at), true);
        assert.equal((await store.get("token-1"))?.revokedAt, at);
        assert.equal((await store.get("token-2"))?.revokedAt, at);
        assert.equal((await store.get("other"))?.revokedAt, null);
        assert.equal(await store.revokeFamily("family-1", at + 1), false);
        assert.equal((await store.get("token-1"))?.revokedAt, at);
        for (const familyId of ["unknown", "", ...UNSTORABLE_TEXTS])
          assert.equal(await store.revokeFamily(familyId, at), false);
      },
    ),

    testCase(
      "a revoked family stays revoked: its tokens do not rotate, and a token inserted later is revoked",
      async (store) => {
        const at = Date.now();
        await store.insert(sampleToken());
        await store.revokeFamily("family-1", at);
        assert.equal(await store.rotate("token-1", at, sampleToken({ id: "token-2" }), "sealed"), false);
        assert.equal(await store.get("token-2"), undefined);
        await store.insert(sampleToken({ id: "late" }));
        assert.equal((await store.get("late"))?.revokedAt, at);
      },
    ),

    testCase("concurrent revokeFamily and rotate leave no valid token, whichever is first", async (store) => {
      for (let round = 0; round < 12; round += 1) {
        const familyId = `race-${round}`;
        await store.insert(sampleToken({ id: `${familyId}-a`, familyId }));
        const calls: (() => Promise<unknown>)[] = [
          () => store.rotate(`${familyId}-a`, Date.now(), sampleToken({ id: `${familyId}-b`, familyId }), "sealed"),
          () => store.revokeFamily(familyId, Date.now()),
          () => store.rotate(`${familyId}-b`, Date.now(), sampleToken({ id: `${familyId}-c`, familyId }), "sealed"),
        ];
        for (let turn = 0; turn < round % 3; turn += 1) calls.push(...calls.splice(0, 1));
        await Promise.all(calls.map((call) => call()));
        for (const id of ["a", "b", "c"]) {
          const token = await store.get(`${familyId}-${id}`);
          assert.notEqual(token?.revokedAt, null, `${familyId}-${id} is live`);
        }
      }
    }),

    testCase("revokeSubject revokes every family of the subject, and no others", async (store) => {
      const at = Date.now();
      await store.insert(sampleToken({ id: "a", familyId: "f1" }));
      await store.insert(sampleToken({ id: "b", familyId: "f2" }));
      await store.rotate("b", at, sampleToken({ id: "c", familyId: "f2" }), "sealed");
      await store.insert(sampleToken({ id: "d", familyId: "f3", subject: "USER-1" }));
      await store.insert(sampleToken({ id: "e", familyId: "f4", subject: "user-1 " }));
      await store.revokeSubject("user-1", at, at + 60_000);
      const marks = await Promise.all(["a", "b", "c", "d", "e"].map(async (id) => (await store.get(id))?.revokedAt));
      assert.deepEqual(marks, [at, at, at, null, null]);
      assert.equal(await store.rotate("c", at, sampleToken({ id: "x", familyId: "f2" }), "sealed"), false);
      assert.equal(
        await store.rotate("d", at, sampleToken({ id: "y", familyId: "f3", subject: "USER-1" }), "sealed"),
        true,
      );
    }),

    testCase(
      "revokeSubject does not revoke a family that begins after it, even in the same millisecond",
      async (store) => {
        const at = Date.now();
        await store.insert(sampleToken({ id: "before", familyId: "f1" }));
        await store.revokeSubject("user-1", at, at + 60_000);
        await store.insert(sampleToken({ id: "after", familyId: "f2", issuedAt: at - 1000 }));
        await store.insert(sampleToken({ id: "late", familyId: "f1" }));
        const marks = async () =>
          Promise.all(["before", "late", "after"].map(async (id) => (await store.get(id))?.revokedAt));
        assert.deepEqual(await marks(), [at, at, null]);
        assert.equal(await store.rotate("after", at, sampleToken({ id: "after-2", familyId: "f2" }), "sealed"), true);
        await store.revokeSubject("user-1", at, at + 60_000);
        assert.deepEqual(await marks(), [at, at, at]);
        assert.equal(
          await store.rotate("after-2", at, sampleToken({ id: "after-3", familyId: "f2" }), "sealed"),
          false,
        );
      },
    ),

    testCase(
      "revokeSubject, repeated: families of before are revoked, and none that began after a later revocation",
      async (store) => {
        const at = Date.now();
        const revokedAt = async (id: string) => (await store.get(id))?.revokedAt;
        await store.insert(sampleToken({ id: "before", familyId: "f1" }));
        // The first call did not reach the store.
        await store.revokeSubject("user-1", at, at + 60_000, at);
        assert.equal(await revokedAt("before"), at);
        await store.insert(sampleToken({ id: "after", familyId: "f2" }));
        await store.revokeSubject("user-1", at, at + 60_000, at);
        assert.equal(await revokedAt("after"), null);
        await store.revokeSubject("user-1", at + 10, at + 60_000);
        await store.insert(sampleToken({ id: "later", familyId: "f3" }));
        await store.revokeSubject("user-1", at + 15, at + 60_000, at + 5);
        assert.equal(await revokedAt("later"), null);
        assert.equal(await store.rotate("later", at, sampleToken({ id: "later-2", familyId: "f3" }), "sealed"), true);
        await store.revokeSubject("user-1", at + 20, at + 60_000, at + 20);
        for (const id of ["before", "after", "later", "later-2"])
          assert.notEqual(await revokedAt(id), null, `${id} is live`);
      },
    ),

    testCase(
      "revokeSubject holds for as long as an earlier family could live, and deleteExpired does not undo it",
      async (store) => {
        const at = Date.now();
        const token = sampleToken();
        await store.insert(token);
        await store.revokeSubject("user-1", at, at + 60_000);
        await store.deleteExpired(token.expiresAt - 1);
        assert.equal((await store.get("token-1"))?.revokedAt, at);
        assert.equal(await store.rotate("token-1", at, sampleToken({ id: "token-2" }), "sealed"), false);
        await store.deleteExpired(token.familyExpiresAt + 1);
        await store.insert(sampleToken({ id: "new", familyId: "new" }));
        assert.equal((await store.get("new"))?.revokedAt, null);
        await store.revokeSubject("user-1", at, at + 60_000);
        assert.equal((await store.get("new"))?.revokedAt, at);
      },
    ),

    testCase("revokeSubject spares the family to keep, with its access tokens, if it is in force", async (store) => {
      const at = Date.now();
      const facts = (familyId: string) => ({
        jti: `jti of ${familyId}`,
        subject: "user-1",
        issuedAt: at - 1,
        familyId,
      });
      for (const name of ["kept", "other"]) await store.insert(sampleToken({ id: name, familyId: name }));
      await store.insert(sampleToken({ id: "foreign", familyId: "foreign", subject: "user-2" }));
      const revoked = async (): Promise<string[]> => {
        const names = ["kept", "other", "foreign"];
        const found = await Promise.all(names.map((name) => store.get(name)));
        return names.filter((_, index) => found[index]?.revokedAt !== null);
      };
      await store.revokeSubject("user-1", at, at + 60_000, undefined, "kept");
      assert.deepEqual(await revoked(), ["other"]);
      assert.equal(await store.isRevoked(facts("kept")), false);
      assert.equal(await store.isRevoked(facts("other")), true);
      assert.equal(await store.isRevoked({ jti: "kept", subject: "user-1", issuedAt: at - 1 }), false);
      assert.equal(await store.isRevoked({ jti: "other", subject: "user-1", issuedAt: at - 1 }), true);
      assert.equal(await store.rotate("kept", at, sampleToken({ id: "kept 2", familyId: "kept" }), "sealed"), true);
      // Once more, and then with another one to keep, which an earlier call has ended.
      await store.revokeSubject("user-1", at + 1, at + 60_000, undefined, "kept");
      assert.deepEqual([await revoked(), await store.isRevoked(facts("kept"))], [["other"], false]);
      await store.revokeSubject("user-1", at + 2, at + 60_000, undefined, "other");
      assert.deepEqual(await revoked(), ["kept", "other"]);
      for (const name of ["kept", "other"]) assert.equal(await store.isRevoked(facts(name)), true, name);
      await store.revokeSubject("user-2", at, at + 60_000, undefined, "kept");
      assert.deepEqual(await revoked(), ["kept", "other", "foreign"]);
    }),

    testCase("of concurrent calls of revokeSubject with one family to keep, none ends it", async (store) => {
      const at = Date.now();
      for (const name of ["kept", "other"]) await store.insert(sampleToken({ id: name, familyId: name }));
      await Promise.all(
        Array.from({ length: 8 }, (_, index) =>
          store.revokeSubject("user-1", at + index, at + 60_000, undefined, "kept"),
        ),
      );
      assert.equal((await store.get("kept"))?.revokedAt, null);
      assert.notEqual((await store.get("other"))?.revokedAt, null);
    }),

    testCase("concurrent revokeSubject and rotate leave no valid token, whichever is first", async (store) => {
      for (let round = 0; round < 12; round += 1) {
        const familyId = `race-${round}`;
        const subject = `subject-${round}`;
        await store.insert(sampleToken({ id: `${familyId}-a`, familyId, subject }));
        const calls: (() => Promise<unknown>)[] = [
          () =>
            store.rotate(
              `${familyId}-a`,
              Date.now(),
              sampleToken({ id: `${familyId}-b`, familyId, subject }),
              "sealed",
            ),
          () => store.revokeSubject(subject, Date.now(), Date.now() + 60_000),
          () =>
            store.rotate(
              `${familyId}-b`,
              Date.now(),
              sampleToken({ id: `${familyId}-c`, familyId, subject }),
              "sealed",
            ),
        ];
        for (let turn = 0; turn < round % 3; turn += 1) calls.push(...calls.splice(0, 1));
        await Promise.all(calls.map((call) => call()));
        for (const id of ["a", "b", "c"])
          assert.notEqual((await store.get(`${familyId}-${id}`))?.revokedAt, null, `${familyId}-${id} is live`);
      }
    }),

    testCase("a family of many used tokens and a subject with many families are revoked completely", async (store) => {
      const at = Date.now();
      await store.insert(sampleToken({ id: "t0" }));
      for (let n = 0; n < 30; n += 1) await store.rotate(`t${n}`, at, sampleToken({ id: `t${n + 1}` }), "sealed");
      assert.equal(await store.revokeFamily("family-1", at), true);
      for (let n = 0; n <= 30; n += 1) assert.equal((await store.get(`t${n}`))?.revokedAt, at, `t${n}`);
      for (let n = 0; n < 30; n += 1)
        await store.insert(sampleToken({ id: `f${n}`, familyId: `f${n}`, subject: "user-2" }));
      await store.revokeSubject("user-2", at, at + 60_000);
      for (let n = 0; n < 30; n += 1) assert.equal((await store.get(`f${n}`))?.revokedAt, at, `f${n}`);
    }),

    testCase("revokeSubject accepts a subject without tokens, and a later log-in works", async (store) => {
      const at = Date.now();
      await store.revokeSubject("user-1", at, at + 60_000);
      await store.insert(sampleToken());
      assert.equal(await store.rotate("token-1", at, sampleToken({ id: "token-2" }), "sealed"), true);
    }),
  ];
}
