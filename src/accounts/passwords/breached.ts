import { createHash } from "node:crypto";
import { FetchProblem, fetchText } from "../../core/http/fetch-text.js";
import type { Runtime } from "../../core/runtime.js";

/** What is known of a password: not in a leak, in one, or the service did not answer. */
export type BreachResult = "clean" | "found" | "not-checked";

const RANGES = "https://api.pwnedpasswords.com/range/";
const HEADERS = Object.freeze({ Accept: "text/plain", "Add-Padding": "true", "User-Agent": "portcullis" });
const PREFIX_LENGTH = 5;
const LINE = /^([0-9A-F]{35}):(\d{1,12})$/i;

/** How long an answer may take, with waiting, in milliseconds. */
const ANSWER_MS = 2000;
/** How long nothing is asked after a failure, in milliseconds: nobody waits for a service that is down. */
const PAUSE_MS = 30_000;
/** How many questions there are at once, and how many wait. */
const AT_ONCE = 4;
const MOST_WAITING = 64;

/**
 * Asks Have I Been Pwned whether a password has leaked. It sends the first five of the forty characters of the password's
 * SHA-1, and gets all that begin so, with made-up ones among them; so the service learns nothing of use.
 */
export class BreachedPasswords {
  readonly #runtime: Runtime;
  readonly #ranges: string;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #isDown = false;
  #pausedUntil = -Infinity;

  /** @param ranges where the answers are, for tests: https, or http on this machine */
  constructor(runtime: Runtime, ranges: string = RANGES) {
    this.#runtime = runtime;
    this.#ranges = ranges;
  }

  /** Never rejects. */
  async check(text: string): Promise<BreachResult> {
    if (this.#isPaused()) return "not-checked";
    const signal = AbortSignal.timeout(ANSWER_MS);
    if (!(await this.#place(signal))) return "not-checked";
    try {
      // Those that waited for a service that has just failed do not try it again.
      if (this.#isPaused()) return "not-checked";
      const result = await this.#ask(text, signal);
      this.#isDown = false;
      return result;
    } catch (error) {
      this.#failed(error instanceof FetchProblem ? error.reason : "failed");
      return "not-checked";
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }

  async #ask(text: string, signal: AbortSignal): Promise<"clean" | "found"> {
    const hash = createHash("sha1").update(text).digest("hex").toUpperCase();
    const url = new URL(hash.slice(0, PREFIX_LENGTH), this.#ranges);
    const answer = await fetchText(url, { allowHttp: true, signal, headers: HEADERS });
    const lines = answer.split(/\r?\n/).filter((line) => line !== "");
    const entries = lines.map((line) => LINE.exec(line));
    // An error page, or half an answer.
    if (entries.length === 0 || entries.includes(null)) throw new FetchProblem("not-a-range");
    const rest = hash.slice(PREFIX_LENGTH);
    // Made-up entries have the count 0.
    return entries.some((entry) => entry?.[1]?.toUpperCase() === rest && Number(entry[2]) > 0) ? "found" : "clean";
  }

  #isPaused(): boolean {
    return this.#runtime.clock.monotonic() < this.#pausedUntil;
  }

  /** Waits for a place; false when there is none in time. */
  #place(signal: AbortSignal): Promise<boolean> {
    if (this.#running < AT_ONCE) {
      this.#running += 1;
      return Promise.resolve(true);
    }
    if (this.#waiting.length >= MOST_WAITING) return Promise.resolve(false);
    return new Promise((resolve) => {
      const begin = (): void => {
        signal.removeEventListener("abort", giveUp);
        this.#running += 1;
        resolve(true);
      };
      const giveUp = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(begin), 1);
        resolve(false);
      };
      signal.addEventListener("abort", giveUp, { once: true });
      this.#waiting.push(begin);
    });
  }

  /** One event an outage: until an answer comes again. */
  #failed(why: string): void {
    this.#pausedUntil = this.#runtime.clock.monotonic() + PAUSE_MS;
    if (this.#isDown) return;
    this.#isDown = true;
    this.#runtime.events.emit("portcullis_layer_failed", () => ({
      source: "accounts",
      reason: `breached-passwords-${why}`,
      level: "WARN",
    }));
  }
}
