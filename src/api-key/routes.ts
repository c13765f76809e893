import express, { type NextFunction, type Request, type RequestHandler, type Response, type Router } from "express";
import { bodyOf, readJsonBody } from "../core/http/json-body.js";
import { z } from "zod";
import { FactorRequiredError } from "../core/credential-gate.js";
import { type Refusal, RETRY_SOON } from "../core/response/problem.js";
import { refuse } from "../core/response/refuse.js";
import { requestContext } from "../core/request-events.js";
import { idText, isPrincipalId } from "../core/identity.js";
import { inTime, LATE } from "../core/in-time.js";
import type { Middleware } from "../core/middleware.js";
import { beginState } from "../core/request-state.js";
import { type PartDependencies, partRuntime } from "../core/runtime.js";
import { StoreUnavailableError } from "../stores/health/store-guard.js";
import { SetupError } from "../core/setup-error.js";
import { realmSchema } from "../settings/identity.js";
import { parseFactory, settingsObject } from "../settings/object.js";
import { MAX_MAKERS, successorOf } from "./decide.js";
import { ApiKeyError } from "./errors.js";
import { HashUnavailableError } from "./keys/hash-queue.js";
import { ownKeySchema, pageSchema, readInput, rotateSchema } from "./keys/input.js";
import { exceedsGrants, type Caller, callerOf, type CallerRefusals, callerRefusals } from "./delegation.js";
import type { ApiKeyService, FoundKey } from "./service.js";
import type { AuditContext, CreatedApiKey } from "./types.js";

const SOURCE = "api-key-routes";

const BAD_PATH: Refusal = Object.freeze({ code: "invalid-request", reason: "path-undecodable" });
/** No such key. A mistyped id is not an attack. */
const UNKNOWN: Refusal = Object.freeze({ code: "not-found", reason: "unknown", event: "input_validation_fail" });
/** Another owner's key. The caller gets the same response as for an unknown key. */
const FOREIGN: Refusal = Object.freeze({ code: "not-found", reason: "foreign" });

/** Settings of the routes. */
export const apiKeyRoutesSchema = settingsObject({
  /** The realm in WWW-Authenticate. Default: the realm of the service. */
  realm: realmSchema.optional(),
  /**
   * Days that a key made with a token may live, 1 to 3650. Keys made in a session are not bound by it, and a key made
   * with a key never outlives that one. Default: until the token ends.
   */
  maxLifetimeDays: z.int().min(1).max(3650).optional(),
  /**
   * Whose keys the caller manages, for keys of organisations: returns the owner's id, from what the app knows of the
   * caller (a membership, never a field of the request alone). A caller for whom it returns nothing, or throws, gets
   * 403. A caller with an API key manages only keys of that key's own owner. Default: `req.principal.id`.
   */
  owner: z
    .custom<OwnerOf>((value) => typeof value === "function", {
      error: "This is not a function.",
      params: { code: "wrong-type", remedy: "Write owner: (req) => the id of the organisation, or remove it." },
    })
    .optional(),
  /**
   * A guard for `POST`, asked of callers with a session: `accounts.requireFresh()` of `portcullis/accounts`. A key or a token
   * has its own limits. Default: none.
   */
  fresh: z
    .custom<Middleware>((value) => typeof value === "function", {
      error: "This is not middleware.",
      params: { code: "wrong-type", remedy: "Write fresh: accounts.requireFresh(), or remove it." },
    })
    .optional(),
});

/** Says whose keys a caller manages. */
type OwnerOf = (req: Request) => string | undefined | Promise<string | undefined>;

/** Added to the response when a caller with a token requested a later expiry than the token allows. */
const CUT =
  "The key expires earlier than requested: a key created with a token expires with the token, or when the lifetime that this server allows is over.";

const DAY_MS = 86_400_000;

const revokeQuerySchema = z.strictObject({
  /** Also ends the keys made with this key, its successors, and the keys made with those. */
  descendants: z.enum(["true", "false"], 'Must be "true" or "false"').default("false"),
});

/** Settings of `apiKeyRoutes`. */
export interface ApiKeyRoutesSettings extends z.input<typeof apiKeyRoutesSchema> {}

/** A successful response, or a refusal. */
type Reply = { readonly status: 200 | 201; readonly body: unknown } | { readonly status: 204 } | Refusal;

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

/** The caller, as one who manages the keys of the owner that the app names. */
async function forOwner(
  caller: Caller,
  owner: OwnerOf,
  req: Request,
  refusals: CallerRefusals,
  timeoutMs: number,
): Promise<Caller | Refusal> {
  let ownerId: unknown;
  try {
    const given = await inTime(
      Promise.resolve().then(() => owner(req)),
      timeoutMs,
    );
    if (given === LATE) return OWNER_LATE;
    ownerId = idText(given);
  } catch {
    // What it threw may contain anything; the event says that it threw.
    return refusals.ownerFailed;
  }
  if (!isPrincipalId(ownerId)) return refusals.noOwner;
  // The keys that a key makes end with it, so they have its owner.
  if (caller.key !== undefined && caller.key.ownerId !== ownerId) return refusals.noOwner;
  return { ...caller, ownerId };
}

/** The app could not tell the owner in time: nobody is at fault, and the same call may succeed soon. */
const OWNER_LATE: Refusal = { code: "store-unavailable", reason: "owner-late", headers: RETRY_SOON };

function send(req: Request, res: Response, reply: Reply): void {
  if ("code" in reply) {
    refuse(req, res, SOURCE, reply);
    return;
  }
  res.statusCode = reply.status;
  if (!("body" in reply)) {
    res.end();
    return;
  }
  res.setHeader("Content-Type", "application/json; charset=utf-8");
  res.end(JSON.stringify(reply.body));
}

/** Returns undefined when the key that creates another key ended after it was looked up; rethrows other errors. */
function noneOfEndedMaker(error: unknown): undefined {
  if (error instanceof ApiKeyError && ["revoked", "expired", "rotated"].includes(error.code)) return undefined;
  throw error;
}

/** Converts an error of the service to a refusal; other errors go to the app. */
function refusalOfError(error: unknown): Refusal {
  if (error instanceof StoreUnavailableError)
    return { code: "store-unavailable", reason: "store-unavailable", headers: RETRY_SOON, event: false };
  if (error instanceof FactorRequiredError) return { code: "factor-required", reason: "key" };
  if (error instanceof HashUnavailableError) return { code: "store-unavailable", reason: "busy", headers: RETRY_SOON };
  if (!(error instanceof ApiKeyError)) throw error;
  if (error.code === "not-found") return UNKNOWN;
  if (error.code === "invalid-input")
    return { code: "invalid-request", reason: "invalid-input", detail: issueText(error) };
  return { code: "conflict", reason: error.code, detail: error.message };
}

/**
 * Formats the issues by path. Paths consist of our own names and positions, so they contain neither values nor unknown
 * names.
 */
function issueText({ issues }: ApiKeyError): string {
  const lines = issues.map(({ path, message }) => `${path === "" ? "(request)" : path}: ${message}`);
  return `The request does not have the expected format. ${[...new Set(lines)].join("; ")}.`;
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
