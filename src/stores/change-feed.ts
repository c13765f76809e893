import type { Runtime } from "../core/runtime.js";
import { StoreUnavailableError } from "../core/store-guard.js";
import { circuitOf, serverOf } from "../core/store-server.js";
import { isUnreachable } from "../core/unreachable.js";
import type { Change, ChangeBatch, ChangeSource } from "./changes.js";
import { Denials, type AccessTokenFacts } from "./denials.js";

export interface ChangeFeedOptions {
  /** How often the record is read, milliseconds. */
  readonly pollMs?: number;
  /** How old the last reading may be for this process to answer from memory, milliseconds. */
  readonly staleMs?: number;
  /** How long `publish` waits for the record, milliseconds. */
  readonly writeMs?: number;
}

/** Four readings fit in the second within which every process must know. */
const POLL_MS = 250;
const STALE_MS = 1000;
const WRITE_MS = 250;
/** What this process told is told again after an outage: a fail-over may have lost it after acknowledging it. */
const MAX_OWN = 10_000;
const OWN_MS = 600_000;

/**
 * What one process revokes, every process knows: a copy in memory of the denials that all processes share, kept up to date
 * by messages (at once) and by reading the record every `pollMs` (which finds what a lost message missed).
 *
 * The bound is strict. An answer is given from memory only while the last reading *began* less than `staleMs` ago; a
 * revocation acknowledged before that is in it. Later, the record is read once more before answering, and when that
 * fails there is no answer: `isRevoked` rejects, and `isCurrent` is false so that nobody believes a cache.
 */
export class ChangeFeed {
  readonly #source: ChangeSource;
  readonly #runtime: Runtime;
  readonly #pollMs: number;
  readonly #staleMs: number;
  readonly #writeMs: number;
  readonly #denials = new Denials();
  readonly #listeners = new Set<(keyId: string | undefined) => void>();
  readonly #own: { readonly change: Change; readonly at: number }[] = [];
  #mustRepeat = false;
  #position: string | undefined;
  /** When the last successful reading began, on the monotonic clock. */
  #readAt = -Infinity;
  #reading: Promise<void> | undefined;
  #started: Promise<void> | undefined;
  #watching: Promise<() => Promise<void>> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isAnnouncedDown = false;
  #closed = false;

  constructor(source: ChangeSource, runtime: Runtime, { pollMs = POLL_MS, staleMs = STALE_MS, writeMs = WRITE_MS }: ChangeFeedOptions = {}) {
    this.#source = source;
    this.#runtime = runtime;
    this.#pollMs = pollMs;
    this.#staleMs = staleMs;
    this.#writeMs = writeMs;
  }

