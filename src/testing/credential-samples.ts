import assert from "node:assert/strict";
import type { CredentialStore, SingleUseRecord, StoredCredential } from "../stores/contracts.js";
import type { ConformanceCase } from "./conformance.js";

export type CredentialCase = (name: string, check: (store: CredentialStore) => Promise<void>) => ConformanceCase;

const DAY_MS = 86_400_000;

/** A credential that is confirmed and has been used. */
export function sampleCredential(changes: Partial<StoredCredential> = {}): StoredCredential {
  const id = changes.id ?? "credential-1";
  return {
    id,
    ownerId: "user-1",
    kind: "totp",
    name: `name of ${id}`,
    data: { label: "phone", nested: { list: [1, "two", null, true] } },
    createdAt: 1_767_225_600_000,
    confirmedAt: 1_767_225_700_000,
    usedAt: 1_767_225_800_000,
    expiresAt: null,
    counter: 58_907_526,
    failures: 2,
    version: 3,
    ...changes,
  };
}

/** A record in force. Its end lies after the machine's time, since a store may drop what has ended. */
export function sampleRecord(name: string, changes: Partial<SingleUseRecord> = {}): SingleUseRecord {
  return {
    id: recordId(name),
    kind: "log-in",
    ownerId: "user-1",
    data: { methods: [{ method: "pwd", at: 1_767_225_600_000 }], remember: false },
    expiresAt: Date.now() + DAY_MS,
    ...changes,
  };
}

/** An id of the length of a hash. */
export function recordId(name: string): string {
  return name.padEnd(43, "_");
}

/** Inserts credentials of their owners, each by a change of its own. */
export async function insertAll(store: CredentialStore, ...credentials: readonly StoredCredential[]): Promise<void> {
  for (const one of credentials) assert.equal(await store.change(one.ownerId, { insert: [one] }), true, one.id);
}
