import type { StoredCredential } from "../../stores/contracts.js";
import type { SecondFactorName } from "../gate/decide.js";
import type { Exchange } from "../http/route.js";
import type { Person } from "../types.js";

/** What came of a code: it was right, it was not, or the factor is closed for a while. */
export type Proof =
  | {
      readonly verdict: "proved";
      /** What the answer says besides, such as how many recovery codes are left. */
      readonly answer?: Readonly<Record<string, unknown>>;
    }
  | { readonly verdict: "wrong" }
  | { readonly verdict: "locked"; readonly retryAfterSeconds: number };

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
   * Checks a code and spends it: of several requests with one code at most one is `proved`. Failures are counted before.
   *
   * @throws StoreUnavailableError (rejects)
   */
  prove(person: Person, usable: readonly StoredCredential[], code: string, exchange: Exchange): Promise<Proof>;
}