  /** JSON-able. */
  describe(): Record<string, unknown> {
    return { source: this.#source.name, pollMs: this.#pollMs, staleMs: this.#staleMs };
  }

  /** Whether what this process remembers may be believed. */
  get isCurrent(): boolean {
    return this.#runtime.clock.monotonic() - this.#readAt < this.#staleMs;
  }

  /** Reads everything in force and begins to follow. Rejects with the source's reason, and may then be called again. */
  start(): Promise<void> {
    this.#started ??= this.#start().catch((error: unknown) => {
      this.#started = undefined;
      // The app may go on without waiting for `ready()`; it then heals by itself.
      this.#schedule(this.#pollMs);
      throw error;
    });
    return this.#started;
  }

  /**
   * Tells every process. Takes effect in this one at once; when the record cannot be written now, it is tried again.
   *
   * @throws StoreUnavailableError (rejects) when the record did not take it in time; others may be told later
   */
  async publish(...changes: readonly Change[]): Promise<void> {
    const at = this.#runtime.clock.monotonic();
    for (const change of changes) {
      this.#apply(change);
      this.#own.push({ change, at });
    }
    while (this.#own.length > MAX_OWN || (this.#own[0]?.at ?? at) < at - OWN_MS) this.#own.shift();
    try {
      await within(this.#source.record(changes), this.#writeMs);
    } catch (error) {
      this.#mustRepeat = true;
      throw new StoreUnavailableError("revocation", { cause: error });
    }
  }

  /** `listener` is called with the id of each API key to be read afresh; with none: all of them. Returns what ends it. */
  onKeyChange(listener: (keyId: string | undefined) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What is denied for sure; false may be out of date. */
  isKnownRevoked(token: AccessTokenFacts): boolean {
    return this.#denials.isRevoked(token);
  }

  /** At once when it is known; else after reading the record once more. Rejects when that fails. */
  isRevoked(token: AccessTokenFacts): boolean | Promise<boolean> {
    if (this.#denials.isRevoked(token)) return true;
    if (this.isCurrent) return false;
    return this.#catchUp().then(() => this.#denials.isRevoked(token));
  }

  /** Forgets what ended before `now`. Returns how many denials. */
  deleteExpired(now: number): number {
    return this.#denials.deleteExpired(now);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#listeners.clear();
    await this.#started?.catch(() => undefined);
    await this.#reading?.catch(() => undefined);
    const stop = await within(this.#watching ?? Promise.resolve(undefined), this.#staleMs).catch(() => undefined);
    await stop?.();
  }

  async #start(): Promise<void> {
    this.#watch();
    await this.#load();
    this.#schedule(this.#pollMs);
  }

  /** Nothing depends on it but how soon a change is known, so nobody waits for it. */
  #watch(): void {
    if (this.#watching !== undefined || this.#source.watch === undefined) return;
    const onGap = (): void => void this.#read().catch(() => undefined);
    this.#watching = this.#source.watch((changes) => changes.forEach((change) => this.#apply(change)), onGap);
    this.#watching.catch(() => (this.#watching = undefined));
  }

  async #load(): Promise<void> {
    const began = this.#runtime.clock.monotonic();
    this.#take(await this.#source.load(), began);
  }

  #schedule(delay: number): void {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const began = this.#runtime.clock.monotonic();
      this.#read().then(
        () => this.#schedule(Math.max(0, this.#pollMs - (this.#runtime.clock.monotonic() - began))),
        () => this.#schedule(this.#pollMs),
      );
    }, delay).unref();
  }

  /** One reading at a time; who comes while one runs waits for it. */
  #read(): Promise<void> {
    this.#reading ??= this.#readUnlessDown().finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  /**
   * The reading is also what finds out, without any request, that the server all its stores share is down or back. An answer
   * that would have been too late for a request does not count as back.
   */
  async #readUnlessDown(): Promise<void> {
    const server = serverOf(this);
    const circuit = server && circuitOf(server, this.#runtime);
    const pass = circuit?.admit();
    if (circuit !== undefined && pass === undefined) {
      this.#mustRepeat = true;
      throw new StoreUnavailableError("revocation");
    }
    const began = this.#runtime.clock.monotonic();
    try {
      await within(this.#readOnce(), this.#staleMs);
    } catch (error) {
      this.#mustRepeat = true;
      const isSilent = isUnreachable(error);
      if (pass !== undefined && isSilent) circuit?.failed(pass, error);
      else if (pass !== undefined) circuit?.returned(pass);
      if (circuit === undefined || !isSilent) this.#announceDown();
      throw error;
    }
    if (pass === undefined) return;
    if (pass.isProbe && this.#runtime.clock.monotonic() - began > this.#writeMs) circuit?.failed(pass, new Error("late"));
    else circuit?.worked(pass);
  }

  async #readOnce(): Promise<void> {
    await this.start();
    const began = this.#runtime.clock.monotonic();
    const batch = await this.#source.since(this.#position ?? "");
    if (batch.gap) {
      // Nobody can say what was missed: no cache is believed, everything in force is read again, and what only we remember
      // is put back.
      this.#tell(undefined);
      await this.#load();
      await this.#source.restore(this.#denials.inForce(this.#runtime.clock.now()));
    } else this.#take(batch, began);
    if (this.#mustRepeat) {
      this.#mustRepeat = false;
      await this.#source.restore(this.#own.map(({ change }) => change));
    }
    this.#watch();
    this.#announceUp();
  }

  async #catchUp(): Promise<void> {
    await this.#read();
    // The reading may have been one that began long ago.
    if (!this.isCurrent) await this.#read();
    if (!this.isCurrent) throw new Error("The record of revocations could not be read in time.");
  }

  #take({ changes, position }: ChangeBatch, began: number): void {
    for (const change of changes) this.#apply(change);
    this.#position = position;
    // Two readings may overlap when one was given up as too late.
    this.#readAt = Math.max(this.#readAt, began);
  }

  #apply(change: Change): void {
    const now = this.#runtime.clock.now();
    switch (change.kind) {
      case "api-key":
        this.#tell(change.name);
        return;
      case "token":
        this.#denials.denyToken(change.name, change.endsAt, now);
        return;
      case "family":
        this.#denials.denyFamily(change.name, change.endsAt, now);
        return;
      case "subject":
        this.#denials.cutOff(change.name, change.cutOff, change.endsAt, now);
        return;
    }
  }

  #tell(keyId: string | undefined): void {
    for (const listener of this.#listeners) listener(keyId);
  }

  #announceDown(): void {
    if (this.#isAnnouncedDown || this.isCurrent || this.#closed) return;
    this.#isAnnouncedDown = true;
    this.#runtime.events.emit("portcullis_store_unavailable", () => ({ source: "revocations", reason: "failed" }));
  }

  #announceUp(): void {
    if (!this.#isAnnouncedDown) return;
    this.#isAnnouncedDown = false;
    this.#runtime.events.emit("portcullis_store_recovered", () => ({ source: "revocations", reason: "answered" }));
  }
}

/** Rejects after `ms`. What comes of the promise later is not used; nothing is left unhandled. */
function within<T>(answer: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(Object.assign(new Error(`no answer within ${ms} ms`), { code: "ETIMEDOUT" })), ms);
    answer.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
