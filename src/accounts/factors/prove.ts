import type { Refusal } from "../../core/response/problem.js";
import type { StoredCredential } from "../../stores/contracts.js";
import type { AccountsContext } from "../context.js";
import type { SecondFactorName } from "../gate/decide.js";
import type { Exchange } from "../http/route.js";
import type { Proved } from "./factor.js";
import { invalidCredentials } from "../refusals.js";
import type { Person } from "../types.js";

/** A code that is right and not spent yet. */
export interface RightCode {
  /**
   * Spends it, and so proves the factor. Another request may have been faster.
   *
   * @throws StoreUnavailableError (rejects)
   */
  spend(): Promise<Proved | Refusal>;
}

/**
 * Checks a code of a second factor. Whatever was wrong with it, the refusal is the same; only a factor that is closed for a
 * while says so.
 *
 * @throws StoreUnavailableError (rejects)
 */
export async function checkFactor(
  { holdings, host }: AccountsContext,
  person: Person,
  credentials: readonly StoredCredential[],
  { method, code }: { readonly method: SecondFactorName; readonly code: string },
  exchange: Exchange,
): Promise<RightCode | Refusal> {
  const factor = holdings.factors.find((one) => one.method === method);
  const checked = await factor?.check(person, factor.usable(credentials), code, exchange);
  const wrong = invalidCredentials(`wrong-${method}`, person.id);
  if (checked?.verdict === "right") {
    const spend = async (): Promise<Proved | Refusal> => {
      const spent = await checked.spend();
      if (spent === undefined) return wrong;
      return { method: { method, at: host.runtime.clock.now() }, answer: spent.answer ?? {} };
    };
    return { spend };
  }
  if (checked?.verdict !== "locked") return wrong;
  return {
    code: "too-many-failures",
    reason: method,
    subject: person.id,
    headers: { "Retry-After": String(checked.retryAfterSeconds) },
  };
}
