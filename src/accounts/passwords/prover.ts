import type { Request } from "express";
import { requestContext } from "../../core/request-events.js";
import { SetupError } from "../../core/setup-error.js";
import { accountHash } from "../../rate-limit/login-account.js";
import type { StoredCredential } from "../../stores/contracts.js";
import type { StoreTime } from "../../stores/health/store-time.js";
import type { AccountsContext } from "../context.js";
import type { ResolvedPasswordSettings } from "../settings.js";
import type { Person } from "../types.js";
import type { TrustedDevices } from "./devices.js";
import type { HashCharge, PasswordHasher } from "./hasher.js";
import type { ImportedHashes } from "./imported-hashes.js";
import type { Nobody } from "./nobody.js";
import { type PlainPassword, readPassword } from "./plain-text.js";
import { PASSWORD_KIND, type StoredPassword, storedPasswordOf } from "./record.js";

/** Why a password does not prove a person. For events and the app's code; clients get one answer for all of them. */
export type PasswordFailure =
  "unknown" | "no-password" | "wrong-password" | "password-disabled" | "unreadable" | "too-long" | "disabled";

/** What came of a password. */
export type PasswordProof =
  | { readonly ok: false; readonly reason: PasswordFailure }
  | {
      readonly ok: true;
      readonly plain: PlainPassword;
      readonly credential: StoredCredential;
      readonly stored: StoredPassword;
    };

/** A try. */
export interface PasswordTry {
  readonly person: Person | undefined;
  /** The name that was given. */
  readonly login: string;
  readonly typed: string;
  /** The request; `undefined` for the app's own code. */
  readonly req: Request | undefined;
  readonly callers: readonly string[];
  readonly time: StoreTime;
}

/**
 * Checks passwords, and counts failures in a row before it does (NIST SP 800-63B-4 3.2.2): of any number of parallel tries
 * at most as many are compared as the settings allow. What it does for a person who exists, it does for one who does not.
 */
export class PasswordProver {
  readonly #context: AccountsContext;
  readonly #most: number;
  readonly #hasher: PasswordHasher;
  readonly #devices: TrustedDevices;
  readonly #nobody: Nobody;
  readonly #imported: ImportedHashes;
  #hasWarned = false;

  constructor(
    context: AccountsContext,
    { maxConsecutiveFailures }: ResolvedPasswordSettings,
    hasher: PasswordHasher,
    devices: TrustedDevices,
    nobody: Nobody,
    imported: ImportedHashes,
  ) {
    this.#context = context;
    this.#most = maxConsecutiveFailures;
    this.#hasher = hasher;
    this.#devices = devices;
    this.#nobody = nobody;
    this.#imported = imported;
  }

  /**
   * @throws StoreUnavailableError (rejects) @throws HashUnavailableError (rejects) when too many passwords are hashed
   * @throws SetupError (rejects) without a request, when the hash needs the package bcrypt, which is not installed
   */
  async prove({ person, login, typed, req, callers, time }: PasswordTry): Promise<PasswordProof> {
    const plain = readPassword(typed);
    // Nobody has such a password, so this says nothing of anybody.
    if (typeof plain === "string") return { ok: false, reason: plain };
    const { credentials } = this.#context;
    const account = accountHash(login);
    const owner = person?.id ?? `nobody ${account}`;
    const found = await credentials.read((store) => store.find(PASSWORD_KIND, owner), owner, time);
    const device = found === undefined || req === undefined ? undefined : await this.#devices.of(req, found, time);
    const counted = device ?? found;
    const costs = await this.#imported.costs(time);
    const failures = await this.#count(counted, account, time);
    const isOpen = failures <= this.#most;
    const stored = found === undefined ? undefined : storedPasswordOf(found);
    const charge: HashCharge = { callers, target: { key: account, owner: account } };
    const refusal = { costs, isCertain: person?.isDisabled !== false };
    const compared = time.besides(() =>
      this.#hasher.compare(isOpen ? stored : undefined, plain, charge, refusal).catch((error: unknown) => {
        // The failure is counted: no later one tells the owner.
        if (person !== undefined && counted !== undefined && failures === this.#most) this.#lock(person, device, req);
        throw error;
      }),
    );
    // To a client nobody has this password, as if there were no such person; the app's own code is told what is missing.
    const comparison = await (req === undefined ? compared : compared.catch((error) => this.#withoutPackage(error)));
    if (person === undefined) return { ok: false, reason: "unknown" };
    if (found === undefined || counted === undefined) return { ok: false, reason: "no-password" };
    if (!isOpen) return { ok: false, reason: "password-disabled" };
    if (stored === undefined || comparison === "unreadable" || comparison === "no-package")
      return this.#unreadable(person, comparison === "no-package" ? "bcrypt-missing" : "password-unreadable");
    if (comparison === "mismatch") {
      if (failures === this.#most) this.#lock(person, device, req);
      return { ok: false, reason: "wrong-password" };
    }
    if (person.isDisabled) return { ok: false, reason: "disabled" };
    await this.#clear(counted, owner, time);
    // What strangers have tried does not add up from one log-in to the next; what they have disabled stays disabled.
    if (device !== undefined && found.failures > 0 && found.failures < this.#most)
      await this.#clear(found, owner, time);
    if (failures > 1) this.#successAfterFailures(person, req);
    return { ok: true, plain, credential: found, stored };
  }

  /** Counts a failure before anything is compared. @returns how many there are in a row, with this one */
  async #count(counted: StoredCredential | undefined, account: string, time: StoreTime): Promise<number> {
    if (counted === undefined) {
      await this.#nobody.addFailure(account, time);
      return 0;
    }
    const { id, ownerId } = counted;
    return (await this.#context.credentials.write((store, call) => store.addFailure(id, call), ownerId, time)) ?? 0;
  }

  async #clear({ id }: StoredCredential, owner: string, time: StoreTime): Promise<void> {
    await this.#context.credentials.write((store, call) => store.clearFailures(id, call), owner, time);
  }

  /** Warns once of the package that an imported hash needs. Other errors are the app's to handle. */
  #withoutPackage(error: unknown): "no-package" {
    if (!(error instanceof SetupError)) throw error;
    if (!this.#hasWarned) process.emitWarning(error.message, { code: "PORTCULLIS_ACCOUNTS" });
    this.#hasWarned = true;
    return "no-package";
  }

  #unreadable({ id }: Person, reason: "password-unreadable" | "bcrypt-missing"): PasswordProof {
    this.#context.host.runtime.events.emit("portcullis_misconfigured", () => ({
      source: "accounts",
      reason,
      subject: id,
    }));
    return { ok: false, reason: "unreadable" };
  }

  #lock(person: Person, device: StoredCredential | undefined, req: Request | undefined): void {
    const reason = device === undefined ? "password-disabled" : "device-disabled";
    this.#context.host.runtime.events.emit("authn_login_lock", () => ({
      source: "accounts",
      reason,
      ...(req === undefined ? {} : requestContext(req)),
      subject: person.id,
    }));
    if (device === undefined) this.#context.notices.send({ kind: "password-disabled", user: person.user });
  }

  #successAfterFailures({ id }: Person, req: Request | undefined): void {
    this.#context.host.runtime.events.emit("authn_login_successafterfail", () => ({
      source: "accounts",
      reason: "password",
      ...(req === undefined ? {} : requestContext(req)),
      subject: id,
    }));
  }
}
