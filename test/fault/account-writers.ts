import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished } from "vitest";
import type { AccountNotice } from "portcullis/accounts";
import type { Client } from "../accounts/support/app.js";
import { Authenticator } from "../accounts/support/authenticator.js";
import { tokenOf } from "../accounts/support/links.js";
import type { Answer } from "../support/serve.js";
import { AccountRecord } from "./account-record.js";
import type { AccountsStack } from "./accounts-app.js";

/** Between two calls of one person, in milliseconds. */
const GAP_MS = 100;
const MAILED_WITHIN_MS = 1000;
/** Recovery codes that are left when new ones are made. */
const FEW_CODES = 6;

/** A call was refused for now, or a writer ends. */
class Refused extends Error {}

let people = 0;
let passwords = 0;
const newLogin = (): string => `person-${(people += 1)}@example.com`;
const newPassword = (): string => `long enough, number ${(passwords += 1)}`;

/**
 * People who change their accounts without pause, one for each kind of change, and remember what was acknowledged. After a
 * refusal that leaves something in doubt another person goes on. They end with the test at the latest.
 */
export class AccountWriters {
  readonly records: AccountRecord[] = [];
  /** Changes that were acknowledged, by kind. */
  readonly done = { changes: 0, recoveries: 0, factors: 0, resets: 0, registrations: 0 };
  refused = 0;
  /** Answers that are neither success nor "try again". */
  readonly wrong: string[] = [];
  /** The slowest answer, in milliseconds, refusals included. */
  slowestMs = 0;
  readonly #stack: AccountsStack;
  #isStopped = false;
  readonly #work: Promise<void>[];

