import type { Runtime } from "../../core/runtime.js";
import type { ResolvedAccountsSettings, ResolvedPasswordSettings } from "../settings.js";
import { BreachedPasswords, type BreachResult } from "./breached.js";
import { isCommonPassword } from "./common-passwords.js";
import { readPassword, type PlainPassword } from "./plain-text.js";
import { contextWords, countCharacters, decidePassword, type PasswordCheck } from "./policy.js";

/** Whose password it is to be. */
export interface PasswordOwner {
  readonly login?: string | undefined;
  readonly email?: string | undefined;
  /** More words that it must not be made of. */
  readonly words?: readonly string[] | undefined;
}

/** A check, and what is kept with a password that passed it. */
export interface CheckedPassword extends PasswordCheck {
  readonly plain: PlainPassword | undefined;
  readonly breach: BreachResult;
}

/** The rules for new passwords, with the block list and the service that knows leaks. */
export class PasswordRules {
  readonly #settings: ResolvedPasswordSettings;
  /** The host of the service. */
  readonly #host: string;
  /** Names of the service. */
  readonly #names: readonly string[];
  readonly #breached: BreachedPasswords | undefined;

  constructor(
    settings: ResolvedPasswordSettings,
    { baseUrl, factors }: Pick<ResolvedAccountsSettings, "baseUrl" | "factors">,
    runtime: Runtime,
    ranges?: string,
  ) {
    this.#settings = settings;
    const issuer = factors.totp === false ? undefined : factors.totp.issuer;
    this.#host = new URL(baseUrl).hostname;
    this.#names = [...settings.blockList, ...(issuer === undefined ? [] : [issuer])];
    this.#breached = typeof settings.breached === "object" ? new BreachedPasswords(runtime, ranges) : undefined;
  }

  /** @param hasSecondFactor whether the account has a second factor, so that a shorter one will do */
  async check(
    typed: string,
    { login, email, words = [] }: PasswordOwner,
    hasSecondFactor: boolean,
  ): Promise<CheckedPassword> {
    const { breached, maxLength, minLength, minLengthWithSecondFactor } = this.#settings;
    const plain = readPassword(typed, maxLength);
    if (typeof plain === "string") return { ok: false, reasons: [plain], plain: undefined, breach: "clean" };
    const { text } = plain;
    const reasons = decidePassword({
      text,
      minLength: hasSecondFactor ? minLengthWithSecondFactor : minLength,
      words: contextWords({ login, email, host: this.#host, names: [...this.#names, ...words] }),
      isCommon: breached !== false && (await isCommonPassword(text)),
    });
    // What is refused anyway is sent nowhere.
    if (reasons.length > 0) return { ok: false, reasons, plain, breach: "clean" };
    const breach = await this.breach(text);
    if (breach === "found") return { ok: false, reasons: ["breached"], plain, breach };
    if (breach === "clean") return { ok: true, reasons: [], plain, breach };
    const isRefused = typeof breached === "object" && breached.onError === "refuse";
    return { ok: !isRefused, reasons: ["not-checked"], plain, breach };
  }

  /** Whether a password has leaked, as far as the settings want to know. */
  async breach(text: string): Promise<BreachResult> {
    return (await this.#breached?.check(text)) ?? "clean";
  }

  /** Whether a password may be the only factor, as far as its length goes. */
  isLong(text: string): boolean {
    return countCharacters(text) >= this.#settings.minLength;
  }
}
