/** A fix of the library that can be taken out of the simulation's bundle, and the first seed that shows its loss. */
export interface Fix {
  /** What happens without the fix. */
  readonly fault: string;
  /** Text of the bundle, all of whose occurrences are replaced. */
  readonly fix: string;
  readonly without: string;
  /** The first seed from 1 that fails without the fix. */
  readonly seed: number;
}

export const FIXES: readonly Fix[] = [
  {
    fault: "a write that was refused with 503 commits afterwards",
    fix: "if (call?.beginCommit() === false) throw new DeadlinePassedError();",
    without: "call?.beginCommit();",
    seed: 10,
  },
  {
    fault: "a 503 from /refresh has no Retry-After",
    fix: "manager.options.reuseGraceSeconds > 0 ? TRY_AGAIN : NO_STORE",
    without: "NO_STORE",
    seed: 48,
  },
  {
    fault: "a record that cannot be read counts as an outage",
    fix: '"unreadable-record": "record",',
    without: '"unreadable-record": "unreachable",',
    seed: 31,
  },
  {
    fault: "one late call opens the circuit for everybody",
    fix: 'timedOut(permit, successes, error, client = "") {',
    without: 'timedOut(permit, successes, error, client = "") { return this.failed(permit, error);',
    seed: 9,
  },
  {
    fault: "one account fills the stores in memory",
    fix: "return Math.max(LEAST_SHARE, Math.floor(places * SHARE));",
    without: "return places;",
    seed: 52,
  },
  {
    fault: "a flood of one network shuts newcomers out",
    fix: "let kind = networks === void 0 ? 4 : 1",
    without: "let kind = 4",
    seed: 2,
  },
  {
    fault: "a rotated key and each key that it makes have a limit of their own",
    fix: "lineage: from.lineage ?? id,",
    without: "lineage: id,",
    seed: 4,
  },
  {
    fault: "each spelling of an address is a client",
    fix: "if (isIPv4(text)) return text;",
    without: "return text;",
    seed: 5,
  },
  {
    fault: "a token of narrow scope makes keys",
    fix: 'if (!isPerson && missingScopes(scopes, ["api-keys:manage"]).length > 0) return refusals.mayNotManage;',
    without: "",
    seed: 12,
  },
  {
    fault: "a renewal brings back a session that was logged out meanwhile",
    fix: 'else if (!await stored.endIfAlive(oldSid, "replaced")) throw new SessionEndedError();',
    without: 'else await stored.end(oldSid, "replaced");',
    seed: 12,
  },
  {
    fault: "a key that was rotated without grace is accepted where the clock is behind",
    fix: "if (graceSeconds === 0) return 0;",
    without: "",
    seed: 3,
  },
  {
    fault: "a token issued where the clock is ahead outlives revokeSubject",
    fix: "const aheadMs = store.knowsCutOffs ? (options.leewaySeconds + 1) * 1e3 : 0;",
    without: "const aheadMs = 0;",
    seed: 1,
  },
  {
    fault: "a log-in ends by what was revoked before it in another process",
    fix: "await this.#readFrom(this.#runtime.clock.monotonic());",
    without: "",
    seed: 5,
  },
  {
    fault: "a log-in where revocations cannot be read ends by what was revoked before it",
    fix: "this.#guard.join(() => this.#source.sessionCutOffOf(principalId))",
    without:
      "Promise.resolve(this.#source.sessionCutOffOf(principalId)).catch(() => this.#source.knownSessionCutOffOf(principalId))",
    seed: 87,
  },
  {
    fault: "a process that reads no revocations goes on without them",
    fix: "return clock.monotonic() - this.#readAt.monotonic < this.#staleMs && clock.now() - this.#readAt.wall < this.#staleMs;",
    without: "return true;",
    seed: 15,
  },
  {
    fault: "a key of another type in Redis counts as an outage",
    fix: '"unreadable-record": ["WRONGTYPE", "UNREADABLE"]',
    without: '"unreachable": ["WRONGTYPE", "UNREADABLE"]',
    seed: 59,
  },
  {
    fault: "a revocation that could not be announced is acknowledged",
    fix: "await withTimeout(this.#source.record(changes), this.#writeMs);",
    without: "await withTimeout(this.#source.record(changes), this.#writeMs).catch(() => undefined);",
    seed: 120,
  },
];
