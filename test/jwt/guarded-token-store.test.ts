import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { callerFor } from "../../src/core/store-caller.js";
import { createRuntime } from "../../src/core/runtime.js";
import { GuardedTokenStore } from "../../src/jwt/guarded-token-store.js";
import type { TokenStore } from "../../src/stores/contracts.js";
import { StoreTime } from "../../src/stores/health/store-time.js";
import type { WriteCall } from "../../src/stores/health/write-call.js";
import { MemoryTokenStore } from "../../src/stores/memory/token-store.js";
import { codeOf } from "./support.js";

/** A store for a contract with three methods that `TokenStore` does not have. */
class LargerStore extends MemoryTokenStore {
  readonly devices = new Map<string, string>();
  /** The calls of `revokeDevice`: whether each was a retry. */
  readonly revocations: boolean[] = [];
  failure: Error | undefined;

  async deviceOf(id: string): Promise<string | undefined> {
    if (this.failure !== undefined) throw this.failure;
    return this.devices.get(id);
  }

  async addDevice(id: string, subject: string, call: WriteCall): Promise<boolean> {
    if (this.failure !== undefined) throw this.failure;
    if (!call.beginCommit()) return false;
    this.devices.set(id, subject);
    call.commitEnded();
    return true;
  }

  async revokeDevice(id: string, isRepeated: boolean): Promise<boolean> {
    this.revocations.push(isRepeated);
    if (this.failure !== undefined) throw this.failure;
    return this.devices.delete(id);
  }
}

const larger = (store: TokenStore): LargerStore => store as LargerStore;
const time = (): StoreTime => new StoreTime(250);

describe("GuardedTokenStore with a contract that has more methods", () => {
  let store: LargerStore;
  let guarded: GuardedTokenStore;
  beforeEach(() => {
    store = new LargerStore();
    guarded = new GuardedTokenStore(store, createRuntime(), 250);
  });
  afterEach(() => guarded.close());

  const addDevice = (): Promise<boolean> =>
    guarded.write(
      (tokens, call) => larger(tokens).addDevice("phone", "ada", call),
      () => undefined,
      undefined,
      callerFor("phone"),
    );
  const deviceOf = (): Promise<string | undefined> =>
    guarded.read((tokens) => larger(tokens).deviceOf("phone"), time(), callerFor("phone"));
  const revokeDevice = (doneLater?: () => void): Promise<boolean> =>
    guarded.revoke(
      "device phone",
      (tokens, isRepeated) => larger(tokens).revokeDevice("phone", isRepeated),
      time(),
      doneLater,
    );

  it("a new write and a new read reach the store, and their results the caller", async () => {
    expect(await addDevice()).toBe(true);
    expect(await deviceOf()).toBe("ada");
  });

  it("a failure of either is a TokenError with the code store-unavailable", async () => {
    store.failure = new Error("connection lost");
    expect(await codeOf(addDevice())).toBe("store-unavailable");
    expect(await codeOf(deviceOf())).toBe("store-unavailable");
  });

  it("a new revocation reaches the store once when the store accepts it", async () => {
    await addDevice();
    expect(await revokeDevice()).toBe(true);
    expect(store.revocations).toEqual([false]);
  });

  it("a new revocation that failed is retried until the store has it", async () => {
    await addDevice();
    store.failure = new Error("connection lost");
    const done = new Promise<void>((resolve) => void revokeDevice(resolve).catch(() => undefined));
    await expect.poll(() => store.revocations).toEqual([false]);
    store.failure = undefined;
    await done;
    expect(store.revocations).toEqual([false, true]);
    expect(store.devices.size).toBe(0);
  });

  it("a second, successful call of a new revocation replaces the retry of the first", async () => {
    await addDevice();
    store.failure = new Error("connection lost");
    expect(await codeOf(revokeDevice())).toBe("store-unavailable");
    store.failure = undefined;
    expect(await revokeDevice()).toBe(true);
    // The device registers again. The retry would be due within 500 ms and would remove it.
    await addDevice();
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(store.revocations).toEqual([false, false]);
    expect(await deviceOf()).toBe("ada");
  });
});
