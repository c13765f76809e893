import type { StoredApiKey } from "../contracts.js";
import { endedByMark, expiringWith } from "../records.js";

/** A key and its successors. The revoked record may be removed, so the mark is kept here. */
interface Line {
  /** Stored keys that belong to the line or descend from it. */
  keys: number;
  endedAt: number | undefined;
  /** The expiry of the line, once it has been changed. */
  expiresAt: number | undefined;
}

/**
 * Lines of keys by `firstId`. A mark on a line ends its keys and every key made with one of them, whatever their
 * number. A line is kept as long as a stored key belongs to it or descends from it.
 */
export class KeyLines {
  readonly #lines = new Map<string, Line>();

  /** Call it for each key that is stored. */
  enter(key: StoredApiKey): void {
    for (const id of linesOf(key)) {
      const line = this.#lines.get(id);
      if (line !== undefined) line.keys += 1;
      // A parent line without stored keys has ended, and was removed.
      else
        this.#lines.set(id, { keys: 1, endedAt: id === key.firstId ? undefined : key.createdAt, expiresAt: undefined });
    }
  }

  /** Call it for each key that is removed. */
  leave(key: StoredApiKey): void {
    for (const id of linesOf(key)) {
      const line = this.#lines.get(id);
      if (line === undefined) continue;
      line.keys -= 1;
      if (line.keys === 0) this.#lines.delete(id);
    }
  }

  /** Whether the line exists and has no mark. */
  isAlive(firstId: string): boolean {
    const line = this.#lines.get(firstId);
    return line !== undefined && line.endedAt === undefined;
  }

  end(firstId: string, at: number): void {
    const line = this.#lines.get(firstId);
    if (line !== undefined) line.endedAt = at;
  }

  /** Keys of the line, and keys made with them, expire no later. Undefined: they expire when they say. */
  expire(firstId: string, at: number | undefined): void {
    const line = this.#lines.get(firstId);
    if (line !== undefined) line.expiresAt = at;
  }

  /** The key with the marks of its own line and of those it descends from. */
  withMark(key: StoredApiKey): StoredApiKey {
    let shown = key;
    for (const id of linesOf(key)) {
      const line = this.#lines.get(id);
      if (line !== undefined) shown = expiringWith(endedByMark(shown, line.endedAt), line.expiresAt);
    }
    return shown;
  }
}

function linesOf(key: StoredApiKey): string[] {
  return [...key.path, key.firstId];
}
