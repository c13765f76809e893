import type { AccessTokenFacts } from "../contracts.js";
import type { Denial } from "./changes.js";
import { CutOffs } from "./cut-offs.js";
import { ExpiringMap } from "./expiring-map.js";

/** The facts about a session that decide whether a cut-off has ended it. */
export interface SessionFacts {
  /** The principal of the session, or the one who acts in it. */
  readonly principalId: string;
  /** The latest cut-off of that principal when the session began; 0 when there was none. */
  readonly since: number;
  readonly handle: string;
}

/**
 * The denied access tokens: by id, by family, or by a cut-off of their subject. All answers come from memory, since
 * every request needs one. An entry only becomes stricter: a later call cannot shorten an earlier denial.
 */
export class Denylist {
  readonly #tokens = new ExpiringMap<{ until: number }>();
  readonly #families = new ExpiringMap<{ until: number }>();
  readonly #subjects = new CutOffs();
  readonly #principals = new CutOffs();

  /** Applies a denial that another process may have made. */
  deny(denial: Denial, now: number): void {
    switch (denial.kind) {
      case "token":
        return this.denyToken(denial.name, denial.endsAt, now);
      case "family":
        return this.denyFamily(denial.name, denial.endsAt, now);
      case "subject":
        return this.#subjects.add(denial, now);
      case "principal":
        return this.#principals.add(denial, now);
    }
  }

  /** @param until when the denial may be forgotten, in milliseconds since the epoch */
  denyToken(jti: string, until: number, now: number): void {
    this.#tokens.set(jti, { until: Math.max(until, this.#tokens.get(jti)?.until ?? until) }, now);
  }

  denyFamily(familyId: string, until: number, now: number): void {
    this.#families.set(familyId, { until: Math.max(until, this.#families.get(familyId)?.until ?? until) }, now);
  }

  /** Denies the subject's tokens issued before `cutOff`, but for those to keep, until `until`. */
  cutOff(subject: string, cutOff: number, until: number, now: number, keep?: string): void {
    this.#subjects.add({ name: subject, cutOff, endsAt: until, ...(keep === undefined ? {} : { keep }) }, now);
  }

  /** The latest cut-off of a subject. */
  cutOffOf(subject: string): number | undefined {
    return this.#subjects.latestOf(subject);
  }

  /** The latest cut-off of a principal's sessions. */
  sessionCutOffOf(principalId: string): number | undefined {
    return this.#principals.latestOf(principalId);
  }

  isRevoked(token: AccessTokenFacts): boolean {
    if (this.#tokens.has(token.jti)) return true;
    if (token.familyId !== undefined && this.#families.has(token.familyId)) return true;
    return this.#subjects.endsIt(token.subject, token.issuedAt, token.familyId ?? token.jti);
  }

  hasEnded({ principalId, since, handle }: SessionFacts): boolean {
    return this.#principals.endsIt(principalId, since, handle);
  }

  /** Every denial that has not ended. */
  inForce(now: number): Denial[] {
    const denials: Denial[] = [];
    for (const [name, { until }] of this.#tokens.entries())
      if (until >= now) denials.push({ kind: "token", name, endsAt: until });
    for (const [name, { until }] of this.#families.entries())
      if (until >= now) denials.push({ kind: "family", name, endsAt: until });
    denials.push(...this.#subjects.inForce("subject", now), ...this.#principals.inForce("principal", now));
    return denials;
  }

  /** Removes the entries that ended before `now`. Returns their number. */
  deleteExpired(now: number): number {
    const parts = [this.#tokens, this.#families, this.#subjects, this.#principals];
    return parts.reduce((count, part) => count + part.deleteExpired(now), 0);
  }
}
