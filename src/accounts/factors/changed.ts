import { requestContext } from "../../core/request-events.js";
import type { Request } from "express";
import { SessionEndedError } from "../../session/errors.js";
import type { Principal } from "../../core/principal.js";
import type { AccountsContext } from "../context.js";
import type { Ending, LivingKey } from "../compromise.js";
import { isStoreFailure } from "../store-failure.js";
import type { AccountNotice, Person } from "../types.js";

/** A change of a person's factors, which has been made. */
interface FactorChange {
  readonly person: Person;
  readonly kind: Extract<AccountNotice["kind"], "factor-added" | "factor-removed">;
  /** For the event: which factor, and what was done. */
  readonly reason: string;
  /** The request that made it; the app's own code has none. */
  readonly req?: Request | undefined;
  /** What ends by it. */
  readonly ending: Ending;
  /** The credential that made it, which stays in force. */
  readonly keep?: Principal | undefined;
}

/**
 * Announces a change, and ends everything else that the person is logged in with.
 *
 * @throws StoreUnavailableError (rejects); the change is made, and what was accepted holds
 */
export async function factorsChanged(
  { host, notices }: AccountsContext,
  { person, kind, reason, req, ending, keep }: FactorChange,
): Promise<void> {
  const facts = { source: "accounts", reason, ...(req === undefined ? {} : requestContext(req)), subject: person.id };
  host.runtime.events.emit("user_updated", () => facts);
  let apiKeys: readonly LivingKey[] = [];
  try {
    apiKeys = await ending.end(keep);
  } finally {
    notices.send({ kind, user: person.user, ...(apiKeys.length === 0 ? {} : { apiKeys }) });
  }
}

/**
 * Runs what follows a change that has been made. A store that is late, or a session that ended meanwhile, does not make
 * the change look refused, nor take the codes away that are shown once: what a revocation marked holds and is repeated, and
 * its guard has announced it.
 *
 * @returns whether it was done in time
 */
export async function evenIfLate(work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (!isStoreFailure(error) && !(error instanceof SessionEndedError)) throw error;
    return false;
  }
}
