import type { StoredApiKey } from "../contracts.js";
import { endedByMark } from "../records.js";

/** A key and its successors. The revoked record may be removed, so the mark is kept here. */
interface Line {
  /** Stored keys that belong to the line or descend from it. */
  keys: number;
  endedAt: number | undefined;
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
      else this.#lines.set(id, { keys: 1, endedAt: id === key.firstId ? undefined : key.createdAt });
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

  /** The key with the marks of its own line and of those it descends from. */
  withMark(key: StoredApiKey): StoredApiKey {
    const marked = linesOf(key).find((id) => this.#lines.get(id)?.endedAt !== undefined);
    return marked === undefined ? key : endedByMark(key, this.#lines.get(marked)?.endedAt);
  }
}

function linesOf(key: StoredApiKey): string[] {
  return [...key.path, key.firstId];
}
