import { describe, expect, test, vi } from "vitest";
import { MemoryCredentialStore } from "../../../src/stores/memory/credential-store.js";
import { MemorySingleUseStore } from "../../../src/stores/memory/single-use-store.js";
import { recordId, sampleCredential, sampleRecord } from "../../../src/testing/credential-samples.js";
import { ManualClock } from "../../../src/testing/manual-clock.js";

const FULL = { code: "PORTCULLIS_STORE_FULL" };

/** How many reads and writes of maps, sets and pages of lists the work needs. */
async function steps(work: () => Promise<unknown>): Promise<number> {
  const spies = [
    vi.spyOn(Map.prototype, "get"),
    vi.spyOn(Map.prototype, "set"),
    vi.spyOn(Map.prototype, "has"),
    vi.spyOn(Map.prototype, "values"),
    vi.spyOn(Map.prototype, "entries"),
    vi.spyOn(Set.prototype, "has"),
    vi.spyOn(Set.prototype, "values"),
    vi.spyOn(Array.prototype, "at"),
    vi.spyOn(Array.prototype, "splice"),
  ];
  try {
    await work();
    return spies.reduce((sum, spy) => sum + spy.mock.calls.length, 0);
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

describe("credentials in memory", () => {
  const owned = (id: string, ownerId: string, expiresAt: number | null = null) =>
    sampleCredential({ id, ownerId, expiresAt });

  test("a full store rejects what adds one and stays as it is; changes that add none go on", async () => {
    const store = new MemoryCredentialStore({ maxCredentials: 2 });
    await store.change("a", { insert: [owned("a", "a")] });
    await store.change("b", { insert: [owned("b", "b")] });
    await expect(store.change("c", { insert: [owned("c", "c")] })).rejects.toMatchObject(FULL);
    const more = { insert: [owned("a2", "a"), owned("a3", "a")] };
    await expect(store.change("a", { remove: ["a"], ...more })).rejects.toMatchObject(FULL);
    expect(await store.listOf("a")).toEqual([owned("a", "a")]);
    expect(await store.addFailure("a")).toBe(3);
    expect(await store.change("a", { remove: ["a"], insert: [owned("a2", "a")] })).toBe(true);
    expect(await store.change("b", { update: [{ id: "b", version: 3, failures: 0 }] })).toBe(true);
    expect(store.size).toBe(2);
  });

  test("expired ones of anyone give way in a full store, the first to end first, and none in force", async () => {
    const clock = new ManualClock();
    const store = new MemoryCredentialStore({ maxCredentials: 4, clock });
    const at = clock.now();
    for (const [id, ends] of [
      ["late", at + 900],
      ["early", at + 100],
      ["never", null],
      ["next", at + 5000],
    ] as const)
      await store.change(id, { insert: [owned(id, id, ends)] });
    await expect(store.change("x", { insert: [owned("x", "x")] })).rejects.toMatchObject(FULL);
    clock.advance(1000);
    await store.change("x", { insert: [owned("x", "x")] });
    expect(await store.listOf("early")).toEqual([]);
    expect(await store.listOf("late")).toHaveLength(1);
    await expect(store.change("y", { insert: [owned("y1", "y"), owned("y2", "y")] })).rejects.toMatchObject(FULL);
    expect(await store.listOf("late")).toHaveLength(1);
    await store.change("y", { insert: [owned("y1", "y")] });
    await expect(store.change("z", { insert: [owned("z", "z")] })).rejects.toMatchObject(FULL);
    expect(await store.listOf("never")).toHaveLength(1);
    expect(await store.listOf("next")).toHaveLength(1);
  });

  test("what is removed or replaced leaves nothing behind", async () => {
    const store = new MemoryCredentialStore();
    for (let round = 0; round < 3; round += 1) {
      await store.change("a", { insert: [owned("a", "a", 1000), owned("b", "a", 2000)] });
      await store.change("a", { update: [{ id: "a", version: 3, expiresAt: 5000 }] });
      expect(await store.deleteExpired(2000)).toBe(1);
      expect(await store.change("a", { remove: ["a"] })).toBe(true);
      expect(store.size).toBe(0);
      expect(await store.find("totp", "name of a")).toBeUndefined();
      expect(await store.deleteExpired(Number.MAX_SAFE_INTEGER)).toBe(0);
    }
  });

  test("no method takes more steps with 20 000 persons than with 200, but for the search by end", async () => {
    const counts: number[][] = [];
    for (const persons of [200, 20_000]) {
      const store = new MemoryCredentialStore();
      for (let n = 0; n < persons; n += 1)
        await store.change(`p${n}`, { insert: [owned(`a${n}`, `p${n}`), owned(`b${n}`, `p${n}`, n + 1)] });
      counts.push([
        await steps(() => store.listOf("p7")),
        await steps(() => store.find("totp", "name of a7")),
        await steps(() => store.addFailure("a7")),
        await steps(() => store.advance("a7", Number.MAX_SAFE_INTEGER, 1)),
        await steps(() => store.clearFailures("a7")),
        await steps(() => store.change("p8", { remove: ["a8"], insert: [owned("c8", "p8")] })),
        await steps(() => store.change("p9", { update: [{ id: "a9", version: 3, failures: 0 }] })),
      ]);
      // A binary search: some ten steps more for a hundred times as many.
      const byEnd = await steps(() => store.change("p9", { insert: [owned("c9", "p9", persons / 2)] }));
      expect(byEnd).toBeLessThan(80);
      expect(await steps(() => store.deleteExpired(10))).toBeLessThan(400);
    }
    expect(counts[1]).toEqual(counts[0]);
    expect(Math.max(...(counts[1] ?? []))).toBeLessThan(60);
  });
});

describe("single-use records in memory", () => {
  test("a full store rejects; an expired record, or the person's own first to end, gives way", async () => {
    const clock = new ManualClock();
    const store = new MemorySingleUseStore({ maxRecords: 11, clock });
    const at = clock.now();
    const of = (name: string, ownerId: string, expiresAt: number) => sampleRecord(name, { ownerId, expiresAt });
    for (let n = 0; n < 10; n += 1) await store.put(of(`a${n}`, "ada", at + 5000 + n));
    await store.put(of("b", "bob", at + 1000));
    await expect(store.put(of("c", "carol", at + 5000))).rejects.toMatchObject(FULL);
    await store.put(of("a10", "ada", at + 6000));
    expect(await store.get("log-in", recordId("a0"), at)).toBeUndefined();
    expect(await store.get("log-in", recordId("b"), at)).toBeDefined();
    clock.advance(1000);
    await store.put(of("c", "carol", at + 5000));
    expect(store.size).toBe(11);
    await expect(store.put(of("d", "dan", at + 5000))).rejects.toMatchObject(FULL);
    expect(await store.deleteExpired(Number.MAX_SAFE_INTEGER)).toBe(11);
    expect(store.size).toBe(0);
    await store.put(of("a0", "ada", at));
  });

  test("no method takes more steps with 20 000 persons than with 200, but for the search by end", async () => {
    const counts: number[][] = [];
    for (const persons of [200, 20_000]) {
      const store = new MemorySingleUseStore();
      for (let n = 0; n < persons; n += 1) await store.put(sampleRecord(`r${n}`, { ownerId: `p${n}` }));
      counts.push([await steps(() => store.get("log-in", recordId("r7"), 1))]);
      expect(await steps(() => store.put(sampleRecord("new", { ownerId: "p7" })))).toBeLessThan(60);
      expect(await steps(() => store.take("log-in", recordId("r8"), 1))).toBeLessThan(60);
    }
    expect(counts[1]).toEqual(counts[0]);
  });
});
