import { HashUnavailableError } from "../../api-key/keys/hash-queue.js";
import { FactorRequiredError } from "../../core/credential-gate.js";
import { type Refusal, RETRY_SOON } from "../../core/response/problem.js";
import { SessionEndedError } from "../../session/errors.js";
import { SessionStoreFullError } from "../../stores/health/store-full.js";
import { AccountDisabledError } from "../gate/account-disabled-error.js";
import { invalidCredentials, SESSION_ENDED } from "../refusals.js";
import { isStoreFailure } from "../store-failure.js";
import { UsersUnavailableError } from "../app-functions.js";

/** The refusal that an error of ours stands for; `undefined` for other errors, which are the app's to handle. */
export function refusalOfError(error: unknown): Refusal | undefined {
  if (error instanceof HashUnavailableError) return { code: "store-unavailable", reason: "busy", headers: RETRY_SOON };
  if (error instanceof UsersUnavailableError)
    return { code: "store-unavailable", reason: "users", headers: RETRY_SOON, event: false };
  if (error instanceof FactorRequiredError) return { code: "factor-required", reason: "gate" };
  if (error instanceof AccountDisabledError) return invalidCredentials("disabled");
  if (error instanceof SessionEndedError) return SESSION_ENDED;
  if (isStoreFailure(error))
    return { code: "store-unavailable", reason: "store-unavailable", headers: RETRY_SOON, event: false };
  if (error instanceof SessionStoreFullError)
    return { code: "store-unavailable", reason: "store-full", headers: RETRY_SOON };
  return undefined;
}
