import { expect, test } from "vitest";
import { MemoryApiKeyStore } from "../../src/stores/memory/api-key-store.js";
import { MemoryTokenStore } from "../../src/stores/memory/token-store.js";
import { Denials } from "../../src/stores/denials.js";
import { ManualClock } from "../../src/testing/manual-clock.js";
import { sampleKey, sampleToken } from "../../src/testing/samples.js";

test("the memory key store is bounded: a full one rejects and stays as it is", async () => {
  const store = new MemoryApiKeyStore({ maxKeys: 2 });
  await store.insert(sampleKey({ id: "a" }));
  await store.insert(sampleKey({ id: "b" }));
  await expect(store.insert(sampleKey({ id: "c" }))).rejects.toThrow("The memory store holds its 2 API keys.");
  await expect(store.rotate("a", sampleKey({ id: "c" }), Number.MAX_SAFE_INTEGER)).rejects.toThrow("The memory store holds its 2 API keys.");
  expect(await store.get("a")).toEqual(sampleKey({ id: "a" }));
  expect(await store.get("c")).toBeUndefined();
});

test("the memory token store is bounded, and makes room by what has ended", async () => {
  const clock = new ManualClock();
  const store = new MemoryTokenStore({ clock, maxTokens: 3 });
  const end = clock.now() + 1000;
  const short = (id: string) => sampleToken({ id, familyId: id, expiresAt: end, familyExpiresAt: end });
  for (const id of ["a", "b", "c"]) await store.insert(short(id));
  await expect(store.insert(short("d"))).rejects.toThrow("The memory store holds its 3 refresh tokens.");
  clock.advance(1001);
  await store.insert(short("d"));
  expect(await store.get("d")).toBeDefined();
});

test("a rotation of a token that has just ended leaves no orphan", async () => {
  const clock = new ManualClock();
  const store = new MemoryTokenStore({ clock });
  await store.insert(sampleToken({ expiresAt: clock.now(), familyExpiresAt: clock.now() }));
  clock.advance(1);
  const later = { expiresAt: clock.now() + 1000, familyExpiresAt: clock.now() + 1000 };
  expect(await store.rotate("token-1", clock.now(), sampleToken({ id: "token-2", ...later }), "sealed")).toBe(false);
  expect(await store.get("token-1")).toBeUndefined();
  expect(await store.get("token-2")).toBeUndefined();
});

test("denials leave by themselves: their number follows those in force, without deleteExpired", () => {
  const denials = new Denials();
  const life = 1000;
  let most = 0;
  for (let now = 0; now < 20_000; now += 1) {
    denials.denyToken(`jti-${now}`, now + life, now);
    most = Math.max(most, denials.size);
    expect(denials.isRevoked({ jti: `jti-${Math.max(0, now - life)}`, subject: "s", issuedAt: 0 })).toBe(true);
  }
  expect(most).toBeLessThan(life * 2);
  denials.deleteExpired(19_999);
  expect(denials.size).toBe(life + 1);
});