  constructor(stack: AccountsStack) {
    this.#stack = stack;
    this.#work = [
      this.#repeat(() => this.#change()),
      this.#repeat(() => this.#recover()),
      this.#repeat(() => this.#enrol()),
      this.#repeat(() => this.#reset()),
      this.#repeat(() => this.#register()),
    ];
    onTestFinished(() => this.stop());
  }

  /** Changes of a password, one after another. */
  async #change(): Promise<void> {
    const record = await this.#person();
    const browser = await this.#again(() => this.#logIn(record));
    for (;;) {
      record.maybe = newPassword();
      const body = { current: record.password, password: record.maybe };
      await this.#ask("change", 204, () => browser.post("/account/password", body));
      record.changed(record.maybe);
      record.maybe = undefined;
      this.done.changes += 1;
      await this.#pause();
    }
  }

  /** Log-ins with recovery codes, and new ones when they run out. */
  async #recover(): Promise<void> {
    const record = await this.#person();
    const first = await this.#again(() => this.#logIn(record));
    await this.#addFactor(record, first);
    for (;;) {
      const browser = await this.#again(() => this.#logIn(record));
      const [code = "", ...left] = record.recoveryCodes;
      record.recoveryCodes = left;
      const body = { method: "recovery", code };
      await this.#ask("recovery", 200, () => browser.post("/account/login/factor", body));
      record.spentRecoveryCodes.push(code);
      this.done.recoveries += 1;
      // Here it may end: with a code that is spent among codes that are not.
      if (left.length > FEW_CODES) {
        await this.#pause();
        continue;
      }
      record.recoveryCodes = [];
      const made = await this.#ask("new codes", 201, () => browser.post("/account/recovery-codes"));
      record.spentRecoveryCodes.push(...left);
      record.recoveryCodes = (made.json() as { recoveryCodes: string[] }).recoveryCodes;
    }
  }

  /** A factor is set up, used and removed. */
  async #enrol(): Promise<void> {
    const record = await this.#person();
    await this.#addFactor(record, await this.#again(() => this.#logIn(record)));
    const browser = await this.#again(() => this.#logIn(record));
    const code = record.authenticator?.code(this.#stack.now(), 1) ?? "";
    await this.#ask("factor", 200, () => browser.post("/account/login/factor", { method: "totp", code }));
    record.usedCodes.push(code);
    await this.#pause();
    const listed = await this.#again(() => this.#ask("factors", 200, () => browser.get("/account/factors")));
    const { factors } = listed.json() as { factors: readonly { id: string }[] };
    record.hasFactor = "in doubt";
    await this.#ask("removal", 204, () => browser.delete(`/account/factors/${factors[0]?.id ?? ""}`));
    record.hasFactor = false;
    record.recoveryCodes = [];
    this.done.factors += 1;
  }

  async #addFactor(record: AccountRecord, browser: Client): Promise<void> {
    const begun = await this.#again(() => this.#ask("new factor", 200, () => browser.post("/account/totp", {})));
    const authenticator = new Authenticator((begun.json() as { secret: string }).secret);
    const code = authenticator.code(this.#stack.now());
    record.authenticator = authenticator;
    record.hasFactor = "in doubt";
    const confirmed = await this.#ask("confirm", 200, () => browser.post("/account/totp/confirm", { code }));
    record.hasFactor = true;
    record.usedCodes.push(code);
    record.recoveryCodes = (confirmed.json() as { recoveryCodes: string[] }).recoveryCodes;
  }

  /** New passwords by links. */
  async #reset(): Promise<void> {
    const record = await this.#person();
    const { login } = record;
    for (;;) {
      const body = { login };
      const token = await this.#mailed(login, "password-reset", () =>
        this.#again(() => this.#ask("forgot", 202, () => this.#stack.browser().post("/account/password/forgot", body))),
      );
      record.resetLink = token;
      await this.#pause();
      record.maybe = newPassword();
      const given = { token, password: record.maybe };
      await this.#ask("reset", 200, () => this.#stack.browser().post("/account/password/reset", given));
      record.changed(record.maybe);
      record.maybe = undefined;
      record.usedResetLinks.push(token);
      record.resetLink = undefined;
      this.done.resets += 1;
      await this.#pause();
    }
  }

  /** Registrations, each by another person. */
  async #register(): Promise<void> {
    const record = new AccountRecord(newLogin(), newPassword());
    const { login, password } = record;
    const browser = this.#stack.browser();
    const token = await this.#mailed(login, "verify-email", () =>
      this.#again(() => this.#ask("register", 202, () => browser.post("/account/register", { login, password }))),
    );
    this.records.push(record);
    record.registration = { token, browser, isFinished: false };
    await this.#pause();
    record.registration.isFinished = "in doubt";
    await this.#ask("verify", 200, () => browser.post("/account/email/verify", { token }));
    record.registration.isFinished = true;
    this.done.registrations += 1;
  }

  /** A person with a password. */
  async #person(): Promise<AccountRecord> {
    const record = new AccountRecord(newLogin(), newPassword());
    const { login, password } = record;
    this.#stack.people.users.set(login, { id: login, login, email: login });
    await this.#again(() => this.#stack.accounts.passwords.set(login, password));
    this.records.push(record);
    return record;
  }

  async #logIn({ login, password }: AccountRecord): Promise<Client> {
    const browser = this.#stack.browser();
    await this.#ask("log-in", 200, () => browser.logIn(login, password));
    return browser;
  }

  /** The token of the link that a request sends, once it is acknowledged. */
  async #mailed(to: string, kind: AccountNotice["kind"], request: () => Promise<unknown>): Promise<string> {
    const { notices } = this.#stack.people;
    const from = notices.length;
    await request();
    const asked = performance.now();
    for (;;) {
      const notice = notices.slice(from).find(({ kind: other, user }) => other === kind && user.login === to);
      if (notice !== undefined) return tokenOf(notice);
      if (performance.now() - asked > MAILED_WITHIN_MS) {
        this.wrong.push(`${kind}: acknowledged, but there is no mail`);
        throw new Refused();
      }
      await sleep(5);
    }
  }

  /** @throws Refused (rejects) for 503, and for an answer that is wrong */
  async #ask(what: string, expected: number, request: () => Promise<Answer>): Promise<Answer> {
    const start = performance.now();
    const answer = await request();
    this.slowestMs = Math.max(this.slowestMs, performance.now() - start);
    const { status, headers, text } = answer;
    if (status === expected) return answer;
    if (status !== 503 || headers["retry-after"] === undefined) this.wrong.push(`${what}: ${status} ${text}`);
    throw new Refused();
  }

  /** For a call that leaves nothing in doubt: the same once more, until it is accepted. */
  async #again<T>(call: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await call();
      } catch {
        this.refused += 1;
        await this.#pause();
      }
    }
  }

  async #pause(): Promise<void> {
    if (this.#isStopped) throw new Refused();
    await sleep(GAP_MS);
  }

  async #repeat(work: () => Promise<void>): Promise<void> {
    while (!this.#isStopped) {
      try {
        await work();
      } catch (error) {
        if (!(error instanceof Refused)) this.wrong.push(String(error));
        this.refused += 1;
      }
      await sleep(GAP_MS);
    }
  }

  /** Waits until every kind of change was made once more. */
  async expectAll(): Promise<void> {
    const before = { ...this.done };
    const isDone = (): boolean =>
      Object.entries(before).every(([kind, count]) => this.done[kind as keyof typeof before] > count);
    await expect.poll(isDone, { timeout: 5000, message: "every kind of change was made once more" }).toBe(true);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#work);
  }
}
