import express, { type NextFunction, type Request, type RequestHandler, type Response, type Router } from "express";
import { z } from "zod";
import { bodyOf, readJsonBody } from "../core/http/json-body.js";
import { requestContext } from "../core/request-events.js";
import { beginState } from "../core/request-state.js";
import type { Refusal } from "../core/response/problem.js";
import { refuse } from "../core/response/refuse.js";
import { type PartDependencies, partRuntime } from "../core/runtime.js";
import { SetupError } from "../core/setup-error.js";
import { parseFactory } from "../settings/object.js";
import { MAX_MAKERS, successorOf } from "./decide.js";
import { type Caller, callerOf, callerRefusals, exceedsGrants } from "./delegation.js";
import { ApiKeyError } from "./errors.js";
import { ownKeySchema, pageSchema, readInput, rotateSchema } from "./keys/input.js";
import type { FoundKey } from "./management/reading.js";
import { forOwner } from "./owner-of-caller.js";
import { refusalOfError, type Reply, send, SOURCE, UNKNOWN } from "./route-replies.js";
import { apiKeyRoutesSchema, type ApiKeyRoutesSettings } from "./routes-settings.js";
import type { ApiKeyService } from "./service.js";
import type { AuditContext, CreatedApiKey } from "./types.js";

const BAD_PATH: Refusal = Object.freeze({ code: "invalid-request", reason: "path-undecodable" });
/** Another owner's key. The caller gets the same response as for an unknown key. */
const FOREIGN: Refusal = Object.freeze({ code: "not-found", reason: "foreign" });

/** Added to the response when a caller with a token requested a later expiry than the token allows. */
const CUT =
  "The key expires earlier than requested: a key created with a token expires with the token, or when the lifetime that this server allows is over.";

const revokeQuerySchema = z.strictObject({
  /** Also ends the keys made with this key, its successors, and the keys made with those. */
  descendants: z.enum(["true", "false"], 'Must be "true" or "false"').default("false"),
});

const DAY_MS = 86_400_000;

/** Whether the session or the token of a request is in force still, in any process. Never rejects. */
type InForce = (req: Request) => boolean | Promise<boolean>;

type Action = (caller: Caller, req: Request) => Promise<Reply>;

/**
 * Routes with which callers manage their own keys: `POST /`, `GET /`, `GET /:id`, `POST /:id/rotate`, `DELETE /:id`.
 * The owner is `req.principal.id`, never the body (CVE-2025-61928). For another owner's key the response is the same as
 * for an unknown key. Mount them after the layer that sets `req.principal`.
 *
 * @param deps `{ events?, clock?, onRefusal? }`; default: those of the service
 * @param isInForce internal: asked after a key was made
 * @throws SettingsError when the options are wrong
 * @throws SetupError when there is no service
 *
 * @example
 * ```ts
 * import express from "express";
 * import { apiKeyRoutes, ApiKeyService } from "portcullis";
 *
 * const keys = new ApiKeyService();
 * const app = express();
 * app.use("/api-keys", apiKeyRoutes(keys, { maxLifetimeDays: 90 }));
 * ```
 */
