import assert from "node:assert/strict";
import { SESSION_METADATA, type SessionMetadata } from "../stores/contracts.js";
import type { SessionTestCase } from "./asked-session-store.js";
import { AWKWARD_TEXTS, type ConformanceCase, countTrue } from "./conformance.js";

/** A session comes back as it was saved, and until its time. */
export function dataCases(testCase: SessionTestCase, grain: number): ConformanceCase[] {
  return [
    testCase("get returns what was saved, and null for an unknown id", async (store) => {
      const extra = {
        cart: ["a", { deep: [1, null, "ü\u0000\ud800"] }],
        constructor: 1,
        empty: {},
        big: "x".repeat(70_000),
      };
      assert.equal(await store.create("s", store.data("ada", extra)), true);
      const found = await store.get("s");
      assert.deepEqual({ ...found, cookie: undefined }, { ...store.data("ada", extra), cookie: undefined });
      for (const sid of ["S", "s ", "", "__proto__", "constructor", "*", "s*"])
        assert.equal(await store.get(sid), null, sid);
    }),

    testCase("changing an object that was passed in or returned does not change what is stored", async (store) => {
      const given = store.data(undefined, { cart: ["a"] });
      await store.create("s", given);
      (given as unknown as { cart: string[] }).cart.push("b");
      ((await store.get("s"))?.cart as string[]).push("c");
      assert.deepEqual((await store.get("s"))?.cart, ["a"]);
    }),

    testCase("each id has its own session, whatever the id looks like", async (store) => {
      const ids = [...AWKWARD_TEXTS.filter((text) => text !== ""), "{a}", "a:b", "a*"];
      for (const sid of ids) assert.equal(await store.create(sid, store.data("ada", { mine: sid })), true, sid);
      for (const sid of ids) assert.equal((await store.get(sid))?.mine, sid);
      assert.deepEqual(await store.ids("ada"), [...ids].sort());
      await store.destroy("upper");
      assert.equal((await store.get("UPPER"))?.mine, "UPPER");
    }),

    testCase("create writes a new session, replace an existing one, and set either", async (store) => {
      assert.equal(await store.replace("s", store.data(undefined, { n: 1 })), false);
      assert.equal(await store.get("s"), null);
      assert.equal(await store.create("s", store.data(undefined, { n: 2 })), true);
      assert.equal(await store.create("s", store.data(undefined, { n: 3 })), false);
      assert.equal((await store.get("s"))?.n, 2);
      assert.equal(await store.replace("s", store.data(undefined, { n: 4 })), true);
      assert.equal((await store.get("s"))?.n, 4);
      await store.set("s", store.data(undefined, { n: 5 }));
      await store.set("t", store.data(undefined, { n: 6 }));
      assert.deepEqual([(await store.get("s"))?.n, (await store.get("t"))?.n], [5, 6]);
    }),

    testCase("of twenty concurrent calls of create for one id exactly one returns true", async (store) => {
      assert.equal(
        await countTrue(20, async (index) => (await store.create("s", store.data(undefined, { index }))) === true),
        1,
      );
    }),

    testCase("a session ends when its cookie does, and its id can then be used again", async (store, elapse) => {
      await store.create("s", store.data("ada", {}, 2 * grain));
      await store.create("t", store.data("ada", {}, 60_000));
      assert.notEqual(await store.get("s"), null);
      await elapse(3 * grain + 5);
      assert.equal(await store.get("s"), null);
      assert.equal(await store.replace("s", store.data()), false);
      assert.equal(await store.touch("s", store.data()), false);
      assert.deepEqual(await store.ids("ada"), ["t"]);
      assert.equal(await store.create("s", store.data()), true);
    }),

    testCase("touch changes the end and seenAt, and no data", async (store, elapse) => {
      const life = 3 * grain + 20;
      await store.create("s", store.data("ada", { note: "saved" }, life));
      const createdAt = store.now();
      await elapse(2 * grain);
      assert.equal(await store.touch("s", store.data("ada", { note: "unsaved" }, life)), true);
      const touchedAt = store.now();
      await elapse(2 * grain + 20);
      const found = await store.get("s");
      assert.equal(found?.note, "saved");
      const metadata = (found as { [SESSION_METADATA]?: SessionMetadata })[SESSION_METADATA];
      assert.deepEqual([metadata?.createdAt, metadata?.seenAt, metadata?.principal?.id], [createdAt, touchedAt, "ada"]);
      assert.equal(new Date((found as { cookie: { expires: string } }).cookie.expires).getTime(), touchedAt + life);
      assert.deepEqual(await store.list("ada"), [
        { sid: "s", createdAt, seenAt: touchedAt, expiresAt: touchedAt + life },
      ]);
      assert.equal(await store.touch("unknown", store.data()), false);
      assert.equal(await store.get("unknown"), null);
    }),

    testCase("data that JSON cannot represent is an error, and the earlier data stays", async (store) => {
      const round: Record<string, unknown> = {};
      round.self = round;
      await store.create("s", store.data(undefined, { n: 1 }));
      await assert.rejects(store.replace("s", store.data(undefined, round)));
      assert.equal((await store.get("s"))?.n, 1);
    }),
  ];
}
