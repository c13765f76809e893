import type { Refusal } from "../../core/response/problem.js";
import type { AccountsContext } from "../context.js";
import type { Exchange } from "../http/route.js";
import { NOT_LOGGED_IN } from "../refusals.js";
import type { Person } from "../types.js";

/**
 * The person who is logged in. One whom the app no longer knows, or has disabled, changes nothing more.
 *
 * @throws UsersUnavailableError (rejects)
 */
export async function personOf(
  { users }: AccountsContext,
  { req: { principal }, time }: Pick<Exchange, "req" | "time">,
): Promise<Person | Refusal> {
  const person = principal === undefined ? undefined : await time.besides(() => users.findById(principal.id));
  return person === undefined || person.isDisabled ? NOT_LOGGED_IN : person;
}
