import { SetupError } from "../core/setup-error.js";
import type { Runtime } from "../core/runtime.js";
import { callerFor, callerForPrincipal } from "../core/store-caller.js";
import { isPlainObject } from "../stores/json.js";
import type { StoreTime } from "../stores/health/store-time.js";
import type { StoredTokenFamily } from "../stores/contracts.js";
import { TokenError } from "./errors.js";
import { isTokenId, subjectOf } from "./grant.js";
import type { GuardedTokenStore } from "./guarded-token-store.js";
import type { TokenRevocations } from "./revocations.js";

const MAX_PAGE = 100;
const DEFAULT_PAGE = 50;

/** A family of refresh tokens, as `JwtManager.families` lists it: one log-in, one device. Frozen. */
export interface TokenFamily {
  /** Names the family, and reveals no token. It is the claim `fam` of its access tokens. */
  readonly id: string;
  /** What `issue` was told to call it. */
  readonly label?: string;
  /** When it began, in milliseconds since the epoch. */
  readonly createdAt: number;
  /** When it was last refreshed; when it began, if it was not. In milliseconds since the epoch. */
  readonly lastUsedAt: number;
  /** When it ends if it is not refreshed, in milliseconds since the epoch. */
  readonly expiresAt: number;
  /** When it ends, however often it is refreshed, in milliseconds since the epoch. */
  readonly endsAt: number;
}

/** The page of a subject's families that `JwtManager.families` returns. */
export interface FamiliesInput {
  /** Number of families, 1 to 100. Default: 50. */
  readonly limit?: number | undefined;
  /** The id of the family after which the page begins: the last one of the page before. Default: the first page. */
  readonly after?: string | undefined;
}

/** Options of `JwtManager.endFamily`. */
export interface EndFamilyInput {
  /** Ends the family only if it belongs to this user or service. Default: whoever it belongs to. */
  readonly subject?: string | number | undefined;
}

const NO_LIST =
  "This token store cannot list families of refresh tokens, so they cannot be listed, or ended by their id. Use a store with the methods familiesOf and findFamily, such as SqlTokenStore.";

/** Lists families of refresh tokens, and ends one by its id. */
export class TokenFamilyDirectory {
  readonly #store: GuardedTokenStore;
  readonly #revocations: TokenRevocations;
  readonly #runtime: Runtime;

  constructor(store: GuardedTokenStore, revocations: TokenRevocations, runtime: Runtime) {
    this.#store = store;
    this.#revocations = revocations;
    this.#runtime = runtime;
  }

  /** See `JwtManager.families`. */
  async list(id: unknown, input: unknown, time: StoreTime): Promise<TokenFamily[]> {
    const subject = subjectOf(id);
    const page = pageOf(input);
    const now = this.#runtime.clock.now();
    const found = await this.#store.read(
      (store) => store.familiesOf?.(subject, now, page),
      time,
      callerForPrincipal(subject),
    );
    if (found === undefined) throw new SetupError(NO_LIST);
    return found.map(familyOf);
  }

  /** See `JwtManager.endFamily`. */
  async end(id: unknown, { subject }: EndFamilyInput, time: StoreTime): Promise<boolean> {
    const owner = subject === undefined ? undefined : subjectOf(subject);
    if (!isTokenId(id)) return false;
    const found = await this.#store.read((store) => store.findFamily?.(id), time, callerFor(id));
    if (found === undefined) throw new SetupError(NO_LIST);
    if (found === null || (owner !== undefined && found.subject !== owner)) return false;
    await this.#revocations.revokeFamily({ familyId: found.id, subject: found.subject }, time);
    return true;
  }
}

/** @throws TokenError `invalid-input` */
function pageOf(input: unknown): { limit: number; after?: string } {
  if (!isPlainObject(input) || Object.keys(input).some((name) => name !== "limit" && name !== "after"))
    throw invalid("The page must be an object: { limit?, after? }.");
  const { limit = DEFAULT_PAGE, after } = input;
  if (!Number.isSafeInteger(limit) || (limit as number) < 1 || (limit as number) > MAX_PAGE)
    throw invalid(`limit must be a whole number from 1 to ${MAX_PAGE}.`);
  if (after === undefined) return { limit: limit as number };
  if (!isTokenId(after)) throw invalid("after must be the id of a family.");
  return { limit: limit as number, after };
}

function familyOf({ id, label, createdAt, lastUsedAt, expiresAt, endsAt }: StoredTokenFamily): TokenFamily {
  return Object.freeze({ id, ...(label === null ? {} : { label }), createdAt, lastUsedAt, expiresAt, endsAt });
}

function invalid(message: string): TokenError {
  return new TokenError("invalid-input", { message });
}
