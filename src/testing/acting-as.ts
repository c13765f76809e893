import type { RequestListener } from "node:http";
import type { Express, Request } from "express";
import { latestOf, METHODS_FORM, type ProvedMethod, provedMethods } from "../core/authentication.js";
import { checkedIdentity } from "../core/checked-identity.js";
import { InvalidInputError } from "../core/portcullis-error.js";
import { createPrincipal, type CredentialKind } from "../core/principal.js";
import { stateOf } from "../core/request-state.js";
import { SetupError } from "../core/setup-error.js";

/** Whom a test acts as. */
export interface TestPrincipal {
  /** The id: a string of 1 to 255 characters, or a safe integer. */
  readonly id: string | number;
  /** The kind of credential to pretend; guards for another kind refuse it. Default: `"session"`. */
  readonly kind?: CredentialKind;
  /** Scopes. Default: none. */
  readonly scopes?: readonly string[];
  /** Roles. Default: none. */
  readonly roles?: readonly string[];
  /** Who acts as this person. Default: nobody. */
  readonly actor?: { readonly id: string };
  /** Claims of a token, or metadata of a key. Default: none. */
  readonly claims?: Readonly<Record<string, unknown>>;
  /** What the caller has proved, and when: `["pwd", { method: "totp", at: 1767225600000 }]`. Default: none. */
  readonly methods?: readonly ProvedMethod[];
  /** When the caller proved it, in milliseconds since the epoch. Default: with the latest of `methods`, or now. */
  readonly authenticatedAt?: number;
}

/**
 * The app, for requests that need no credential: each has this principal from the start. Everything else runs as usual.
 * Pass the result to supertest or `http.createServer` in place of the app. A request that also carries a session, a key
 * or a token gets 400, as one with two credentials does.
 *
 * @throws InvalidInputError when the id, a scope, a role or a method is malformed
 * @throws SetupError when NODE_ENV is `production`
 *
 * @example
 * ```ts
 * import { createServer } from "node:http";
 * import express from "express";
 * import { applySecurity } from "portcullis";
 * import { actingAs, testSecret } from "portcullis/testing";
 *
 * const app = express();
 * const security = applySecurity(app, { debug: true, secretKey: testSecret(), session: {} });
 * app.get("/me", security.requireAuth(), (req, res) => void res.json(req.principal));
 * const server = createServer(actingAs(app, { id: "ada", roles: ["admin"] }));
 * ```
 */
export function actingAs(app: Express, who: TestPrincipal): RequestListener {
  if (process.env.NODE_ENV === "production")
    throw new SetupError("actingAs is for tests: it does not run while NODE_ENV is production.");
  const { kind = "session", actor, claims = {} } = who;
  const identity = checkedIdentity("actingAs", who);
  const now = Date.now();
  const methods = provedMethods(who.methods ?? [], now);
  if (methods === undefined) throw new InvalidInputError(`actingAs: ${METHODS_FORM}.`);
  const { authenticatedAt = latestOf(methods, now) } = who;
  const principal = createPrincipal({
    ...identity,
    kind,
    credentialId: "test",
    claims,
    authenticatedAt,
    methods,
    ...(actor && { actor }),
  });
  return (req, res) => {
    const request = req as Request;
    request.principal = principal;
    const state = stateOf(request);
    state.isPrivate = true;
    if (principal.kind === "external") state.markRan("external");
    app(req, res);
  };
}
