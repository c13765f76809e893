import assert from "node:assert/strict";
import type { StoredTokenFamily, TokenStore } from "../stores/contracts.js";
import { AWKWARD_TEXTS, type ConformanceCase, UNSTORABLE_TEXTS } from "./conformance.js";
import { sampleToken } from "./samples.js";
import type { TokenCase } from "./token-rotation-cases.js";

type Lister = TokenStore & Required<Pick<TokenStore, "familiesOf" | "findFamily">>;

/** The checks of the lists of families. A store without them passes. */
export function familyListCases(testCase: TokenCase): ConformanceCase[] {
  const listCase = (name: string, check: (store: Lister) => Promise<void>): ConformanceCase =>
    testCase(name, async (store) => {
      if (store.familiesOf !== undefined && store.findFamily !== undefined) await check(store as Lister);
    });
  const idsOf = async (store: Lister, subject: string, page: { limit: number; after?: string } = { limit: 100 }) =>
    (await store.familiesOf(subject, Date.now(), page)).map(({ id }) => id);
  const begin = (id: string, changes: Parameters<typeof sampleToken>[0] = {}) =>
    sampleToken({ id: `${id}-0`, familyId: id, ...changes });

  return [
    listCase("familiesOf and findFamily return what a family was begun with, and its last use", async (store) => {
      const first = begin("f1", { label: "phone" });
      const { issuedAt, familyExpiresAt } = first;
      await store.insert(first);
      const expected: StoredTokenFamily = {
        id: "f1",
        subject: "user-1",
        label: "phone",
        createdAt: issuedAt,
        lastUsedAt: issuedAt,
        expiresAt: first.expiresAt,
        endsAt: familyExpiresAt,
      };
      assert.deepEqual(await store.familiesOf("user-1", issuedAt, { limit: 10 }), [expected]);
      assert.deepEqual(await store.findFamily("f1"), expected);
      const usedAt = issuedAt + 5000;
      const next = begin("f1", { id: "f1-1", issuedAt: usedAt, expiresAt: first.expiresAt + 5000 });
      assert.equal(await store.rotate("f1-0", usedAt, { ...next, familyExpiresAt }, "sealed"), true);
      const used = { ...expected, lastUsedAt: usedAt, expiresAt: next.expiresAt };
      assert.deepEqual(await store.familiesOf("user-1", usedAt, { limit: 10 }), [used]);
      assert.deepEqual(await store.findFamily("f1"), used);
      // A use that lost the race changes nothing.
      assert.equal(await store.rotate("f1-0", usedAt + 9, begin("f1", { id: "f1-2" }), "sealed"), false);
      assert.deepEqual(await store.findFamily("f1"), used);
      assert.equal(Object.hasOwn((await store.get("f1-0")) ?? {}, "label"), false);
    }),

    listCase("familiesOf omits families that are revoked, cut off or expired; findFamily finds them", async (store) => {
      const at = Date.now();
      const all = ["revoked", "idle", "ended", "live"];
      await store.insert(begin("cut-off"));
      await store.revokeSubject("user-1", at, at + 60_000);
      await store.insert(begin("revoked"));
      await store.insert(begin("idle", { expiresAt: at + 1000 }));
      await store.insert(begin("ended", { familyExpiresAt: at + 1000 }));
      await store.insert(begin("live", { expiresAt: at + 60_000, familyExpiresAt: at + 60_000 }));
      assert.deepEqual(new Set(await idsOf(store, "user-1")), new Set(all));
      await store.revokeFamily("revoked", at);
      assert.deepEqual(await store.familiesOf("user-1", at + 1000, { limit: 10 }), [await store.findFamily("live")]);
      for (const id of [...all, "cut-off"]) assert.equal((await store.findFamily(id))?.id, id);
      await store.revokeSubject("user-1", at + 1, at + 60_000, undefined, "live");
      assert.deepEqual(await idsOf(store, "user-1"), ["live"]);
      await store.revokeSubject("user-1", at + 2, at + 60_000);
      assert.deepEqual(await idsOf(store, "user-1"), []);
    }),

    listCase("familiesOf gives pages, newest first, each family once", async (store) => {
      const at = Date.now();
      const ids: string[] = [];
      for (let n = 0; n < 25; n += 1) {
        // Some began in the same millisecond.
        const id = `family-${String(n).padStart(2, "0")}`;
        await store.insert(begin(id, { issuedAt: at + Math.floor(n / 3) }));
        ids.unshift(id);
      }
      await store.insert(begin("other", { subject: "user-2", issuedAt: at + 9 }));
      assert.deepEqual(await idsOf(store, "user-1"), ids);
      for (const limit of [1, 4, 25]) {
        const seen: string[] = [];
        for (let after: string | undefined; ; after = seen.at(-1)) {
          const page = await idsOf(store, "user-1", { limit, ...(after === undefined ? {} : { after }) });
          if (page.length === 0) break;
          seen.push(...page);
        }
        assert.deepEqual(seen, ids);
      }
      // A family that has ended is still a place in the list.
      await store.revokeFamily("family-12", at);
      assert.deepEqual(await idsOf(store, "user-1", { limit: 2, after: "family-12" }), ["family-11", "family-10"]);
      for (const after of ["other", "unknown", "", ...UNSTORABLE_TEXTS])
        assert.deepEqual(await idsOf(store, "user-1", { limit: 9, after }), []);
      for (const limit of [0, -1]) assert.deepEqual(await idsOf(store, "user-1", { limit }), []);
    }),

    listCase("subjects, ids and labels are compared and returned exactly", async (store) => {
      for (const [index, text] of AWKWARD_TEXTS.entries())
        await store.insert(begin(`${text}${index}`, { id: `${index}`, subject: text, label: text }));
      for (const [index, text] of AWKWARD_TEXTS.entries()) {
        const found = await store.familiesOf(text, Date.now(), { limit: 10 });
        assert.deepEqual(
          found.map(({ id, subject, label }) => [id, subject, label]),
          [[`${text}${index}`, text, text]],
        );
        assert.deepEqual(await store.findFamily(`${text}${index}`), found[0]);
      }
      for (const text of ["unknown", ...UNSTORABLE_TEXTS]) {
        assert.deepEqual(await idsOf(store, text), []);
        assert.equal(await store.findFamily(text), null);
      }
    }),
  ];
}
