import type { Request } from "express";
import { checkedIdentity } from "./core/checked-identity.js";
import { only } from "./core/authentication.js";
import { InvalidInputError, PortcullisError } from "./core/portcullis-error.js";
import { createPrincipal } from "./core/principal.js";
import { setPrincipal } from "./core/request-events.js";
import { beginState } from "./core/request-state.js";
import type { Runtime } from "./core/runtime.js";
import { SetupError } from "./core/setup-error.js";

/** A caller whom the app itself has authenticated. */
export interface ExternalCaller {
  /**
   * The caller's id: a string of 1 to 255 characters, or a safe integer, which is converted to decimal text. Becomes
   * `req.principal.id`.
   */
  readonly id: string | number;
  /** Scopes of the caller. Default: none. */
  readonly scopes?: readonly string[];
  /** Roles of the caller. Default: none. */
  readonly roles?: readonly string[];
  /**
   * When the caller proved its identity, in milliseconds since the epoch. Default: 0, not known, so that no check of
   * freshness accepts this caller.
   */
  readonly authenticatedAt?: number;
}

/** `usePrincipal` was called for a request that another credential has already authenticated. */
export class AmbiguousCredentialsError extends PortcullisError {
  readonly code = "ambiguous-credentials";
  /** Express's own error handler answers with it when the app passes the error on. */
  readonly status = 400;

  constructor() {
    super("This request has more than one credential. Send exactly one.");
    this.name = "AmbiguousCredentialsError";
  }
}

/** Sets the principal of a request that the app has authenticated. See `SecurityBase.usePrincipal`. */
export type UsePrincipal = (req: Request, caller: ExternalCaller | undefined) => void;

/** @param csrfDecided whether csrf is on, or the settings turn it off explicitly */
export function createUsePrincipal(runtime: Runtime, csrfDecided: boolean): UsePrincipal {
  return function usePrincipal(req, caller) {
    const state = beginState(req, runtime);
    if (!state.hasRun("context"))
      throw new SetupError(
        "usePrincipal was called for a request that applySecurity has not handled. Call it after applySecurity, in a middleware of the same app.",
      );
    // What proves the caller may be something that browsers send by themselves: a cookie, a client certificate.
    if (!csrfDecided && !state.hasRun("csrf"))
      throw new SetupError(
        "usePrincipal needs protection against cross-origin request forgery, which is off. Turn it on: applySecurity(app, { csrf: {} }). If browsers never send what authenticates your callers, set csrf: false.",
      );
    state.markRan("external");
    if (caller === undefined) return;
    const identity = checkedIdentity("usePrincipal", caller);
    const { authenticatedAt = 0 } = caller;
    if (!Number.isSafeInteger(authenticatedAt) || authenticatedAt < 0)
      throw new InvalidInputError("usePrincipal: authenticatedAt must be a time in milliseconds since the epoch.");
    if (req.principal !== undefined) throw new AmbiguousCredentialsError();
    setPrincipal(
      req,
      state,
      runtime,
      "external",
      createPrincipal({
        ...identity,
        kind: "external",
        credentialId: "external",
        authenticatedAt,
        methods: only("federated", authenticatedAt),
      }),
    );
  };
}
