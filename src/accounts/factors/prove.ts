import type { AuthenticationMethod } from "../../core/authentication.js";
import type { Refusal } from "../../core/response/problem.js";
import type { StoredCredential } from "../../stores/contracts.js";
import type { AccountsContext } from "../context.js";
import type { SecondFactorName } from "../gate/decide.js";
import type { Exchange } from "../http/route.js";
import { invalidCredentials } from "../refusals.js";
import type { Person } from "../types.js";

/** A second factor that has been proved, and what the answer says besides. */
export interface Proved {
  readonly method: AuthenticationMethod;
  readonly answer: Readonly<Record<string, unknown>>;
}

/**
 * Checks a code of a second factor and spends it. Whatever was wrong with it, the refusal is the same; only a factor that
 * is closed for a while says so.
 *
 * @throws StoreUnavailableError (rejects)
 */
export async function proveFactor(
  { gate, host }: AccountsContext,
  person: Person,
  credentials: readonly StoredCredential[],
  { method, code }: { readonly method: SecondFactorName; readonly code: string },
  exchange: Exchange,
): Promise<Proved | Refusal> {
  const factor = gate.factors.find((one) => one.method === method);
  const proof = await factor?.prove(person, factor.usable(credentials), code, exchange);
  if (proof?.verdict === "proved")
    return { method: { method, at: host.runtime.clock.now() }, answer: proof.answer ?? {} };
  if (proof?.verdict !== "locked") return invalidCredentials(`wrong-${method}`, person.id);
  return {
    code: "too-many-failures",
    reason: method,
    subject: person.id,
    headers: { "Retry-After": String(proof.retryAfterSeconds) },
  };
}
