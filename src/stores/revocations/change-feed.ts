import { StoreError } from "../../core/portcullis-error.js";
import type { AccessTokenFacts } from "../contracts.js";
import type { Runtime } from "../../core/runtime.js";
import { StoreUnavailableError } from "../health/store-guard.js";
import type { Change, ChangeBatch, ChangeSource, CutOff, KeyChanges, KeyNotice } from "./changes.js";
import { isPermanentError, Outbox } from "./outbox.js";
import { FeedHealth } from "./feed-health.js";
import { Replica } from "./replica.js";
import type { SessionCutOffs } from "./session-cut-offs.js";
import type { SessionFacts } from "./denylist.js";
import { SharedRun } from "./shared-run.js";
import { withTimeout } from "../health/timeout.js";

export interface ChangeFeedSettings {
  /** How often the change log is read, milliseconds. */
  readonly pollMs?: number;
  /** Maximum age of the last reading for this process to answer from memory, milliseconds. */
  readonly staleMs?: number;
  /** How long `publish` waits for the change log, milliseconds: as long as the most patient of its callers. */
  readonly writeMs?: number | undefined;
}

/** Four readings fit in the second within which a revocation must reach every process. */
const POLL_MS = 250;
const STALE_MS = 1000;
const WRITE_MS = 250;
/** A reading that took longer does not show that the server answers requests in time. */
const LATE_MS = 250;

/** One point in time on both clocks. */
interface Moment {
  readonly monotonic: number;
  readonly wall: number;
}

/**
 * Propagates the revocations of each process to every other one. It keeps a copy in memory of the denials that all
 * processes share, up to date by messages (at once) and by reading the change log every `pollMs` (which finds what a
 * lost message missed).
 *
 * The bound is strict. The feed answers from memory only while the last reading *began* less than `staleMs` ago; a
 * revocation acknowledged before that is in it. Later, the feed reads the change log once more before it answers. If
 * that fails there is no answer: `isRevoked` rejects, and `isCurrent` is false so that no layer relies on a cache.
 */
export class ChangeFeed implements KeyChanges, SessionCutOffs {
  readonly #source: ChangeSource;
  readonly #runtime: Runtime;
  readonly #pollMs: number;
  readonly #staleMs: number;
  readonly #writeMs: number;
  readonly #remembered: Replica;
  readonly #own: Outbox;
  readonly #health: FeedHealth;
  #position: string | undefined;
  /** When the last successful reading began. */
  #readAt: Moment = { monotonic: -Infinity, wall: -Infinity };
  #reading: Promise<void> | undefined;
  /** The reading itself. It may continue after every caller that waited for it has given up. */
  readonly #readings: SharedRun;
  #started: Promise<void> | undefined;
  #watching: Promise<() => Promise<void>> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;

  constructor(
    source: ChangeSource,
    runtime: Runtime,
    { pollMs = POLL_MS, staleMs = STALE_MS, writeMs = WRITE_MS }: ChangeFeedSettings = {},
  ) {
    this.#source = source;
    this.#runtime = runtime;
    this.#pollMs = pollMs;
    this.#staleMs = staleMs;
    this.#writeMs = writeMs;
    this.#remembered = new Replica(runtime.clock);
    this.#own = new Outbox(source, () => this.#remembered.inForce());
    this.#health = new FeedHealth(runtime, this, { lateMs: LATE_MS, longestMs: staleMs });
    this.#readings = new SharedRun(() => this.#readOnce(), runtime.clock);
  }

  /** JSON-able. */
  describe(): Record<string, unknown> {
    return { source: this.#source.name, pollMs: this.#pollMs, staleMs: this.#staleMs };
  }

  /** Whether the local copy is current enough to answer from. */
  get isCurrent(): boolean {
    const { clock } = this.#runtime;
    // Linux's monotonic clock stops while the machine is suspended; the wall clock shows the suspension.
    return (
      clock.monotonic() - this.#readAt.monotonic < this.#staleMs && clock.now() - this.#readAt.wall < this.#staleMs
    );
  }

  /**
   * Reads all denials in force and begins to follow the change log. Rejects with the source's error, and may then be
   * called again.
   */
  start(): Promise<void> {
    if (this.#closing !== undefined)
      return Promise.reject(new StoreError("The change feed of revocations has been closed."));
    this.#started ??= this.#start().catch((error: unknown) => {
      this.#started = undefined;
      // The app may go on without waiting for `ready()`; the feed then recovers by itself.
      this.#schedule(this.#pollMs);
      throw error;
    });
    return this.#started;
  }

