import { deepFreeze } from "../../core/deep-freeze.js";
import type { CredentialChange, CredentialStore, StoredCredential } from "../contracts.js";

/** Keeps credentials in this process. */
export class MemoryCredentialStore implements CredentialStore {
  readonly #byId = new Map<string, StoredCredential>();

  async init(): Promise<void> {}

  async listOf(ownerId: string): Promise<readonly StoredCredential[]> {
    return [...this.#byId.values()].filter((one) => one.ownerId === ownerId);
  }

  async find(kind: string, name: string): Promise<StoredCredential | undefined> {
    return [...this.#byId.values()].find((one) => one.kind === kind && one.name === name);
  }

  async change(ownerId: string, change: CredentialChange): Promise<boolean> {
    const after = new Map(this.#byId);
    for (const id of change.remove ?? []) {
      if (after.get(id)?.ownerId !== ownerId) return false;
      after.delete(id);
    }
    for (const [id, one] of after)
      if (one.ownerId === ownerId && change.removeKinds?.includes(one.kind) === true) after.delete(id);
    for (const { id, version, ...members } of change.update ?? []) {
      const found = after.get(id);
      if (found?.ownerId !== ownerId || found.version !== version) return false;
      after.set(id, deepFreeze(structuredClone({ ...found, ...members, version: version + 1 })));
    }
    for (const one of change.insert ?? []) {
      if (after.has(one.id) || [...after.values()].some(({ kind, name }) => kind === one.kind && name === one.name))
        return false;
      after.set(one.id, deepFreeze(structuredClone(one)));
    }
    this.#byId.clear();
    for (const [id, one] of after) this.#byId.set(id, one);
    return true;
  }

  async advance(id: string, counter: number, usedAt: number): Promise<boolean> {
    const found = this.#byId.get(id);
    if (found === undefined || found.counter >= counter) return false;
    this.#byId.set(id, Object.freeze({ ...found, counter, usedAt, failures: 0 }));
    return true;
  }

  async addFailure(id: string): Promise<number | undefined> {
    const found = this.#byId.get(id);
    if (found === undefined) return undefined;
    this.#byId.set(id, Object.freeze({ ...found, failures: found.failures + 1 }));
    return found.failures + 1;
  }

  async clearFailures(id: string): Promise<void> {
    const found = this.#byId.get(id);
    if (found !== undefined) this.#byId.set(id, Object.freeze({ ...found, failures: 0 }));
  }

  async deleteExpired(now: number): Promise<number> {
    const before = this.#byId.size;
    for (const [id, { expiresAt }] of this.#byId) if (expiresAt !== null && expiresAt <= now) this.#byId.delete(id);
    return before - this.#byId.size;
  }

  async close(): Promise<void> {}
}
