import { createHash } from "node:crypto";
import type { StoreTime } from "../../stores/health/store-time.js";
import type { CredentialStore, StoredCredential } from "../../stores/contracts.js";
import type { AppFunctions } from "../app-functions.js";
import type { SecondFactor } from "../factors/factor.js";
import type { Guarded } from "../guarded.js";
import { PASSWORD_KIND } from "../passwords/record.js";
import type { ResolvedAccountsSettings } from "../settings.js";
import type { Person } from "../types.js";
import type { Standing } from "./decide.js";

/** What a person has to prove who they are with, and what the app asks of them. */
export class Holdings {
  readonly factors: readonly SecondFactor[];
  readonly #settings: ResolvedAccountsSettings;
  readonly #functions: AppFunctions;
  readonly #credentials: Guarded<CredentialStore>;

  /** @param factors the second factors that are on */
  constructor(
    settings: ResolvedAccountsSettings,
    functions: AppFunctions,
    credentials: Guarded<CredentialStore>,
    factors: readonly SecondFactor[],
  ) {
    this.factors = factors;
    this.#settings = settings;
    this.#functions = functions;
    this.#credentials = credentials;
  }

  /** @throws StoreUnavailableError (rejects) */
  credentialsOf(personId: string, time?: StoreTime): Promise<readonly StoredCredential[]> {
    return this.#credentials.read((store) => store.listOf(personId), personId, time);
  }

  /** What a person has, and what is asked of them. */
  async standingOf(person: Person, credentials: readonly StoredCredential[]): Promise<Standing> {
    const usable = this.factors.filter((factor) => factor.usable(credentials).length > 0);
    return {
      factors: usable.map(({ method }) => method),
      hasFactor: usable.some(({ isFactor }) => isFactor),
      isRequired: await this.isRequired(person),
      enrollable: this.factors.flatMap(({ method, canEnrol }) => (canEnrol ? [method] : [])),
    };
  }

  /** Whether `factors.required` asks for a second factor. @throws UsersUnavailableError (rejects) */
  async isRequired(person: Person): Promise<boolean> {
    const { required } = this.#settings.factors;
    if (required === undefined) return false;
    // Anything but a clear no asks for the factor.
    return this.#functions.call(
      "factors.required",
      () => required(person.user),
      (answer) => answer !== false,
    );
  }

  /**
   * What a person's passwords and factors are, in short: it changes with each of them. Attempts and recovery codes leave it
   * as it is, so that a wrong code does not end the log-in of someone else.
   */
  stampOf(credentials: readonly StoredCredential[]): string {
    return createHash("sha256").update(this.basesOf(credentials).sort().join("\n")).digest("base64url");
  }

  /** The ids of a person's passwords and factors. */
  basesOf(credentials: readonly StoredCredential[]): string[] {
    const passwords = credentials.filter(({ kind }) => kind === PASSWORD_KIND);
    const factors = this.factors.filter(({ isFactor }) => isFactor).flatMap((factor) => factor.usable(credentials));
    return [...passwords, ...factors].map(({ id }) => id);
  }
}
