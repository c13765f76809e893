import type { MethodTable } from "../forwarding.js";

/** A key that must be read afresh, by its id, or all keys of an owner. */
export interface KeyNotice {
  /** Whether `name` is a key or an owner. */
  readonly kind: "api-key" | "owner";
  /** The id of the key, or of the owner. */
  readonly name: string;
}

/** A change that every other process must know: an access token was denied, or API keys must be read afresh. */
export type Change =
  KeyNotice | { readonly kind: "token" | "family"; readonly name: string; readonly endsAt: number } | CutOff;

/**
 * Ends the credentials of a principal that are older than it: its access tokens ("subject"), or its sessions and those
 * in which it acts as another one ("principal").
 */
export interface CutOff {
  /** What it ends. */
  readonly kind: "subject" | "principal";
  /** The id of the principal. */
  readonly name: string;
  /** Credentials older than this are ended: milliseconds since the epoch. */
  readonly cutOff: number;
  /** When the last of them has expired by itself, in milliseconds since the epoch. */
  readonly endsAt: number;
  /** The one credential that it does not end: a session's handle, the family of a token, or the `jti` of one without. */
  readonly keep?: string;
}

/** A change that holds until a time. The change of an API key is over once a process has received it. */
export type Denial = Exclude<Change, KeyNotice>;

export function isKeyNotice(change: Change): change is KeyNotice {
  return change.kind === "api-key" || change.kind === "owner";
}

/** The changes between two positions of the change log. */
export interface ChangeBatch {
  /** The changes, oldest first. */
  readonly changes: readonly Change[];
  /** The position from which to continue. Opaque; only the source reads it. */
  readonly position: string;
  /**
   * The change log no longer reaches back to the requested position (it was lost, or trimmed): changes may be missing.
   */
  readonly gap: boolean;
}

/** A change log that processes share. */
export interface ChangeRecord {
  /** Returns every denial in force, and the position from which no later change is missed. */
  load(): Promise<ChangeBatch>;
  /** Returns the changes recorded after `position`; it may repeat changes that were returned before. */
  since(position: string): Promise<ChangeBatch>;
  /** Resolves when every process that reads the change log from now on finds the changes in it. */
  record(changes: readonly Change[]): Promise<void>;
  /** Records the changes that are missing in the change log: after a loss, from what the processes remember. */
  restore(changes: readonly Change[]): Promise<void>;
}

export const CHANGE_RECORD_METHODS: MethodTable<ChangeRecord> = {
  load: "required",
  since: "required",
  record: "required",
  restore: "required",
};

/** A change log, and further functions of its kind of store. */
export interface ChangeSource extends ChangeRecord {
  /** Names the kind of store in events and `describe()`. */
  readonly name: string;
  /**
   * Delivers changes sooner than polling does, but not reliably. Calls `onGap` when changes may have been lost. Returns
   * a function that unsubscribes.
   */
  watch?(listener: (changes: readonly Change[]) => void, onGap: () => void): Promise<() => Promise<void>>;
}

/** How key services in several processes notify each other of changed keys. */
export interface KeyChanges {
  /** Whether this process has read the change log recently enough to rely on its cache of keys. */
  readonly isCurrent: boolean;
  /** Resolves when every process has been notified, or will detect the change within its bound. */
  publish(change: KeyNotice): Promise<void>;
  /**
   * Calls `listener` with the key, or the owner of the keys, to read again from the store, or with undefined for all
   * keys. Returns a function that unsubscribes.
   */
  onKeyChange(listener: (change: KeyNotice | undefined) => void): () => void;
}

/** A change as one line of JSON. */
export function writeChange(change: Change): string {
  switch (change.kind) {
    case "api-key":
    case "owner":
      return JSON.stringify([change.kind, change.name]);
    case "token":
    case "family":
      return JSON.stringify([change.kind, change.name, change.endsAt]);
    case "subject":
    case "principal":
      return JSON.stringify([
        change.kind,
        change.name,
        change.endsAt,
        change.cutOff,
        ...(change.keep === undefined ? [] : [change.keep]),
      ]);
  }
}

/** `undefined` for a line of another version or another program. */
export function readChange(line: string): Change | undefined {
  let parts: unknown;
  try {
    parts = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (!Array.isArray(parts)) return undefined;
  const [kind, name, endsAt, cutOff, keep] = parts as unknown[];
  if (typeof name !== "string") return undefined;
  if (kind === "api-key" || kind === "owner") return { kind, name };
  if (typeof endsAt !== "number" || !Number.isSafeInteger(endsAt)) return undefined;
  if (kind === "token" || kind === "family") return { kind, name, endsAt };
  if (kind !== "subject" && kind !== "principal") return undefined;
  if (typeof cutOff !== "number" || !Number.isSafeInteger(cutOff)) return undefined;
  if (keep === undefined) return { kind, name, endsAt, cutOff };
  return typeof keep === "string" ? { kind, name, endsAt, cutOff, keep } : undefined;
}
