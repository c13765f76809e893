import type { Request, Response } from "express";
import { type AuthenticationMethod, storedMethods } from "../../core/authentication.js";
import { isLocalPath } from "../../core/http/local-path.js";
import { OwnCookie } from "../http/own-cookie.js";
import type { Runtime } from "../../core/runtime.js";
import type { StoreTime } from "../../stores/health/store-time.js";
import type { SingleUseRecord, SingleUseStore } from "../../stores/contracts.js";
import type { Guarded } from "../guarded.js";
import { isToken, newToken, tokenHash } from "../secrets.js";

/** How a log-in is delivered: as a session with a cookie, or as tokens. */
export type Delivery = "session" | "tokens";

/** A log-in that still owes a factor. No guard knows it. */
export interface PendingLogIn {
  /** Names it without revealing its secret. */
  readonly id: string;
  readonly personId: string;
  /** What has been proved. */
  readonly methods: readonly AuthenticationMethod[];
  readonly remember: boolean;
  readonly deliver: Delivery;
  /** The page that the browser wanted: a path of this origin. */
  readonly returnTo: string | undefined;
  /** What it owes: a factor that the person has, or one that must be set up. */
  readonly owes: "factor" | "enrolment";
  /** What the person's credentials were when it began: when they have changed, it is worthless. */
  readonly stamp: string;
}

const KIND = "log-in";
const LIFE_MS = 300_000;
/**
 * Shares of a person, by the address of the client. A store keeps ten records of each: whoever knows the password and begins
 * many log-ins ends those of clients in their own share, not those of the owner elsewhere.
 */
const SHARES = 16;

/** The log-ins that are not finished: records of five minutes, each bound to the browser, or the client, that began it. */
export class PendingLogIns {
  readonly #store: Guarded<SingleUseStore>;
  readonly #runtime: Runtime;
  readonly #cookie: OwnCookie;

  constructor(store: Guarded<SingleUseStore>, runtime: Runtime) {
    this.#store = store;
    this.#runtime = runtime;
    this.#cookie = new OwnCookie("login", runtime.debug);
  }

  /**
   * Stores a log-in that owes a factor, and gives the browser the cookie for it.
   *
   * @param address of the client
   * @returns the secret for a client without cookies; `undefined` when a cookie has it
   */
  async begin(
    res: Response,
    pending: Omit<PendingLogIn, "id">,
    address: string,
    time: StoreTime,
  ): Promise<string | undefined> {
    const secret = newToken();
    const { personId, methods, remember, deliver, returnTo, owes, stamp } = pending;
    const record: SingleUseRecord = {
      id: tokenHash(secret),
      kind: KIND,
      ownerId: shareOf(personId, address),
      data: {
        personId,
        methods: methods.map(({ method, at }) => ({ method, at })),
        remember,
        deliver,
        owes,
        stamp,
        ...(returnTo === undefined ? {} : { returnTo }),
      },
      expiresAt: this.#runtime.clock.now() + LIFE_MS,
    };
    await this.#store.write((store, call) => store.put(record, call), personId, time);
    if (deliver === "tokens") return secret;
    this.#cookie.give(res, secret, LIFE_MS);
    return undefined;
  }

  /** The secret that a request brings: in the body for a client without cookies, otherwise in the cookie. */
  secretOf(req: Request, given: string | undefined): { secret: string; deliver: Delivery } | undefined {
    if (given !== undefined) return isToken(given) ? { secret: given, deliver: "tokens" } : undefined;
    const cookie = this.#cookie.read(req);
    return cookie === undefined ? undefined : { secret: cookie, deliver: "session" };
  }

  /** The log-in that a request goes on with, if there is one that has not ended. */
  async find(req: Request, given: string | undefined, time: StoreTime): Promise<PendingLogIn | undefined> {
    const held = this.secretOf(req, given);
    if (held === undefined) return undefined;
    const id = tokenHash(held.secret);
    const record = await this.#store.read((store) => store.get(KIND, id, this.#runtime.clock.now()), id, time);
    return record === undefined ? undefined : pendingOf(record, held.deliver);
  }

  /**
   * Ends a log-in. Of several requests with one secret only one ends it.
   *
   * @returns stores it again; `undefined` when there was none to end
   */
  async end(req: Request, given: string | undefined, time: StoreTime): Promise<(() => Promise<void>) | undefined> {
    const held = this.secretOf(req, given);
    if (held === undefined) return undefined;
    const id = tokenHash(held.secret);
    const now = this.#runtime.clock.now();
    const record = await this.#store.write((store, call) => store.take(KIND, id, now, call), id, time);
    if (record === undefined) return undefined;
    // Without an answer of the store it has ended. The guard has announced it.
    return () => this.#store.write((store, call) => store.put(record, call), id).catch(() => undefined);
  }

  /** Takes the cookie back. */
  clear(req: Request, res: Response): void {
    this.#cookie.clear(req, res);
  }
}

/** `undefined` for a damaged record, and for one that is presented in another way than it was given. */
function pendingOf({ id, data }: SingleUseRecord, presented: Delivery): PendingLogIn | undefined {
  const { personId, remember, deliver, owes, stamp } = data;
  const methods = storedMethods(data.methods);
  if (methods === undefined || deliver !== presented || typeof stamp !== "string") return undefined;
  if (typeof personId !== "string") return undefined;
  if (owes !== "factor" && owes !== "enrolment") return undefined;
  const returnTo = isLocalPath(data.returnTo) ? data.returnTo : undefined;
  return { id, personId, methods, remember: remember === true, deliver, returnTo, owes, stamp };
}

function shareOf(personId: string, address: string): string {
  const share = Buffer.from(tokenHash(address), "base64url").readUInt32BE(0) % SHARES;
  return tokenHash(`${share}\n${personId}`);
}
