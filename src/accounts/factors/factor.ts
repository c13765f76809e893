import type { AuthenticationMethod } from "../../core/authentication.js";
import type { StoredCredential } from "../../stores/contracts.js";
import type { SecondFactorName } from "../gate/decide.js";
import type { Exchange } from "../http/route.js";
import type { Person } from "../types.js";

/** A code that has been spent. */
export interface SpentCode {
  /** What the answer says besides, such as how many recovery codes are left. */
  readonly answer?: Readonly<Record<string, unknown>>;
}

/** What came of a code: it is right, it is not, or the factor is closed for a while. */
export type CodeCheck =
  | {
      readonly verdict: "right";
      /**
       * Spends it: of several requests with one code at most one does. `undefined` when another one was faster.
       *
       * @throws StoreUnavailableError (rejects)
       */
      spend(): Promise<SpentCode | undefined>;
    }
  | { readonly verdict: "wrong" }
  | { readonly verdict: "locked"; readonly retryAfterSeconds: number };

/** A second factor that has been proved, and what the answer says besides. */
export interface Proved {
  readonly method: AuthenticationMethod;
  readonly answer: Readonly<Record<string, unknown>>;
}

/**
 * One kind of second factor. The gate knows nothing else of it, so that another kind is one more entry in the list of
 * `create-accounts.ts`.
 */
export interface SecondFactor {
  /** Its name in `POST /login/factor` and in `req.principal.methods`. */
  readonly method: SecondFactorName;
  /** The kind of its credentials. */
  readonly kind: string;
  /** Whether it makes a second factor due. Recovery codes do not: they stand in for another one. */
  readonly isFactor: boolean;
  /** Whether people can set it up by themselves. */
  readonly canEnrol: boolean;
  /** Which of a person's credentials can prove it now. */
  usable(credentials: readonly StoredCredential[]): readonly StoredCredential[];
  /**
   * Checks a code without spending it, so that a log-in can be ended in between. Failures are counted before.
   *
   * @throws StoreUnavailableError (rejects)
   */
  check(person: Person, usable: readonly StoredCredential[], code: string, exchange: Exchange): Promise<CodeCheck>;
}
