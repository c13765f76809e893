import type { CutOff } from "./changes.js";
import { ExpiringMap } from "./expiring-map.js";

/**
 * The cut-offs of principals, each reduced to the latest and to the latest of those that keep something else. That is
 * all that decides, in whatever order they arrive.
 */
export class CutOffs {
  readonly #latest = new ExpiringMap<{ cutOff: number; keep: string | undefined; others: number; until: number }>();

  add({ name, cutOff, keep, endsAt }: Omit<CutOff, "kind">, now: number): void {
    const known = this.#latest.get(name) ?? { cutOff: -Infinity, keep, others: -Infinity, until: endsAt };
    const [first, second] = cutOff > known.cutOff ? [{ cutOff, keep }, known] : [known, { cutOff, keep }];
    const others = first.keep === second.keep ? known.others : Math.max(known.others, second.cutOff);
    const latest = { cutOff: first.cutOff, keep: first.keep, others, until: Math.max(endsAt, known.until) };
    this.#latest.set(name, latest, now);
  }

  latestOf(name: string): number | undefined {
    return this.#latest.get(name)?.cutOff;
  }

  /** Whether a credential that was issued at this time, or after this cut-off, has been ended. */
  endsIt(name: string, issuedAt: number, credential: string): boolean {
    const latest = this.#latest.get(name);
    if (latest === undefined || issuedAt >= latest.cutOff) return false;
    return latest.keep !== credential || issuedAt < latest.others;
  }

  inForce(kind: CutOff["kind"], now: number): CutOff[] {
    const cutOffs: CutOff[] = [];
    for (const [name, { cutOff, keep, others, until: endsAt }] of this.#latest.entries()) {
      if (endsAt < now) continue;
      cutOffs.push({ kind, name, cutOff, endsAt, ...(keep === undefined ? {} : { keep }) });
      if (keep !== undefined && others > -Infinity) cutOffs.push({ kind, name, cutOff: others, endsAt });
    }
    return cutOffs;
  }

  deleteExpired(now: number): number {
    return this.#latest.deleteExpired(now);
  }
}
