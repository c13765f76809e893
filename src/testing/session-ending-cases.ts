import assert from "node:assert/strict";
import type { SessionTestCase } from "./asked-session-store.js";
import { SESSION_METADATA } from "../stores/contracts.js";
import type { ConformanceCase } from "./conformance.js";

/** What was ended stays ended, whatever else is under way. */
export function endingCases(testCase: SessionTestCase): ConformanceCase[] {
  return [
    testCase("a destroyed session stays destroyed, whatever is written or touched later", async (store) => {
      await store.create("s", store.data("ada"));
      await store.destroy("s");
      assert.equal(await store.get("s"), null);
      assert.equal(await store.replace("s", store.data("ada")), false);
      assert.equal(await store.touch("s", store.data("ada")), false);
      assert.equal(await store.create("s", store.data("ada")), false);
      // express-session's own way of saving, which knows no difference.
      await store.set("s", store.data("ada"));
      assert.equal(await store.get("s"), null);
      assert.deepEqual(await store.ids("ada"), []);
      await store.destroy("s");
      assert.equal(await store.get("s"), null);
    }),

    testCase("an id can be ended before its session is created", async (store) => {
      await store.destroy("s");
      assert.equal(await store.create("s", store.data("ada")), false);
      assert.equal(await store.get("s"), null);
    }),

    testCase(
      "destroy returns true to one of twenty concurrent callers, and false for a session that had ended",
      async (store) => {
        await store.create("s", store.data("ada"));
        const answers = await Promise.all(Array.from({ length: 20 }, () => store.destroy("s")));
        assert.equal(answers.filter((found) => found === true).length, 1);
        assert.equal(answers.filter((found) => found === false).length, 19);
        assert.equal(await store.destroy("s"), false);
      },
    ),

    testCase(
      "destroy concurrent with twenty saves and touches: the session does not exist when all are done",
      async (store) => {
        for (let round = 0; round < 5; round += 1) {
          const sid = `s${round}`;
          await store.create(sid, store.data("ada"));
          await Promise.all(
            Array.from({ length: 20 }, (_, index) => {
              if (index === 7) return store.destroy(sid);
              if (index % 3 === 0) return store.touch(sid, store.data("ada"));
              return index % 3 === 1
                ? store.replace(sid, store.data("ada", { index }))
                : store.set(sid, store.data("ada", { index }));
            }),
          );
          assert.equal(await store.get(sid), null);
        }
        assert.deepEqual(await store.ids("ada"), []);
      },
    ),
  ];
}

