import { InvalidInputError } from "../../core/portcullis-error.js";
import session from "express-session";
import { LRUCache } from "lru-cache";
import { systemClock, type Clock } from "../../core/clock.js";
import type { PrincipalSession, SessionStore } from "../contracts.js";
import { expiryOf, revive, type Data, type Entry } from "./session-entry.js";
import { ENDED_IDS, ENDED_MS, SESSION_METADATA, SessionStoreFullError } from "../session-record.js";

/** Settings of a `MemorySessionStore`. */
export interface MemorySessionStoreSettings {
  /** How many sessions are kept at most. Default 100 000. */
  readonly maxSessions?: number;
  /** The time, for tests. Default: the clock of the machine. */
  readonly clock?: Clock;
}

type Done = (error?: unknown) => void;
type Answer = (error: unknown, done?: boolean) => void;

const PRUNE_EVERY_MS = 5_000;
/**
 * A principal has a hundredth of the places, though never fewer than ten and never more than a thousand: one account
 * must not exclude the others, and listing its sessions must stay cheap.
 */
const SHARE = 0.01;
const LEAST_SHARE = 10;
const LARGEST_SHARE = 1000;
/** Sessions checked per round: about a millisecond of work. */
const PRUNE_SLICE = 5_000;

/**
 * An express-session store in this process's memory: bounded, indexed by principal, and self-cleaning
 * (express-session's own MemoryStore keeps abandoned sessions for ever). Sessions are kept as JSON, so that a change
 * without a save does not leak. Callbacks are called synchronously.
 *
 * When it is full, it removes in this order: an expired session, the anonymous session idle for longest, then the
 * longest idle session of the same principal. A session never makes room for one of another principal, so a flood of
 * visitors cannot log users out. When there is no room for a session, it is refused with `SessionStoreFullError`. A
 * principal with a hundredth of all places (at least ten, at most a thousand) always makes room with a session of its
 * own, so one account cannot fill the store.
 *
 * Emits "expired" with the sid and the times of the session's metadata whenever a session ends by its time.
 *
 * @example
 * ```ts
 * import express from "express";
 * import { MemorySessionStore, sessions } from "portcullis";
 *
 * const app = express();
 * app.use(sessions({ secret: process.env.SESSION_SECRET_KEY, store: new MemorySessionStore({ maxSessions: 10_000 }) }));
 * ```
 */
export class MemorySessionStore extends session.Store implements SessionStore {
  readonly #maxSessions: number;
  readonly #maxOfPrincipal: number;
  readonly #clock: Clock;
  // Maps keep insertion order. A touched session moves to the end, so the first is the one idle for longest.
  readonly #anonymous = new Map<string, Entry>();
  readonly #owned = new Map<string, Entry>();
  readonly #byPrincipal = new Map<string, Set<string>>();
  readonly #ended = new LRUCache<string, true>({ max: ENDED_IDS, ttl: ENDED_MS });
  #timer: NodeJS.Timeout | undefined;
  #cursor: Iterator<[string, Entry]> | undefined;
  #sweepOwned = false;

  /** @throws InvalidInputError when `maxSessions` is not a positive whole number */
  constructor({ maxSessions = 100_000, clock = systemClock }: MemorySessionStoreSettings = {}) {
    super();
    if (!Number.isSafeInteger(maxSessions) || maxSessions < 1)
      throw new InvalidInputError("maxSessions must be a whole number of at least 1");
    this.#maxSessions = maxSessions;
    this.#maxOfPrincipal = Math.min(LARGEST_SHARE, Math.max(LEAST_SHARE, Math.floor(maxSessions * SHARE)));
    this.#clock = clock;
  }

  /** Sessions stored, including expired ones that are not yet pruned. */
  get size(): number {
    return this.#anonymous.size + this.#owned.size;
  }

  override get(sid: string, callback: (error: unknown, data?: session.SessionData | null) => void): void {
    const entry = this.#live(sid);
    callback(null, entry === undefined ? null : revive(entry));
  }

