import type { Request, Response } from "express";
import { accountHash } from "../../rate-limit/login-account.js";
import type { CredentialStore, StoredCredential } from "../../stores/contracts.js";
import { isPlainObject } from "../../stores/json.js";
import type { StoreTime } from "../../stores/health/store-time.js";
import type { AccountsContext } from "../context.js";
import type { Guarded } from "../guarded.js";
import { OwnCookie } from "../http/own-cookie.js";
import { isLive, newLink, type NewLink } from "../links.js";
import type { PasswordData } from "../passwords/new-password.js";
import { newId, newToken, tokenHash } from "../secrets.js";

/** What a registration that is not finished keeps. */
export interface Registration {
  readonly login: string;
  /** The hash of the cookie that the browser got. */
  readonly browser: string;
  readonly password: PasswordData;
  /** Whether `users.create` has been called for it: then a person of this name may be its own. */
  readonly isBegun: boolean;
  /** Whether it has a link of its own in the mailbox. */
  readonly isMailed: boolean;
}

export const REGISTRATION_KIND = "registration";
/** The kind of the mark that one request makes the person of a name. Its name is the owner, so that there is one. */
const CLAIM_KIND = "registration-claim";

export const REGISTRATION_MS = 86_400_000;
/** Longer than `users.create` and all store calls of a request may take: the process that claimed it has died. */
const CLAIM_MS = 30_000;
/** Most registrations of one name at once: one more ends the oldest. */
const MOST = 20;

/** Registrations that are not finished: of one name there may be several, each with its own password and browser. */
export class Registrations {
  readonly #context: Pick<AccountsContext, "settings" | "host">;
  readonly #store: Guarded<CredentialStore>;
  readonly #cookie: OwnCookie;

  constructor(context: AccountsContext) {
    this.#context = context;
    this.#store = context.credentials;
    this.#cookie = new OwnCookie("register", context.host.runtime.debug);
  }

  /**
   * Stores one.
   *
   * @returns its link, and the secret for the cookie of the browser
   * @throws StoreUnavailableError (rejects)
   */
  async add(
    { login, password, isMailed }: Pick<Registration, "login" | "password" | "isMailed">,
    time: StoreTime,
  ): Promise<NewLink & { readonly secret: string }> {
    const secret = newToken();
    const ownerId = ownerOf(login);
    const made = newLink(this.#context.settings, "verifyEmail", {
      kind: REGISTRATION_KIND,
      ownerId,
      data: dataOf({ login, browser: tokenHash(secret), password, isBegun: false, isMailed }),
      now: this.#now(),
      lifeMs: REGISTRATION_MS,
    });
    const held = await this.of(login, time);
    const remove = held.slice(0, Math.max(0, held.length - MOST + 1)).map(({ id }) => id);
    // When another request has removed one of them meanwhile, there is room without it.
    for (const removed of [remove, []]) {
      const change = { remove: removed, insert: [made.credential] };
      if (await this.#store.write((store, call) => store.change(ownerId, change, call), ownerId, time)) break;
    }
    return { ...made, secret };
  }

  /** Those of a name, oldest first. @throws StoreUnavailableError (rejects) */
  async of(login: string, time: StoreTime): Promise<readonly StoredCredential[]> {
    const ownerId = ownerOf(login);
    const all = await this.#store.read((store) => store.listOf(ownerId), ownerId, time);
    return all.filter(({ kind }) => kind === REGISTRATION_KIND);
  }