/** Listing and ending the sessions of one principal. */
export function principalCases(testCase: SessionTestCase, grain: number, most: number): ConformanceCase[] {
  return [
    testCase("the sessions of a principal are listed, and no others", async (store) => {
      const owners = ["ada", "Ada", "ada ", "__proto__", "日本語", "*", "a:b", "{x}", "\ud800"];
      for (const [index, owner] of owners.entries()) {
        await store.create(`${index}-1`, store.data(owner));
        await store.create(`${index}-2`, store.data(owner));
      }
      await store.create("nobody", store.data());
      for (const [index, owner] of owners.entries())
        assert.deepEqual(await store.ids(owner), [`${index}-1`, `${index}-2`], owner);
      assert.deepEqual(await store.ids("unknown"), []);
    }),

    testCase(
      "a list shows the label, the actor and the idle time-out of a session that has them",
      async (store, elapse) => {
        const plain = store.data("ada");
        const metadata = {
          createdAt: store.now(),
          seenAt: store.now(),
          principal: { id: "ada", scopes: [], roles: [], actor: { id: "eve ☃" } },
          maxAgeMs: 120_000,
          label: 'Café "Ω"',
        };
        await store.create("plain", plain);
        await store.create("own", { ...store.data("ada", {}, 120_000), [SESSION_METADATA]: metadata } as typeof plain);
        const times = (lifeMs: number): object => ({
          createdAt: store.now(),
          seenAt: store.now(),
          expiresAt: store.now() + lifeMs,
        });
        const expected = [
          { sid: "own", ...times(120_000), label: 'Café "Ω"', actor: { id: "eve ☃" }, maxAgeMs: 120_000 },
          { sid: "plain", ...times(60_000) },
        ];
        assert.deepEqual(await store.listed("ada"), expected);
        await elapse(1000);
        const seenAt = store.now();
        const later = { ...store.data("ada", {}, 120_000), [SESSION_METADATA]: { ...metadata, seenAt } };
        assert.equal(await store.touch("own", later as typeof plain), true);
        const [own] = await store.listed("ada");
        assert.deepEqual(own, { ...expected[0], seenAt, expiresAt: seenAt + 120_000 });
      },
    ),

    testCase(
      "the sessions of a principal are ended by their ids and counted, and no others are ended",
      async (store) => {
        for (const sid of ["a", "b", "c"]) await store.create(sid, store.data("ada"));
        await store.create("d", store.data("bob"));
        assert.deepEqual(await store.idsBefore("ada", 0), ["a", "b", "c"]);
        assert.equal(await store.endAll("ada"), 3);
        assert.deepEqual([await store.ids("ada"), await store.ids("bob")], [[], ["d"]]);
        assert.deepEqual(await store.idsBefore("ada", 0), []);
        assert.deepEqual([await store.get("a"), await store.get("c")], [null, null]);
        assert.equal(await store.replace("a", store.data("ada")), false);
        assert.equal(await store.endAll("ada"), 0);
        assert.equal(await store.create("e", store.data("ada")), true);
        assert.deepEqual(await store.ids("ada"), ["e"]);
      },
    ),

    testCase(
      "idsByPrincipal returns the sessions that began before a moment, and none that began after it",
      async (store, elapse) => {
        await store.create("before", store.data("ada"));
        await elapse(2000);
        await store.create("after", store.data("ada"));
        // A save and a touch do not make a session younger.
        await store.replace("before", store.data("ada", { n: 1 }));
        await store.touch("before", store.data("ada"));
        await elapse(1);
        assert.deepEqual(await store.idsBefore("ada", 1000), ["before"]);
        assert.deepEqual(await store.idsBefore("ada", 0), ["after", "before"]);
        assert.deepEqual(await store.idsBefore("ada", 3_600_000), []);
      },
    ),

    testCase("a principal who logs in again and again has a bounded number of sessions", async (store) => {
      const sids = Array.from({ length: most + 60 }, (_, n) => `s${n}`);
      await store.create("other", store.data("bob"));
      for (let from = 0; from < sids.length; from += 20)
        await Promise.all(sids.slice(from, from + 20).map((sid) => store.create(sid, store.data("ada"))));
      await store.create("last", store.data("ada", {}, 120_000));
      const listed = await store.ids("ada");
      assert.ok(listed.length >= 1 && listed.length <= most, `${listed.length} sessions`);
      assert.deepEqual(await store.idsBefore("ada", 0), listed);
      // The latest is among them, and what gave way has ended.
      assert.ok(listed.includes("last"));
      const found = await Promise.all(sids.map((sid) => store.get(sid)));
      for (const [n, sid] of sids.entries()) assert.equal(found[n] !== null, listed.includes(sid), sid);
      assert.notEqual(await store.get("other"), null);
      assert.equal(await store.endAll("ada"), listed.length);
    }),

    testCase(
      "ending all sessions during saves and log-ins: sessions that were not ended are listed and can be ended",
      async (store) => {
        for (let round = 0; round < 5; round += 1) {
          const owner = `owner-${round}`;
          for (let n = 0; n < 5; n += 1) await store.create(`${owner}-${n}`, store.data(owner));
          await Promise.all([
            ...Array.from({ length: 5 }, (_, n) => store.replace(`${owner}-${n}`, store.data(owner, { n }))),
            store.endAll(owner),
            ...Array.from({ length: 5 }, (_, n) => store.create(`${owner}-new-${n}`, store.data(owner))),
          ]);
          for (let n = 0; n < 5; n += 1) assert.equal(await store.get(`${owner}-${n}`), null);
          // A session in force is never one that the listing does not show.
          const listed = await store.ids(owner);
          for (let n = 0; n < 5; n += 1) {
            const sid = `${owner}-new-${n}`;
            assert.equal((await store.get(sid)) !== null, listed.includes(sid), sid);
          }
        }
      },
    ),

    testCase("a session that was replaced and touched is still listed after its first end", async (store, elapse) => {
      const life = 2 * grain + 20;
      await store.create("s", store.data("ada", {}, life));
      await elapse(grain);
      await store.replace("s", store.data("ada", {}, life));
      await elapse(grain);
      await store.touch("s", store.data("ada", {}, life));
      await elapse(grain + 20);
      assert.deepEqual(await store.ids("ada"), ["s"]);
      assert.equal(await store.endAll("ada"), 1);
    }),
  ];
}