  override set(sid: string, data: session.SessionData, callback?: Done): void {
    if (this.#ended.has(sid)) callback?.();
    else this.#write(sid, data, (error) => (error == null ? callback?.() : callback?.(error)));
  }

  create(sid: string, data: session.SessionData, callback: Answer): void {
    if (this.#ended.has(sid) || this.#live(sid) !== undefined) callback(null, false);
    else this.#write(sid, data, callback);
  }

  replace(sid: string, data: session.SessionData, callback: Answer): void {
    if (this.#live(sid) === undefined) callback(null, false);
    else this.#write(sid, data, callback);
  }

  /** Moves a session's end and `seenAt`; its data stays as saved. An unknown id stays unknown. */
  override touch(sid: string, data: session.SessionData, callback?: Answer): void {
    const entry = this.#live(sid);
    if (entry !== undefined) {
      const now = this.#clock.now();
      this.#remove(sid);
      entry.expiresAt = expiryOf(data, now);
      entry.seenAt = (data as Data)[SESSION_METADATA]?.seenAt ?? now;
      this.#add(sid, entry);
    }
    callback?.(null, entry !== undefined);
  }

  override destroy(sid: string, callback?: Answer): void {
    const wasDestroyed = this.#ended.has(sid);
    const entry = this.#owned.get(sid) ?? this.#anonymous.get(sid);
    const isExpired = entry !== undefined && entry.expiresAt <= this.#clock.now();
    this.#end(sid);
    // Do not report a session that made room for another: no caller has ended it.
    callback?.(null, !wasDestroyed && !isExpired);
  }

  override all(callback: (error: unknown, sessions?: Record<string, session.SessionData> | null) => void): void {
    const sessions: [string, session.SessionData][] = [];
    const now = this.#clock.now();
    for (const map of [this.#anonymous, this.#owned]) {
      for (const [sid, entry] of map) if (entry.expiresAt > now) sessions.push([sid, revive(entry)]);
    }
    callback(null, Object.fromEntries(sessions));
  }

  override length(callback: (error: unknown, length?: number) => void): void {
    this.all((error, sessions) => callback(error, Object.keys(sessions ?? {}).length));
  }

  override clear(callback?: Done): void {
    this.#anonymous.clear();
    this.#owned.clear();
    this.#byPrincipal.clear();
    callback?.();
  }

  /** The principal's sessions, the one idle for longest first. */
  listByPrincipal(principalId: string): PrincipalSession[] {
    const found: PrincipalSession[] = [];
    for (const sid of [...(this.#byPrincipal.get(principalId) ?? [])]) {
      const entry = this.#live(sid);
      if (entry !== undefined)
        found.push({ sid, createdAt: entry.createdAt, seenAt: entry.seenAt, expiresAt: entry.expiresAt });
    }
    return found;
  }

  idsByPrincipal(principalId: string, agoMs: number): string[] {
    const latest = this.#clock.monotonic() - agoMs;
    return [...(this.#byPrincipal.get(principalId) ?? [])].filter(
      (sid) => (this.#owned.get(sid)?.begunAt ?? 0) <= latest,
    );
  }

  /** Stops pruning. The store can still be used; the next `set` starts it again. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #write(sid: string, data: session.SessionData, callback: Answer): void {
    const stamp = (data as Data)[SESSION_METADATA];
    const now = this.#clock.now();
    const principalId = stamp?.principal?.id;
    let json: string;
    try {
      json = JSON.stringify(data);
    } catch (error) {
      callback(error);
      return;
    }
    const begunAt = (this.#owned.get(sid) ?? this.#anonymous.get(sid))?.begunAt ?? this.#clock.monotonic();
    this.#remove(sid);
    if (!this.#makeRoom(principalId)) {
      callback(new SessionStoreFullError());
      return;
    }
    this.#add(sid, {
      json,
      createdAt: stamp?.createdAt ?? now,
      seenAt: stamp?.seenAt ?? now,
      expiresAt: expiryOf(data, now),
      principalId,
      begunAt,
    });
    this.#startPruning();
    callback(null, true);
  }

  #end(sid: string): void {
    this.#ended.set(sid, true);
    this.#remove(sid);
  }

  #live(sid: string): Entry | undefined {
    const entry = this.#owned.get(sid) ?? this.#anonymous.get(sid);
    if (entry === undefined || entry.expiresAt > this.#clock.now()) return entry;
    this.#expire(sid, entry);
    return undefined;
  }

  #add(sid: string, entry: Entry): void {
    if (entry.principalId === undefined) {
      this.#anonymous.set(sid, entry);
      return;
    }
    this.#owned.set(sid, entry);
    const sids = this.#byPrincipal.get(entry.principalId);
    if (sids === undefined) this.#byPrincipal.set(entry.principalId, new Set([sid]));
    else sids.add(sid);
  }

  #remove(sid: string): void {
    if (this.#anonymous.delete(sid)) return;
    const entry = this.#owned.get(sid);
    if (entry?.principalId === undefined) return;
    this.#owned.delete(sid);
    const sids = this.#byPrincipal.get(entry.principalId);
    sids?.delete(sid);
    if (sids?.size === 0) this.#byPrincipal.delete(entry.principalId);
  }

  #expire(sid: string, { createdAt, seenAt, principalId }: Entry): void {
    this.#remove(sid);
    this.emit("expired", { sid, createdAt, seenAt, principalId });
  }

  /** Constant work: it looks only at the first entry of each queue, so a flood cannot turn every save into a search. */
  #makeRoom(principalId: string | undefined): boolean {
    const sids = principalId === undefined ? undefined : this.#byPrincipal.get(principalId);
    const [own] = sids ?? [];
    if (own !== undefined && (sids?.size ?? 0) >= this.#maxOfPrincipal) this.#remove(own);
    if (this.size < this.#maxSessions) return true;
    const now = this.#clock.now();
    const [oldestOwned] = this.#owned;
    if (oldestOwned !== undefined && oldestOwned[1].expiresAt <= now) {
      this.#expire(...oldestOwned);
      return true;
    }
    const [oldestAnonymous] = this.#anonymous;
    if (oldestAnonymous !== undefined) {
      if (oldestAnonymous[1].expiresAt <= now) this.#expire(...oldestAnonymous);
      else this.#remove(oldestAnonymous[0]);
      return true;
    }
    if (own === undefined) return false;
    this.#remove(own);
    return true;
  }

  #startPruning(): void {
    this.#timer ??= setInterval(() => this.prune(PRUNE_SLICE), PRUNE_EVERY_MS).unref();
  }

  /** Checks up to `count` sessions, continuing where the last round stopped, and removes the expired ones. */
  prune(count: number): void {
    const now = this.#clock.now();
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
      if (entry.expiresAt <= now) this.#expire(sid, entry);
    }
    if (this.size === 0) this.close();
  }
}