export function apiKeyRoutes(
  service: ApiKeyService,
  options?: ApiKeyRoutesSettings,
  deps?: PartDependencies,
  isInForce: InForce = () => true,
): Router {
  if (typeof (service as Partial<ApiKeyService> | undefined)?.verify !== "function") {
    throw new SetupError(
      "apiKeyRoutes needs an ApiKeyService as its first argument: apiKeyRoutes(new ApiKeyService()).",
    );
  }
  const runtime = partRuntime(deps, service.runtime);
  const {
    realm = service.options.realm,
    maxLifetimeDays,
    owner,
    fresh,
  } = parseFactory("security.apiKeyRoutes", apiKeyRoutesSchema, options ?? {});
  const refusals = callerRefusals(realm);
  const maxLifetimeMs = maxLifetimeDays === undefined ? undefined : maxLifetimeDays * DAY_MS;

  /** Returns the caller's own key, by the id in the path. Its record may be unreadable. */
  async function ownKey(caller: Caller, req: Request): Promise<FoundKey | Refusal> {
    const { id } = req.params;
    const found = typeof id === "string" ? await service.find(id) : undefined;
    if (found === undefined) return UNKNOWN;
    return found.ownerId === caller.ownerId ? found : FOREIGN;
  }

  /**
   * Whether the caller's session or token was not ended anywhere before the key was made; otherwise the key ends. The
   * order matters: a call that ends everything of the caller later ends the key too, or finds it ended.
   */
  async function isStillAllowed(req: Request, caller: Caller, { record }: CreatedApiKey): Promise<boolean> {
    if (caller.key !== undefined || (await isInForce(req))) return true;
    await service.revoke(record.id, { reason: "maker-ended" }, auditContext(req));
    return false;
  }

  /** @throws FactorRequiredError (rejects) when the caller is a person who must prove another factor first */
  async function mayMake(req: Request): Promise<void> {
    const { principal } = req;
    if (principal === undefined) return;
    const { actor, methods } = principal;
    await runtime.gate.check({ kind: "key", id: actor?.id ?? principal.id, methods, req });
  }

  const create: Action = async (caller, req) => {
    const asked = readInput(ownKeySchema, bodyOf(req));
    await mayMake(req);
    if (caller.maker.path.length > MAX_MAKERS) return refusals.tooDeep;
    // A key created with a key or a token has the caller's restrictions, unless the body sets stricter ones.
    const { grants } = caller;
    const isCut =
      caller.key === undefined &&
      grants.expiresAt !== null &&
      asked.expiresAt !== null &&
      asked.expiresAt > grants.expiresAt;
    const wanted = {
      ...asked,
      expiresAt: isCut ? grants.expiresAt : (asked.expiresAt ?? grants.expiresAt),
      allow: asked.allow.length === 0 ? [...grants.allow] : asked.allow,
      rateLimit: asked.rateLimit ?? grants.rateLimit,
    };
    const refusal = exceedsGrants(caller, wanted, refusals);
    if (refusal !== undefined) return refusal;
    const made = await service
      .create({ ...wanted, ownerId: caller.ownerId }, auditContext(req), caller.maker)
      .catch(noneOfEndedMaker);
    if (made === undefined || !(await isStillAllowed(req, caller, made))) return refusals.invalid;
    return { status: 201, body: isCut ? { ...made, notice: CUT } : made };
  };

  const list: Action = async (caller, req) => {
    const page = readInput(pageSchema, queryOf(req));
    const records = await service.list(caller.ownerId, page);
    return {
      status: 200,
      body: { records, next: records.length === page.limit ? (records.at(-1)?.id ?? null) : null },
    };
  };

  const show: Action = async (caller, req) => {
    const found = await ownKey(caller, req);
    return "code" in found ? found : { status: 200, body: { record: found.read() } };
  };

  const rotate: Action = async (caller, req) => {
    const found = await ownKey(caller, req);
    if ("code" in found) return found;
    const record = found.read();
    const input = readInput(rotateSchema, bodyOf(req) ?? {});
    await mayMake(req);
    const maker = successorOf(record, caller.key);
    if (maker.path.length > MAX_MAKERS) return refusals.tooDeep;
    // The response contains a working key, so the caller must have all of its grants.
    const refusal = exceedsGrants(caller, record, refusals);
    if (refusal !== undefined) return refusal;
    const made = await service.rotate(record.id, input, auditContext(req), maker);
    // An update may have widened the key since its grants were compared; a key that rotates itself has them all.
    const widened = record.id === caller.key?.id ? undefined : exceedsGrants(caller, made.record, refusals);
    if (widened !== undefined) {
      await service.revoke(made.record.id, { reason: "not-delivered" }, auditContext(req));
      return widened;
    }
    return (await isStillAllowed(req, caller, made)) ? { status: 201, body: made } : refusals.invalid;
  };

  const revoke: Action = async (caller, req) => {
    const found = await ownKey(caller, req);
    if ("code" in found) return found;
    const descendants = readInput(revokeQuerySchema, queryOf(req)).descendants === "true";
    const done = await service.revoke(found.id, { reason: "revoked by its owner", descendants }, auditContext(req));
    return done ? { status: 204 } : UNKNOWN;
  };

  function act(action: Action): RequestHandler {
    return function apiKeyRoute(req: Request, res: Response, next: NextFunction): void {
      callerOf(req, service, refusals, maxLifetimeMs)
        .then((caller) =>
          "ownerId" in caller && owner !== undefined
            ? forOwner(caller, owner, req, refusals, service.options.storeTimeoutMs)
            : caller,
        )
        .then((caller) => ("ownerId" in caller ? action(caller, req) : caller))
        .catch(refusalOfError)
        .then((reply) => send(req, res, reply), next);
    };
  }

  const router = express.Router();
  const body = readJsonBody(SOURCE);
  const freshSession: RequestHandler = (req, res, next) =>
    fresh !== undefined && req.principal?.kind === "session" ? fresh(req, res, next) : next();
  router.use(function apiKeyRoutesGate(req, res, next) {
    beginState(req, runtime);
    // Set before any error can occur: keys and records must not be cached (RFC 9111 section 5.2.2.5).
    res.setHeader("Cache-Control", "no-store");
    // The body of an unauthenticated request is not read.
    if (req.principal === undefined) refuse(req, res, SOURCE, refusals.missing);
    else next();
  });
  router.post("/", freshSession, body, act(create));
  router.get("/", act(list));
  router.get("/:id", act(show));
  router.post("/:id/rotate", freshSession, body, act(rotate));
  router.delete("/:id", act(revoke));
  router.use(function apiKeyRoutesPath(error: unknown, req: Request, res: Response, next: NextFunction): void {
    // Express itself fails on an id with invalid percent-encoding (`/%ZZ`), with an error that contains it.
    if (error instanceof URIError) refuse(req, res, SOURCE, BAD_PATH);
    else next(error);
  });
  return router;
}

/** Returns undefined when the key that creates another key ended after it was looked up; rethrows other errors. */
function noneOfEndedMaker(error: unknown): undefined {
  if (error instanceof ApiKeyError && ["revoked", "expired", "rotated"].includes(error.code)) return undefined;
  throw error;
}

/** Returns the query by name. A repeated name becomes a list, which the schema refuses. */
function queryOf(req: Request): Record<string, unknown> {
  const start = req.url.indexOf("?");
  const query = Object.create(null) as Record<string, unknown>;
  if (start === -1) return query;
  for (const [name, value] of new URLSearchParams(req.url.slice(start))) {
    const read: unknown = name === "limit" && /^\d{1,3}$/.test(value) ? Number(value) : value;
    query[name] = name in query ? [query[name], read] : read;
  }
  return query;
}

function auditContext(req: Request): AuditContext {
  const { sourceIp, method, path, subject } = requestContext(req);
  return { sourceIp, method, path, ...(subject === undefined ? {} : { subject }) };
}