  /** The one whose link has this token, if it has not ended. @throws StoreUnavailableError (rejects) */
  async withToken(token: string, time: StoreTime): Promise<StoredCredential | undefined> {
    const name = tokenHash(token);
    const found = await this.#store.read((store) => store.find(REGISTRATION_KIND, name), name, time);
    return found !== undefined && isLive(found, this.#now()) ? found : undefined;
  }

  /** Whether the request comes from the browser that registered. */
  isOfBrowser(req: Request, { browser }: Registration): boolean {
    const secret = this.#cookie.read(req);
    return secret !== undefined && tokenHash(secret) === browser;
  }

  /**
   * The one without a mail of its own that this browser began with exactly this name, if it has not ended. A name in another
   * spelling may be somebody else's mailbox.
   *
   * @throws StoreUnavailableError (rejects)
   */
  async unmailedOf(req: Request, login: string, time: StoreTime): Promise<StoredCredential | undefined> {
    if (this.#cookie.read(req) === undefined) return undefined;
    return (await this.of(login, time)).find((one) => {
      const registration = registrationOf(one);
      if (registration === undefined || registration.isMailed || registration.login !== login) return false;
      return isLive(one, this.#now()) && this.isOfBrowser(req, registration);
    });
  }

  giveCookie(res: Response, secret: string): void {
    this.#cookie.give(res, secret, REGISTRATION_MS);
  }

  clearCookie(req: Request, res: Response): void {
    this.#cookie.clear(req, res);
  }

  /**
   * Lets one request at a time make the person of a name, and marks the registration as begun. `undefined` when another
   * one does it, or has done it.
   *
   * @throws StoreUnavailableError (rejects)
   */
  async claim(found: StoredCredential, registration: Registration, time: StoreTime): Promise<Claim | undefined> {
    const { ownerId } = found;
    const now = this.#now();
    const former = await this.#store.read((store) => store.find(CLAIM_KIND, ownerId), ownerId, time);
    if (former !== undefined && isLive(former, now)) return undefined;
    const claim: StoredCredential = {
      ...found,
      id: newId(),
      kind: CLAIM_KIND,
      name: ownerId,
      data: {},
      createdAt: now,
      expiresAt: now + CLAIM_MS,
      version: 0,
    };
    const change = {
      remove: former === undefined ? [] : [former.id],
      update: [{ id: found.id, version: found.version, data: dataOf({ ...registration, isBegun: true }) }],
      insert: [claim],
    };
    const isClaimed = await this.#store.write((store, call) => store.change(ownerId, change, call), ownerId, time);
    return isClaimed ? { registrationId: found.id, version: found.version + 1, ownerId, id: claim.id } : undefined;
  }

  /**
   * Gives a claim back, so that the link works again. Without an answer of the store the claim ends by itself.
   *
   * @param registration as it is to be now
   */
  async release(claim: Claim, registration: Registration): Promise<void> {
    const { ownerId, id, registrationId, version } = claim;
    const change = { remove: [id], update: [{ id: registrationId, version, data: dataOf(registration) }] };
    try {
      await this.#store.write((store, call) => store.change(ownerId, change, call), ownerId);
    } catch {
      // The guard has announced it.
    }
  }

  /**
   * Ends a registration that was finished, and the others of its name. Of several calls one returns true.
   *
   * @throws StoreUnavailableError (rejects)
   */
  end({ ownerId, registrationId }: Claim, time: StoreTime): Promise<boolean> {
    const change = { remove: [registrationId], removeKinds: [REGISTRATION_KIND, CLAIM_KIND] };
    return this.#store.write((store, call) => store.change(ownerId, change, call), ownerId, time);
  }

  #now(): number {
    return this.#context.host.runtime.clock.now();
  }
}

/** That one request makes the person. */
export interface Claim {
  readonly id: string;
  readonly ownerId: string;
  readonly registrationId: string;
  readonly version: number;
}

/** Names that differ in case or in compatible characters belong together, as log-ins are counted. */
function ownerOf(login: string): string {
  return `registration ${accountHash(login)}`;
}

function dataOf({ login, browser, password, isBegun, isMailed }: Registration): StoredCredential["data"] {
  return { login, browser, password, isBegun, isMailed };
}

/** What a record keeps; `undefined` for a damaged one. */
export function registrationOf({ data }: StoredCredential): Registration | undefined {
  const { login, browser, password, isBegun, isMailed } = data;
  if (typeof login !== "string" || typeof browser !== "string" || !isPlainObject(password)) return undefined;
  return { login, browser, password: password, isBegun: isBegun === true, isMailed: isMailed === true };
}