  /**
   * Publishes changes to every process. They take effect in this process at once. When the change log cannot be written
   * now, the feed tries again.
   *
   * @throws StoreUnavailableError (rejects) when the change log did not accept the changes in time; they may reach
   * other processes later
   */
  async publish(...changes: readonly Change[]): Promise<void> {
    this.note(...changes);
    this.#own.add(changes, this.#runtime.clock.monotonic());
    try {
      await withTimeout(this.#source.record(changes), this.#writeMs);
    } catch (error) {
      if (isPermanentError(error)) this.#own.remove(changes);
      else this.#own.mayBeMissing();
      throw new StoreUnavailableError("revocation", { cause: error });
    }
  }

  /**
   * Publishes a cut-off to every process. `refused` takes effect in this process at once; when the cut-off is refused, it
   * is published in its place, as soon as possible.
   *
   * @throws StoreUnavailableError (rejects) when the change log did not accept the cut-off in time
   */
  async publishCutOff(cutOff: CutOff, refused: CutOff): Promise<void> {
    this.note(refused);
    try {
      await withTimeout(this.#source.record([cutOff]), this.#writeMs);
    } catch (error) {
      if (!isPermanentError(error)) {
        this.#own.add([refused], this.#runtime.clock.monotonic());
        this.#own.mayBeMissing();
      }
      throw new StoreUnavailableError("revocation", { cause: error });
    }
    this.note(cutOff);
    this.#own.add([cutOff], this.#runtime.clock.monotonic());
  }

  /** Applies changes in this process alone. */
  note(...changes: readonly Change[]): void {
    this.#remembered.apply(changes);
  }

  onKeyChange(listener: (change: KeyNotice | undefined) => void): () => void {
    return this.#remembered.onKeyChange(listener);
  }

  /** Whether the token is certainly denied; false may be out of date. */
  isKnownRevoked(token: AccessTokenFacts): boolean {
    return this.#remembered.isRevoked(token);
  }

  /**
   * Answers at once when the local copy is current; otherwise after reading the change log once more. Rejects when that
   * fails.
   */
  isRevoked(token: AccessTokenFacts): boolean | Promise<boolean> {
    if (this.#remembered.isRevoked(token)) return true;
    if (this.isCurrent) return false;
    return this.#catchUp().then(() => this.#remembered.isRevoked(token));
  }

  /**
   * The latest cut-off of a subject, after reading the change log: one that was published before this call is in the
   * answer. Rejects when the change log cannot be read.
   */
  async cutOffOf(subject: string): Promise<number | undefined> {
    await this.#readFrom(this.#runtime.clock.monotonic());
    return this.#remembered.cutOffOf(subject);
  }

  /** The latest cut-off of a subject that this process knows. */
  knownCutOffOf(subject: string): number | undefined {
    return this.#remembered.cutOffOf(subject);
  }

  hasKnownEnd(session: SessionFacts): boolean {
    return this.#remembered.hasEnded(session);
  }

  async hasEnded(session: SessionFacts): Promise<boolean> {
    if (!this.isCurrent) await this.#catchUp();
    return this.#remembered.hasEnded(session);
  }

  async sessionCutOffOf(principalId: string): Promise<number | undefined> {
    await this.#readFrom(this.#runtime.clock.monotonic());
    return this.#remembered.sessionCutOffOf(principalId);
  }

  knownSessionCutOffOf(principalId: string): number | undefined {
    return this.#remembered.sessionCutOffOf(principalId);
  }

  /** Removes the denials that ended before `now`. Returns their number. */
  deleteExpired(now: number): number {
    return this.#remembered.deleteExpired(now);
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#end());
  }

  async #end(): Promise<void> {
    clearTimeout(this.#timer);
    this.#remembered.forgetListeners();
    // The wait below has a time limit. A subscription that completes later is ended then.
    const stopped = this.#watching?.then((stop) => stop());
    const all = Promise.allSettled([this.#started, this.#reading, stopped]);
    await withTimeout(all, this.#staleMs).catch(() => undefined);
  }

  async #start(): Promise<void> {
    this.#watch();
    await this.#load();
    this.#schedule(this.#pollMs);
  }

  /** The subscription affects only how soon a change is known, so no caller waits for it. */
  #watch(): void {
    if (this.#closing !== undefined || this.#watching !== undefined || this.#source.watch === undefined) return;
    const onGap = (): void => void this.#read().catch(() => undefined);
    this.#watching = this.#source.watch((changes) => this.#remembered.apply(changes), onGap);
    this.#watching.catch(() => (this.#watching = undefined));
  }

  async #load(): Promise<void> {
    const began = this.#moment();
    this.#take(await this.#source.load(), began);
  }

  #schedule(delay: number): void {
    if (this.#closing !== undefined) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const began = this.#runtime.clock.monotonic();
      this.#read().then(
        () => this.#schedule(Math.max(0, this.#pollMs - (this.#runtime.clock.monotonic() - began))),
        () => this.#schedule(this.#pollMs),
      );
    }, delay).unref();
  }

  /** One reading at a time; a caller that comes during a reading waits for it. */
  #read(): Promise<void> {
    this.#reading ??= this.#health
      .attempt(
        () => this.#readings.join(),
        () => !this.isCurrent && this.#closing === undefined,
      )
      .catch((error: unknown) => {
        this.#own.mayBeMissing();
        throw error;
      })
      .finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  async #readOnce(): Promise<void> {
    await this.start();
    const began = this.#moment();
    const batch = await this.#source.since(this.#position ?? "");
    if (batch.gap) {
      // It is unknown which changes were missed: caches are dropped, all denials in force are read again, and those
      // that only this process remembers are published again.
      this.#remembered.tell(undefined);
      this.#own.wasLost();
      await this.#load();
    } else this.#take(batch, began);
    this.#own.republish();
    this.#watch();
  }

  /** Waits for a reading that began at `time` (monotonic, milliseconds) or later. */
  async #readFrom(time: number): Promise<void> {
    await this.#read();
    // The joined reading may have begun before.
    if (this.#readAt.monotonic < time) await this.#read();
  }

  async #catchUp(): Promise<void> {
    await this.#read();
    // The joined reading may have begun long ago.
    if (!this.isCurrent) await this.#read();
    if (!this.isCurrent) throw new StoreError("The change feed of revocations could not be read in time.");
  }

  #take({ changes, position }: ChangeBatch, began: Moment): void {
    this.#remembered.apply(changes);
    this.#position = position;
    // Two readings may overlap when one hung.
    if (began.monotonic >= this.#readAt.monotonic) this.#readAt = began;
  }

  #moment(): Moment {
    return { monotonic: this.#runtime.clock.monotonic(), wall: this.#runtime.clock.now() };
  }
}
