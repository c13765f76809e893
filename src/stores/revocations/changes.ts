/** What one process did and every other must know: an access token denied, or an API key to be read afresh. */
export type Change =
  | { readonly kind: "api-key"; readonly name: string }
  | { readonly kind: "token" | "family"; readonly name: string; readonly endsAt: number }
  | { readonly kind: "subject"; readonly name: string; readonly cutOff: number; readonly endsAt: number };

/** A change that holds until a time; an API key's is over once it has been heard. */
export type Denial = Exclude<Change, { kind: "api-key" }>;

/** What was recorded from one position of the record to another. */
export interface ChangeBatch {
  readonly changes: readonly Change[];
  /** Where to go on from. Opaque; the source alone reads it. */
  readonly position: string;
  /** The record no longer reaches back to the position asked for (it was lost, or trimmed): changes may be missing. */
  readonly gap: boolean;
}

/** A record of changes that processes share. */
export interface ChangeSource {
  /** Names the kind of store in events and `describe()`. */
  readonly name: string;
  /** Every denial in force, and the position from which nothing later is missed. */
  load(): Promise<ChangeBatch>;
  /** What was recorded after `position`; may repeat what was told before. */
  since(position: string): Promise<ChangeBatch>;
  /** Resolves when every process that reads the record from now on finds the changes in it. */
  record(changes: readonly Change[]): Promise<void>;
  /** Records what the record does not hold: after some of it was lost, from what the processes remember. */
  restore(changes: readonly Change[]): Promise<void>;
  /** Told of changes sooner than by asking, when all goes well; `onGap` when some may not have come. Gives what ends it. */
  watch?(listener: (changes: readonly Change[]) => void, onGap: () => void): Promise<() => Promise<void>>;
}

/** A change as one line of JSON. */
export function writeChange(change: Change): string {
  switch (change.kind) {
    case "api-key":
      return JSON.stringify([change.kind, change.name]);
    case "token":
    case "family":
      return JSON.stringify([change.kind, change.name, change.endsAt]);
    case "subject":
      return JSON.stringify([change.kind, change.name, change.endsAt, change.cutOff]);
  }
}

/** `undefined` for a line of another version, or of somebody else. */
export function readChange(line: string): Change | undefined {
  let parts: unknown;
  try {
    parts = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (!Array.isArray(parts)) return undefined;
  const [kind, name, endsAt, cutOff] = parts as unknown[];
  if (typeof name !== "string") return undefined;
  if (kind === "api-key") return { kind, name };
  if (typeof endsAt !== "number" || !Number.isSafeInteger(endsAt)) return undefined;
  if (kind === "token" || kind === "family") return { kind, name, endsAt };
  return kind === "subject" && typeof cutOff === "number" && Number.isSafeInteger(cutOff)
    ? { kind, name, endsAt, cutOff }
    : undefined;
}
