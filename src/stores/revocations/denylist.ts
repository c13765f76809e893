import type { AccessTokenFacts } from "../contracts.js";
import type { Denial } from "./changes.js";

/** Entries checked on each write: more than one, so that expired entries are removed faster than new ones are added. */
const SWEPT_PER_WRITE = 4;

/**
 * A map whose entries expire. Each write checks a few, and `deleteExpired` checks all, so the size follows the number
 * of live entries.
 */
class ExpiringMap<V extends { readonly until: number }> {
  readonly #entries = new Map<string, V>();
  #cursor: MapIterator<[string, V]> | undefined;

  get(key: string): V | undefined {
    return this.#entries.get(key);
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  set(key: string, value: V, now: number): void {
    this.#entries.set(key, value);
    for (let step = 0; step < SWEPT_PER_WRITE; step += 1) {
      this.#cursor ??= this.#entries.entries();
      const next = this.#cursor.next();
      if (next.done === true) {
        this.#cursor = undefined;
        return;
      }
      if (next.value[1].until < now) this.#entries.delete(next.value[0]);
    }
  }

  entries(): MapIterator<[string, V]> {
    return this.#entries.entries();
  }

  deleteExpired(now: number): number {
    const before = this.#entries.size;
    for (const [key, value] of this.#entries) if (value.until < now) this.#entries.delete(key);
    return before - this.#entries.size;
  }
}

/**
 * The denied access tokens: by id, by family, or by a cut-off of their subject. All answers come from memory, since
 * every request needs one. An entry only becomes stricter: a later call cannot shorten an earlier denial.
 */
export class Denylist {
  readonly #tokens = new ExpiringMap<{ until: number }>();
  readonly #families = new ExpiringMap<{ until: number }>();
  readonly #subjects = new ExpiringMap<{ cutOff: number; until: number }>();

  /** Applies a denial that another process may have made. */
  deny(denial: Denial, now: number): void {
    switch (denial.kind) {
      case "token":
        return this.denyToken(denial.name, denial.endsAt, now);
      case "family":
        return this.denyFamily(denial.name, denial.endsAt, now);
      case "subject":
        return this.cutOff(denial.name, denial.cutOff, denial.endsAt, now);
    }
  }

  /** @param until when the denial may be forgotten, in milliseconds since the epoch */
  denyToken(jti: string, until: number, now: number): void {
    this.#tokens.set(jti, { until: Math.max(until, this.#tokens.get(jti)?.until ?? until) }, now);
  }

  denyFamily(familyId: string, until: number, now: number): void {
    this.#families.set(familyId, { until: Math.max(until, this.#families.get(familyId)?.until ?? until) }, now);
  }

  /** Denies the subject's tokens issued before `cutOff`, until `until`. */
  cutOff(subject: string, cutOff: number, until: number, now: number): void {
    const known = this.#subjects.get(subject);
    this.#subjects.set(
      subject,
      { cutOff: Math.max(cutOff, known?.cutOff ?? cutOff), until: Math.max(until, known?.until ?? until) },
      now,
    );
  }

  /** The latest cut-off of a subject. */
  cutOffOf(subject: string): number | undefined {
    return this.#subjects.get(subject)?.cutOff;
  }

  isRevoked(token: AccessTokenFacts): boolean {
    if (this.#tokens.has(token.jti)) return true;
    if (token.familyId !== undefined && this.#families.has(token.familyId)) return true;
    const subject = this.#subjects.get(token.subject);
    return subject !== undefined && token.issuedAt < subject.cutOff;
  }

  /** Every denial that has not ended. */
  inForce(now: number): Denial[] {
    const denials: Denial[] = [];
    for (const [name, { until }] of this.#tokens.entries())
      if (until >= now) denials.push({ kind: "token", name, endsAt: until });
    for (const [name, { until }] of this.#families.entries())
      if (until >= now) denials.push({ kind: "family", name, endsAt: until });
    for (const [name, { cutOff, until }] of this.#subjects.entries())
      if (until >= now) denials.push({ kind: "subject", name, cutOff, endsAt: until });
    return denials;
  }

  /** Removes the entries that ended before `now`. Returns their number. */
  deleteExpired(now: number): number {
    return this.#tokens.deleteExpired(now) + this.#families.deleteExpired(now) + this.#subjects.deleteExpired(now);
  }
}
