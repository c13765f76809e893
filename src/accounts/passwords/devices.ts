import { createHmac, type KeyObject, timingSafeEqual } from "node:crypto";
import type { Request, Response } from "express";
import { accountHash } from "../../rate-limit/login-account.js";
import type { StoredCredential } from "../../stores/contracts.js";
import type { StoreTime } from "../../stores/health/store-time.js";
import { deriveKey } from "../../settings/secrets.js";
import type { AccountsContext } from "../context.js";
import { readCookie } from "../http/cookies.js";
import type { Exchange } from "../http/route.js";
import { newId } from "../secrets.js";
import type { Person } from "../types.js";
import { DEVICE_KIND } from "./record.js";

/** The id of a device, its signatures for the counters of log-ins by name and by address, and that for the password. */
const COOKIE = /^([\w-]{22})\.([\w-]{43})\.([\w-]{43})\.([\w-]{43})$/;
/** The longest time that a browser keeps a cookie, in seconds. */
const LIFE_SECONDS = 34_560_000;
/** Most devices of a person; one more forgets the oldest. */
const MOST = 10;

/**
 * The devices on which a person has logged in. A cookie names one, signed for the person and for their password, so a new
 * password forgets them all. It is no proof of anything: it only counts the failures of the device apart from those of
 * strangers, who therefore cannot lock the person out.
 */
export class TrustedDevices {
  readonly #context: AccountsContext;
  readonly #keys: readonly KeyObject[];
  readonly #cookieName: string;
  readonly #attributes: string;

  constructor(context: AccountsContext) {
    const { debug } = context.host.runtime;
    this.#context = context;
    this.#keys = (context.host.settings.secretKey ?? []).map((secret) => deriveKey(secret, "account-device"));
    // Without https a browser refuses both the prefix and Secure.
    this.#cookieName = debug ? "portcullis_device" : "__Host-portcullis_device";
    this.#attributes = `; Path=/; HttpOnly${debug ? "" : "; Secure"}; SameSite=Lax; Max-Age=${LIFE_SECONDS}`;
  }

  /**
   * The account whose log-ins a request is counted with: a hash of the name; for a device on which the person of this name, or
   * of this verified address, has logged in, the device, whichever of them it sends. So what strangers use up is not the
   * owner's. Nothing is read for it.
   */
  accountOf(req: Request, login: string): string {
    const account = accountHash(login);
    const { id, forAccount } = this.#cookieOf(req);
    const binding = accountBinding(id, account);
    return forAccount.some((mac) => this.#isSigned(mac, binding)) ? `device ${id}` : account;
  }

  /**
   * Ends the run of failed log-ins with a person's names, on this device and on unknown ones: nobody has tried the password
   * that they have now. What the store does not answer is left, and ends by itself.
   *
   * @param req `undefined` for the app's own code
   */
  async forgetFailures(person: Person, req?: Request): Promise<void> {
    const own = req === undefined ? [] : [this.accountOf(req, person.login)];
    const accounts = new Set([...namesOf(person).map(accountHash), ...own]);
    const counters = this.#context.host.loginCounters();
    await Promise.all([...accounts].map((account) => counters.forget(account, req)));
  }

  /**
   * The device that a request comes from, if it is one of the person's. Nothing is read for a cookie that was not signed
   * for this password.
   *
   * @throws StoreUnavailableError (rejects)
   */
  async of(req: Request, password: StoredCredential, time: StoreTime): Promise<StoredCredential | undefined> {
    const { id, forPassword } = this.#cookieOf(req);
    const isSigned = this.#isSigned(forPassword, passwordBinding(id, password));
    if (!isSigned) return undefined;
    const { ownerId } = password;
    const found = await this.#context.credentials.read((store) => store.find(DEVICE_KIND, id), ownerId, time);
    const isAlive = found?.expiresAt == null || found.expiresAt > this.#context.host.runtime.clock.now();
    return found?.ownerId === ownerId && isAlive ? found : undefined;
  }

  /** Remembers the device after a log-in. When that fails, the log-in holds, and the device stays unknown. */
  async welcome({ req, res, time }: Exchange, person: Person): Promise<void> {
    await this.#remember(req, res, person, time).catch(() =>
      this.#context.host.runtime.events.emit("portcullis_layer_failed", () => ({
        source: "accounts",
        reason: "device-not-remembered",
        level: "WARN",
        subject: person.id,
      })),
    );
  }

  /**
   * Remembers the device of a log-in, in the place of the oldest when the person has too many. A device that is known
   * keeps its place.
   *
   * @throws StoreUnavailableError (rejects)
   */
  async #remember(req: Request, res: Response, person: Person, time: StoreTime): Promise<void> {
    const { credentials, host } = this.#context;
    const { id: personId } = person;
    const own = await credentials.read((store) => store.listOf(personId), personId, time);
    const password = own.find(({ kind }) => kind === "password");
    if (password === undefined) return;
    const known = await this.of(req, password, time);
    const device = known ?? deviceOf(personId, host.runtime.clock.now());
    if (known === undefined) {
      const devices = own.filter(({ kind }) => kind === DEVICE_KIND);
      const remove = devices.slice(0, Math.max(0, devices.length - MOST + 1)).map(({ id }) => id);
      const isKept = await credentials.write(
        (store, call) => store.change(personId, { remove, insert: [device] }, call),
        personId,
        time,
      );
      // Another log-in has just forgotten the same device; this one stays unknown until the next log-in.
      if (!isKept) return;
    }
    const { name } = device;
    const bindings = [
      ...namesOf(person).map((one) => accountBinding(name, accountHash(one))),
      passwordBinding(name, password),
    ];
    const macs = bindings.map((one) => macOf(this.#keys[0] as KeyObject, one).toString("base64url"));
    res.append("Set-Cookie", `${this.#cookieName}=${[name, ...macs].join(".")}${this.#attributes}`);
  }

  #cookieOf(req: Request): {
    readonly id: string;
    readonly forAccount: readonly string[];
    readonly forPassword: string;
  } {
    const [, id = "", ...macs] = COOKIE.exec(readCookie(req, this.#cookieName) ?? "") ?? [];
    return { id, forAccount: macs.slice(0, 2), forPassword: macs[2] ?? "" };
  }

  #isSigned(mac: string, binding: string): boolean {
    const given = Buffer.from(mac, "base64url");
    return this.#keys.some((key) => {
      const expected = macOf(key, binding);
      return expected.length === given.length && timingSafeEqual(expected, given);
    });
  }
}

/** Two names of a person. An address that nobody has verified may be somebody else's, whose log-ins are none of theirs. */
function namesOf({ login, email, emailVerified }: Person): readonly [string, string] {
  return [login, emailVerified ? (email ?? login) : login];
}

/** A new password has a new id, so that the devices of the old one are strangers. */
function passwordBinding(id: string, password: StoredCredential): string {
  return `password\n${id}\n${password.id}\n${password.ownerId}`;
}

function accountBinding(id: string, account: string): string {
  return `account\n${id}\n${account}`;
}

function macOf(key: KeyObject, binding: string): Buffer {
  return createHmac("sha256", key).update(binding).digest();
}

function deviceOf(personId: string, now: number): StoredCredential {
  return {
    id: newId(),
    ownerId: personId,
    kind: DEVICE_KIND,
    name: newId(),
    data: {},
    createdAt: now,
    // It proves nothing, so it is no confirmed credential.
    confirmedAt: null,
    usedAt: null,
    expiresAt: now + LIFE_SECONDS * 1000,
    counter: -1,
    failures: 0,
    version: 0,
  };
}
