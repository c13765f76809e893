import type { Entry } from "./session-entry.js";
import { shareOf } from "./share.js";

/** A principal never has more places than this, so that listing its sessions stays cheap. */
const LARGEST_SHARE = 1000;

/**
 * The sessions in memory, by id and by principal, in two queues: the anonymous ones and those of a principal. Maps keep
 * insertion order and a touched session moves to the end, so the first of a queue is the one idle for longest.
 */
export class SessionEntries {
  readonly #maxSessions: number;
  readonly #maxOfPrincipal: number;
  readonly #onExpired: (sid: string, entry: Entry) => void;
  readonly #anonymous = new Map<string, Entry>();
  readonly #owned = new Map<string, Entry>();
  readonly #byPrincipal = new Map<string, Set<string>>();
  #cursor: Iterator<[string, Entry]> | undefined;
  #sweepOwned = false;

  /** @param onExpired called with a session that was removed because its time is over */
  constructor(maxSessions: number, onExpired: (sid: string, entry: Entry) => void) {
    this.#maxSessions = maxSessions;
    this.#maxOfPrincipal = Math.min(LARGEST_SHARE, shareOf(maxSessions));
    this.#onExpired = onExpired;
  }

  get size(): number {
    return this.#anonymous.size + this.#owned.size;
  }

  get(sid: string): Entry | undefined {
    return this.#owned.get(sid) ?? this.#anonymous.get(sid);
  }

  /** All sessions, the anonymous ones first. */
  *all(): Generator<[string, Entry]> {
    yield* this.#anonymous;
    yield* this.#owned;
  }

  /** The ids of a principal's sessions, the one idle for longest first. */
  idsOf(principalId: string): string[] {
    return [...(this.#byPrincipal.get(principalId) ?? [])];
  }

  add(sid: string, entry: Entry): void {
    if (entry.principalId === undefined) {
      this.#anonymous.set(sid, entry);
      return;
    }
    this.#owned.set(sid, entry);
    const sids = this.#byPrincipal.get(entry.principalId);
    if (sids === undefined) this.#byPrincipal.set(entry.principalId, new Set([sid]));
    else sids.add(sid);
  }

  remove(sid: string): void {
    if (this.#anonymous.delete(sid)) return;
    const entry = this.#owned.get(sid);
    if (entry?.principalId === undefined) return;
    this.#owned.delete(sid);
    const sids = this.#byPrincipal.get(entry.principalId);
    sids?.delete(sid);
    if (sids?.size === 0) this.#byPrincipal.delete(entry.principalId);
  }

  expire(sid: string, entry: Entry): void {
    this.remove(sid);
    this.#onExpired(sid, entry);
  }

  clear(): void {
    this.#anonymous.clear();
    this.#owned.clear();
    this.#byPrincipal.clear();
  }

  /**
   * Makes room for a session. Constant work: it looks only at the first entry of each queue, so a flood cannot turn
   * every save into a search. Returns false when there is no room.
   */
  makeRoom(principalId: string | undefined, now: number): boolean {
    const sids = principalId === undefined ? undefined : this.#byPrincipal.get(principalId);
    const [own] = sids ?? [];
    if (own !== undefined && (sids?.size ?? 0) >= this.#maxOfPrincipal) this.remove(own);
    if (this.size < this.#maxSessions) return true;
    const [oldestOwned] = this.#owned;
    if (oldestOwned !== undefined && oldestOwned[1].expiresAt <= now) {
      this.expire(...oldestOwned);
      return true;
    }
    const [oldestAnonymous] = this.#anonymous;
    if (oldestAnonymous !== undefined) {
      if (oldestAnonymous[1].expiresAt <= now) this.expire(...oldestAnonymous);
      else this.remove(oldestAnonymous[0]);
      return true;
    }
    if (own === undefined) return false;
    this.remove(own);
    return true;
  }

  /** Checks up to `count` sessions, continuing where the last round stopped, and removes the expired ones. */
  prune(count: number, now: number): void {
    for (let seen = 0; seen < count; seen += 1) {
      this.#cursor ??= (this.#sweepOwned ? this.#owned : this.#anonymous).entries();
      const step = this.#cursor.next();
      if (step.done === true) {
        this.#cursor = undefined;
        this.#sweepOwned = !this.#sweepOwned;
        if (!this.#sweepOwned) break;
        continue;
      }
      const [sid, entry] = step.value;
      if (entry.expiresAt <= now) this.expire(sid, entry);
    }
  }
}
