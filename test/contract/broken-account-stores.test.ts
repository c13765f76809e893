import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { type ConformanceCase, credentialStoreConformance, singleUseStoreConformance } from "portcullis/testing";
import type { CredentialChange, SingleUseRecord, StoredCredential } from "../../src/stores/contracts.js";
import { MemoryCredentialStore } from "../../src/stores/memory/credential-store.js";
import { MemorySingleUseStore } from "../../src/stores/memory/single-use-store.js";

// As in broken-stores.test.ts: each store is wrong in one way, and its suite must say so.

async function failures(cases: readonly ConformanceCase[]): Promise<string[]> {
  const failed: string[] = [];
  for (const { name, run } of cases) await run().catch(() => failed.push(name));
  return failed;
}

/** Reads, and writes later: another call may have been between them. */
class RacingChange extends MemoryCredentialStore {
  override async change(ownerId: string, { remove = [], update = [], ...rest }: CredentialChange): Promise<boolean> {
    const own = await this.listOf(ownerId);
    const has = ({ id, version }: { readonly id: string; readonly version?: number }): boolean =>
      own.some((one) => one.id === id && (version === undefined || one.version === version));
    if (!remove.every((id) => has({ id })) || !update.every(has)) return false;
    await turn();
    const now = await this.listOf(ownerId);
    const versions = new Map(now.map(({ id, version }) => [id, version]));
    await super.change(ownerId, {
      ...rest,
      remove: remove.filter((id) => versions.has(id)),
      update: update.map((one) => ({ ...one, version: versions.get(one.id) ?? 0 })),
    });
    return true;
  }
}

class RacingStep extends MemoryCredentialStore {
  override async advance(id: string, counter: number, usedAt: number): Promise<boolean> {
    await turn();
    return (await super.advance(id, counter, usedAt)) || counter >= 0;
  }
}

class RacingFailure extends MemoryCredentialStore {
  #last = 0;

  override async addFailure(id: string): Promise<number | undefined> {
    const before = this.#last;
    await turn();
    this.#last = before + 1;
    const known = await super.addFailure(id);
    return known === undefined ? undefined : this.#last;
  }
}

/** Removes first, and finds out then that something else does not hold. */
class HalfAChange extends MemoryCredentialStore {
  override async change(ownerId: string, { remove = [], ...rest }: CredentialChange): Promise<boolean> {
    for (const id of remove) if (!(await super.change(ownerId, { remove: [id] }))) return false;
    return super.change(ownerId, rest);
  }
}

/** Compares names as a database does whose collation ignores spaces at the end. */
class IgnoresSpaces extends MemoryCredentialStore {
  override find(kind: string, name: string): Promise<StoredCredential | undefined> {
    return super.find(kind, name.trimEnd());
  }
}

class IgnoresCase extends MemoryCredentialStore {
  override find(kind: string, name: string): Promise<StoredCredential | undefined> {
    return super.find(kind, name.toLowerCase());
  }
}

class NeverExpires extends MemoryCredentialStore {
  override deleteExpired(): Promise<number> {
    return Promise.resolve(0);
  }
}

class KeepsFailures extends MemoryCredentialStore {
  override async clearFailures(): Promise<void> {}
}

class ForgetsDeadlines extends MemoryCredentialStore {
  override change(ownerId: string, change: CredentialChange): Promise<boolean> {
    return super.change(ownerId, change);
  }
}

test.each([
  [RacingChange, "of a hundred concurrent changes that remove one credential exactly one returns true"],
  [RacingChange, "of a hundred concurrent changes that update one version exactly one returns true"],
  [RacingStep, "of a hundred concurrent calls of advance with one value exactly one returns true"],
  [RacingStep, "advance: only to a higher value, sets usedAt, ends the failures and keeps the version"],
  [RacingFailure, "a hundred concurrent failures add a hundred, each with another number"],
  [HalfAChange, "change: when one condition does not hold it returns false, and nothing is changed"],
  [IgnoresSpaces, "listOf and find return every member as inserted, and nothing for others"],
  [IgnoresCase, "listOf and find return every member as inserted, and nothing for others"],
  [NeverExpires, "deleteExpired removes what has expired, and returns how many"],
  [KeepsFailures, "failures: counted one by one, taken back by clearFailures, and the version stays"],
  [ForgetsDeadlines, "a change past the deadline of its call commits nothing"],
])("the conformance suite fails a credential store that is broken: %o", async (Broken, name) => {
  expect(await failures(credentialStoreConformance(() => new Broken()))).toContain(name);
});

class TakesTwice extends MemorySingleUseStore {
  override async take(kind: string, id: string, now: number): Promise<SingleUseRecord | undefined> {
    const found = await this.get(kind, id, now);
    await turn();
    await super.take(kind, id, now);
    return found;
  }
}

class LivesOn extends MemorySingleUseStore {
  override get(kind: string, id: string): Promise<SingleUseRecord | undefined> {
    return super.get(kind, id, 0);
  }
}

class AnyKind extends MemorySingleUseStore {
  override get(_kind: string, id: string, now: number): Promise<SingleUseRecord | undefined> {
    return super.get("log-in", id, now);
  }
}

class Replaces extends MemorySingleUseStore {
  override async put(record: SingleUseRecord): Promise<void> {
    await super.take(record.kind, record.id, 0);
    return super.put(record);
  }
}

/** A share for all people together. */
class OneShare extends MemorySingleUseStore {
  override put(record: SingleUseRecord): Promise<void> {
    return super.put({ ...record, ownerId: "all" });
  }
}

test.each([
  [TakesTwice, "of a hundred concurrent calls of take exactly one gets the record"],
  [LivesOn, "at its end a record is gone for get and take"],
  [AnyKind, "a record of another kind or id is not found, and stays"],
  [Replaces, "put rejects an id that exists, and the first record stays"],
  [OneShare, "one more than ten of a person and kind ends the one that would end first, and no other's"],
])("the conformance suite fails a single-use store that is broken: %o", async (Broken, name) => {
  expect(await failures(singleUseStoreConformance(() => new Broken()))).toContain(name);
});
