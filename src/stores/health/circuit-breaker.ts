import type { Clock } from "../../core/clock.js";
import type { Outage } from "./outage.js";

/** Permission to make one call. `tryAcquire` grants it, and the caller releases it with the outcome. */
export interface Permit {
  readonly isProbe: boolean;
  /**
   * The period to which the permit belongs. A period ends when the circuit closes, and when a late server turns out to
   * be unreachable.
   */
  readonly generation: number;
  /** The client whose probe of a late server this is. */
  readonly client?: string;
}

/**
 * Pause before the next probe after a failure, in milliseconds: short after the first, then doubling up to the longest.
 */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 500;

/** How many calls must be late, with no success since the first of them began, before the circuit opens. */
const LATE_IN_A_ROW = 5;
/** How many calls may wait for a late server at once, one for each client. */
const LATE_PROBES = 16;
/** How many clients the circuit of a late server remembers. It forgets the oldest, which may then try again. */
const LATE_CLIENTS = 1000;

/** A client of a late server: its probe, and when it may send another. */
interface LateClient {
  isProbing: boolean;
  pauseMs: number;
  nextProbe: number;
}

/**
 * A circuit breaker. After a failure it allows only one probe at a time, until one succeeds. A server that is only late
 * may be late for one caller alone (a locked row, a repeated look-up): then each client has its own probes and pauses,
 * and any answer in time closes the circuit. The circuit reports to its outage.
 */
export class CircuitBreaker {
  readonly #outage: Outage;
  readonly #clock: Clock;
  #state: "closed" | "late" | "failed" = "closed";
  #isProbing = false;
  readonly #lateClients = new Map<string, LateClient>();
  #lateProbes = 0;
  #pauseMs = FIRST_PAUSE_MS;
  #nextProbe = 0;
  #recoveredAt = -Infinity;
  #permit: Permit = { isProbe: false, generation: 0 };
  #successes = 0;
  #lateInARow = 0;

  constructor(outage: Outage, clock: Clock) {
    this.#outage = outage;
    this.#clock = clock;
  }

  get isDown(): boolean {
    return this.#state !== "closed";
  }

  /** Number of successful calls so far. A call reads it when it begins, for `timedOut`. */
  get successes(): number {
    return this.#successes;
  }

  /**
   * Grants a permit if a call may be made now. The caller passes its permit to `succeeded`, `failed`, `timedOut` or
   * `release`, exactly once.
   *
   * @param client the client for which the call is made; calls without one count as one client
   */
  tryAcquire(client = ""): Permit | undefined {
    if (this.#state === "closed") return this.#permit;
    const { generation } = this.#permit;
    const now = this.#clock.monotonic();
    if (this.#state === "late") {
      const known = this.#lateClients.get(client);
      if (this.#lateProbes >= LATE_PROBES || known?.isProbing === true || now < (known?.nextProbe ?? 0))
        return undefined;
      this.#lateClient(client).isProbing = true;
      this.#lateProbes += 1;
      return { isProbe: true, generation, client };
    }
    if (this.#isProbing || now < this.#nextProbe) return undefined;
    this.#isProbing = true;
    return { isProbe: true, generation };
  }

  succeeded(permit: Permit): void {
    this.#successes += 1;
    this.#lateInARow = 0;
    if (this.#state === "closed" || (this.#state === "failed" && !this.#isOurProbe(permit))) return;
    this.#state = "closed";
    this.#recoveredAt = this.#clock.monotonic();
    this.#beginPeriod();
    this.#outage.ended();
  }

  failed(permit: Permit, error: unknown): void {
    // The result of a call from an earlier period no longer applies.
    if (permit.generation !== this.#permit.generation || (this.#state === "failed" && !permit.isProbe)) return;
    const now = this.#clock.monotonic();
    // Soon after a recovery a failure doubles the pause; otherwise it would be announced twenty times a second.
    const isAgain =
      this.#state === "failed" || (this.#state === "closed" && now - this.#recoveredAt < LONGEST_PAUSE_MS);
    this.#pauseMs = isAgain ? Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS) : FIRST_PAUSE_MS;
    this.#nextProbe = now + this.#pauseMs;
    const { isDown } = this;
    if (this.#state === "late") this.#beginPeriod();
    this.#isProbing = false;
    this.#state = "failed";
    if (!isDown) this.#outage.began(error);
  }

  /**
   * The call got no answer in time. That opens the circuit only when it happens several times in a row and no other
   * call was answered meanwhile: one slow call (a lock, a repeated look-up) must not block the calls of others.
   *
   * @param successes the value of `successes` when the call began
   * @param client the client for which it was made
   */
  timedOut(permit: Permit, successes: number, error: unknown, client = ""): void {
    if (this.#state === "failed" && this.#isOurProbe(permit)) {
      // The server rejected no call: it may answer other clients.
      this.#state = "late";
      this.#beginPeriod();
      return this.#pause(client);
    }
    this.release(permit);
    if (this.#state === "late" && this.#isOurProbe(permit)) return this.#pause(client);
    if (this.#state !== "closed" || this.#successes !== successes) return;
    this.#lateInARow += 1;
    if (this.#lateInARow < LATE_IN_A_ROW) return;
    this.#state = "late";
    this.#pause(client);
    this.#outage.began(error);
  }

  /** Releases a permit when the call was not made, or its result says nothing about what this circuit monitors. */
  release(permit: Permit): void {
    if (!this.#isOurProbe(permit)) return;
    if (permit.client === undefined) this.#isProbing = false;
    else {
      this.#lateProbes -= 1;
      const known = this.#lateClients.get(permit.client);
      if (known !== undefined) known.isProbing = false;
    }
  }

  /** Whether this is a probe of the current period. */
  #isOurProbe({ isProbe, generation }: Permit): boolean {
    return isProbe && generation === this.#permit.generation;
  }

  #lateClient(client: string): LateClient {
    let known = this.#lateClients.get(client);
    if (known === undefined) {
      const [oldest] = this.#lateClients.keys();
      if (this.#lateClients.size >= LATE_CLIENTS && oldest !== undefined) this.#lateClients.delete(oldest);
      known = { isProbing: false, pauseMs: FIRST_PAUSE_MS / 2, nextProbe: 0 };
      this.#lateClients.set(client, known);
    }
    return known;
  }

  /** The client's wait was in vain, so it pauses before the next one. */
  #pause(client: string): void {
    const known = this.#lateClient(client);
    known.pauseMs = Math.min(known.pauseMs * 2, LONGEST_PAUSE_MS);
    known.nextProbe = this.#clock.monotonic() + known.pauseMs;
  }

  #beginPeriod(): void {
    this.#permit = { isProbe: false, generation: this.#permit.generation + 1 };
    this.#isProbing = false;
    this.#lateClients.clear();
    this.#lateProbes = 0;
  }
}
