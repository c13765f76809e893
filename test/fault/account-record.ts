import { expect } from "vitest";
import type { Authenticator } from "../accounts/support/authenticator.js";
import type { Client } from "../accounts/support/app.js";
import type { Answer } from "../support/serve.js";
import type { AccountsStack } from "./accounts-app.js";

/** Whether something holds; "in doubt" after a call that was refused, until the person looks. */
type State = boolean | "in doubt";

/** What one person was told of their account: what another process must find. */
export class AccountRecord {
  /** The password that was acknowledged last, and those that it replaced. */
  password: string;
  readonly former: string[] = [];
  /** One that a refused call may have set. */
  maybe: string | undefined;
  /** Whether an authenticator app is asked for. */
  hasFactor: State = false;
  authenticator: Authenticator | undefined;
  /** Codes of it that were accepted. */
  readonly usedCodes: string[] = [];
  /** Recovery codes that nobody has sent, and those that were accepted or made worthless. */
  recoveryCodes: readonly string[] = [];
  readonly spentRecoveryCodes: string[] = [];
  /** The token of the link to a new password that was mailed last and not used with success, and those that were. */
  resetLink: string | undefined;
  readonly usedResetLinks: string[] = [];
  /** The token of the link that finishes the registration, and the browser that began it. */
  registration: { readonly token: string; readonly browser: Client; isFinished: State } | undefined;

  constructor(
    readonly login: string,
    password: string,
  ) {
    this.password = password;
  }

  /** The password was replaced by another one. */
  changed(to: string): void {
    this.former.push(this.password);
    this.password = to;
  }

  /** Asks a process that remembers nothing. */
  async expectKept(other: AccountsStack): Promise<void> {
    if (this.registration !== undefined) await this.#expectRegistered(other, this.registration);
    const password = await this.#expectOnePassword(other);
    for (const token of this.usedResetLinks)
      expect(await reset(other, token, "never set, as it was used"), `used link of ${this.login}`).toBe(401);
    await this.#expectFactor(other, password);
    if (this.resetLink !== undefined) await this.#expectLink(other, this.resetLink, password);
  }

  /** Neither password or both would be a loss, and so would a former one. */
  async #expectOnePassword(other: AccountsStack): Promise<string> {
    const [former] = this.former.slice(-1);
    if (former !== undefined) expect(await this.#logIn(other, former), `former password of ${this.login}`).toBe(401);
    const now = await this.#logIn(other, this.password);
    if (this.maybe === undefined) {
      expect(now, `password of ${this.login}`).toBe(200);
      return this.password;
    }
    const maybe = await this.#logIn(other, this.maybe);
    expect([now, maybe].sort(), `old and new password of ${this.login}`).toEqual([200, 401]);
    return now === 200 ? this.password : this.maybe;
  }

  /** A link that was mailed works, unless it has set the password that is in doubt. */
  async #expectLink(other: AccountsStack, token: string, password: string): Promise<void> {
    const expected = password === this.maybe ? 401 : 200;
    expect(await reset(other, token, "what an unused link sets"), `link of ${this.login}`).toBe(expected);
  }

  async #expectFactor(other: AccountsStack, password: string): Promise<void> {
    const browser = other.browser();
    const { status } = (await browser.logIn(this.login, password)).json() as { status: string };
    if (this.hasFactor !== "in doubt")
      expect(status, `factor of ${this.login}`).toBe(this.hasFactor ? "factor-required" : "done");
    if (status !== "factor-required") return;
    const enter = async (method: string, code: string): Promise<number> =>
      (await browser.post("/account/login/factor", { method, code })).status;
    for (const code of this.usedCodes.slice(-1))
      expect(await enter("totp", code), `used code of ${this.login}`).toBe(401);
    for (const code of this.spentRecoveryCodes)
      expect(await enter("recovery", code), `spent recovery code of ${this.login}`).toBe(401);
    const [unused] = this.recoveryCodes;
    const last =
      unused === undefined ? enter("totp", this.authenticator?.code(other.now(), 1) ?? "") : enter("recovery", unused);
    expect(await last, `unused code of ${this.login}`).toBe(200);
  }

  /** One that is in doubt is finished by the same link, or has been. */
  async #expectRegistered(
    other: AccountsStack,
    { token, browser, isFinished }: NonNullable<AccountRecord["registration"]>,
  ): Promise<void> {
    const same = other.browser();
    for (const [name, value] of browser.cookies) same.cookies.set(name, value);
    const { status } = await same.post("/account/email/verify", { token });
    const expected = { true: [401], false: [200], "in doubt": [200, 401] }[String(isFinished) as `${State}`];
    expect(expected, `registration of ${this.login}`).toContain(status);
  }

  async #logIn(other: AccountsStack, password: string): Promise<number> {
    return (await other.browser().logIn(this.login, password)).status;
  }
}

async function reset(other: AccountsStack, token: string, password: string): Promise<number> {
  const answer: Answer = await other.browser().post("/account/password/reset", { token, password });
  return answer.status;
}
