import { describe, expect, it } from "vitest";
import { callerFor, type StoreCaller } from "../../../src/core/store-caller.js";
import { GuardedKeyStore } from "../../../src/api-key/management/guarded-store.js";
import { createRuntime } from "../../../src/core/runtime.js";
import type { ApiKeyStore } from "../../../src/stores/contracts.js";
import { StoreUnavailableError } from "../../../src/stores/health/store-guard.js";
import { MemoryApiKeyStore } from "../../../src/stores/memory/api-key-store.js";

/** A store for a contract with two methods that `ApiKeyStore` does not have. */
class LargerStore extends MemoryApiKeyStore {
  readonly #labels = new Map<string, string>();
  failure: Error | undefined;

  async labelOf(id: string): Promise<string | undefined> {
    if (this.failure !== undefined) throw this.failure;
    return this.#labels.get(id);
  }

  async setLabel(id: string, label: string): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    this.#labels.set(id, label);
  }
}

const larger = (store: ApiKeyStore): LargerStore => store as LargerStore;
const caller = (): StoreCaller => callerFor("k1");

describe("GuardedKeyStore with a contract that has more methods", () => {
  const store = new LargerStore();
  const guarded = new GuardedKeyStore(store, createRuntime(), 250);
  const setLabel = (): Promise<void> => guarded.write((keys) => larger(keys).setLabel("k1", "CI"), caller());
  const labelOf = (): Promise<string | undefined> => guarded.read((keys) => larger(keys).labelOf("k1"), caller());

  it("a new write and a new read reach the store, and their results the caller", async () => {
    await setLabel();
    expect(await labelOf()).toBe("CI");
  });

  it("a failure of either is a StoreUnavailableError", async () => {
    store.failure = new Error("connection lost");
    await expect(setLabel()).rejects.toBeInstanceOf(StoreUnavailableError);
    await expect(labelOf()).rejects.toBeInstanceOf(StoreUnavailableError);
  });
});
