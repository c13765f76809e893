import { InvalidInputError } from "../../core/portcullis-error.js";
import { ExpressSessionStore, type SessionData } from "../express-session.js";
import { BoundedCache } from "../../core/bounded-cache.js";
import { systemClock, type Clock } from "../../core/clock.js";
import type { PrincipalSession, SessionStore } from "../contracts.js";
import { SessionEntries } from "./session-entries.js";
import { factsOf } from "../session-record.js";
import { revive, type Entry } from "./session-entry.js";
import { SessionStoreFullError } from "../health/store-full.js";
import { ENDED_IDS, ENDED_MS } from "../contracts.js";

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
export class MemorySessionStore extends ExpressSessionStore implements SessionStore {
  readonly #clock: Clock;
  readonly #entries: SessionEntries;
  readonly #ended = new BoundedCache<true>({ max: ENDED_IDS, ttl: ENDED_MS });
  #timer: NodeJS.Timeout | undefined;

  /** @throws InvalidInputError when `maxSessions` is not a positive whole number */
  constructor({ maxSessions = 100_000, clock = systemClock }: MemorySessionStoreSettings = {}) {
    super();
    if (!Number.isSafeInteger(maxSessions) || maxSessions < 1)
      throw new InvalidInputError("maxSessions must be a whole number of at least 1");
    this.#clock = clock;
    this.#entries = new SessionEntries(maxSessions, (sid, { createdAt, seenAt, principalId, details }) =>
      this.emit("expired", { sid, createdAt, seenAt, principalId, maxAgeMs: details?.maxAgeMs }),
    );
  }

  /** Sessions stored, including expired ones that are not yet pruned. */
  get size(): number {
    return this.#entries.size;
  }

  override get(sid: string, callback: (error: unknown, data?: SessionData | null) => void): void {
    const entry = this.#live(sid);
    callback(null, entry === undefined ? null : revive(entry));
  }

  override set(sid: string, data: SessionData, callback?: Done): void {
    if (this.#ended.has(sid)) callback?.();
    else this.#write(sid, data, (error) => (error == null ? callback?.() : callback?.(error)));
  }

  create(sid: string, data: SessionData, callback: Answer): void {
    if (this.#ended.has(sid) || this.#live(sid) !== undefined) callback(null, false);
    else this.#write(sid, data, callback);
  }

  replace(sid: string, data: SessionData, callback: Answer): void {
    if (this.#live(sid) === undefined) callback(null, false);
    else this.#write(sid, data, callback);
  }

  /** Moves a session's end and `seenAt`; its data stays as saved. An unknown id stays unknown. */
  override touch(sid: string, data: SessionData, callback?: Answer): void {
    const entry = this.#live(sid);
    if (entry !== undefined) {
      const { seenAt, expiresAt } = factsOf(data, this.#clock.now());
      this.#entries.remove(sid);
      entry.seenAt = seenAt;
      entry.expiresAt = expiresAt;
      this.#entries.add(sid, entry);
    }
    callback?.(null, entry !== undefined);
  }

  override destroy(sid: string, callback?: Answer): void {
    const wasDestroyed = this.#ended.has(sid);
    const entry = this.#entries.get(sid);
    const isExpired = entry !== undefined && entry.expiresAt <= this.#clock.now();
    this.#end(sid);
    // Do not report a session that made room for another: no caller has ended it.
    callback?.(null, !wasDestroyed && !isExpired);
  }

  override all(callback: (error: unknown, sessions?: Record<string, SessionData> | null) => void): void {
    const sessions: [string, SessionData][] = [];
    const now = this.#clock.now();
    for (const [sid, entry] of this.#entries.all()) if (entry.expiresAt > now) sessions.push([sid, revive(entry)]);
    callback(null, Object.fromEntries(sessions));
  }

  override length(callback: (error: unknown, length?: number) => void): void {
    this.all((error, sessions) => callback(error, Object.keys(sessions ?? {}).length));
  }

  override clear(callback?: Done): void {
    this.#entries.clear();
    callback?.();
  }

  /** The principal's sessions, the one idle for longest first. */
  listByPrincipal(principalId: string): PrincipalSession[] {
    const found: PrincipalSession[] = [];
    for (const sid of this.#entries.idsOf(principalId)) {
      const entry = this.#live(sid);
      if (entry !== undefined)
        found.push({
          sid,
          createdAt: entry.createdAt,
          seenAt: entry.seenAt,
          expiresAt: entry.expiresAt,
          ...entry.details,
        });
    }
    return found;
  }

  idsByPrincipal(principalId: string, agoMs: number): string[] {
    const latest = this.#clock.monotonic() - agoMs;
    return this.#entries.idsOf(principalId).filter((sid) => (this.#entries.get(sid)?.begunAt ?? 0) <= latest);
  }

  /** Stops pruning. The store can still be used; the next `set` starts it again. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #write(sid: string, data: SessionData, callback: Answer): void {
    const now = this.#clock.now();
    const facts = factsOf(data, now);
    let json: string;
    try {
      json = JSON.stringify(data);
    } catch (error) {
      callback(error);
      return;
    }
    const begunAt = this.#entries.get(sid)?.begunAt ?? this.#clock.monotonic();
    this.#entries.remove(sid);
    if (!this.#entries.makeRoom(facts.principalId, now)) {
      callback(new SessionStoreFullError());
      return;
    }
    this.#entries.add(sid, { json, begunAt, ...facts });
    this.#startPruning();
    callback(null, true);
  }

  #end(sid: string): void {
    this.#ended.set(sid, true);
    this.#entries.remove(sid);
  }

  #live(sid: string): Entry | undefined {
    const entry = this.#entries.get(sid);
    if (entry === undefined || entry.expiresAt > this.#clock.now()) return entry;
    this.#entries.expire(sid, entry);
    return undefined;
  }

  #startPruning(): void {
    this.#timer ??= setInterval(() => this.prune(PRUNE_SLICE), PRUNE_EVERY_MS).unref();
  }

  /** Checks up to `count` sessions, continuing where the last round stopped, and removes the expired ones. */
  prune(count: number): void {
    this.#entries.prune(count, this.#clock.now());
    if (this.size === 0) this.close();
  }
}
