import { z } from "zod";
import { modeSchema } from "../settings/common.js";
import { checkWindow, durationSchema, unitsSchema } from "../settings/durations.js";
import { SettingsError } from "../settings/errors.js";
import { realmSchema } from "../settings/identity.js";
import { addIssue, settingsObject, settingsObjectLike } from "../settings/object.js";
import { PEER_NAMES } from "../settings/peer-names.js";
import { secretRingSchema } from "../settings/secrets.js";
import { API_KEY_STORE_METHODS, type ApiKeyStore } from "../stores/contracts.js";
import { hasMethods } from "../stores/forwarding.js";
import { MAX_SECRET_LENGTH, MIN_SECRET_LENGTH } from "./keys/format.js";

/** Headers that have another meaning for Node, Express or a proxy; Node also keeps only the first of some of them. */
const TAKEN_HEADERS = new Set(
  "age authorization connection content-encoding content-length content-type cookie etag expect expires forwarded from host if-match if-none-match last-modified location max-forwards origin referer range retry-after server set-cookie te trailer transfer-encoding upgrade user-agent via".split(
    " ",
  ),
);

/** Fields of browsers and proxies, which other layers read. */
const TAKEN_FAMILIES = /^(?:accept|access-control-.*|accept-.*|proxy-.*|sec-.*|x-forwarded-.*)$/;

/** Whether a header has another meaning, or every request seems to have it: Node's `req.headers` is a plain object. */
function isTakenHeader(name: string): boolean {
  return TAKEN_HEADERS.has(name) || TAKEN_FAMILIES.test(name) || name in {};
}

function isApiKeyStore(value: unknown): value is ApiKeyStore {
  return hasMethods(value, API_KEY_STORE_METHODS);
}

const prefixSchema = z.string().superRefine((text, context) => {
  if (/^(?=.{1,16}$)[A-Za-z0-9_-]*[_-]$/.test(text)) return;
  addIssue(context, {
    code: "wrong-value",
    message: "The prefix must be 1 to 16 letters, digits, '_' or '-', and end in '_' or '-'.",
    remedy: 'Write a short service name followed by an underscore, such as "mcp_".',
  });
});

const headerNameSchema = z.string().superRefine((text, context) => {
  // RFC 9110 section 5.6.2: a field name is a token.
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/.test(text)) {
    addIssue(context, {
      code: "wrong-value",
      message: "This is not a valid header name.",
      remedy: 'Use letters, digits and hyphens, such as "X-API-Key".',
    });
  } else if (isTakenHeader(text.toLowerCase())) {
    addIssue(context, {
      code: "wrong-value",
      message: "This header already has a standard meaning.",
      remedy: 'Choose another name, such as "X-API-Key". `Authorization: Bearer` is always read as well.',
    });
  }
});

const failuresSchema = settingsObjectLike(PEER_NAMES["express-rate-limit"], {
  /**
   * Number of failed attempts from one client address in a window, after which it gets 429 (IPv6 counts by /56). Five
   * times as many are accepted for one key id, from all addresses together. Default: `20`.
   */
  limit: z.int().min(1).max(10_000).default(20),
  /** Length of the window, in seconds. `60000` needs `units` beside it. Default: `60`. */
  windowSeconds: durationSchema("seconds", 1, 86_400).default(60),
  /** `"seconds"` says that `windowSeconds` is not meant in milliseconds, although it looks so. Default: none. */
  units: unitsSchema,
}).superRefine(checkWindow);

/** A prefix that is listed twice is a mistake: one of the two was meant to be another. */
function checkPrefixes(
  { prefix, formerPrefixes }: { readonly prefix: string; readonly formerPrefixes: readonly string[] },
  context: z.RefinementCtx,
): void {
  formerPrefixes.forEach((former, index) => {
    if (former !== prefix && formerPrefixes.indexOf(former) === index) return;
    addIssue(context, {
      code: "contradiction",
      path: ["formerPrefixes", index],
      message: former === prefix ? "This is the prefix of new keys." : "This prefix is listed twice.",
      remedy: "Remove it. List only prefixes that keys had before.",
    });
  });
}

/** Settings of API keys: the service, the layer and their stores. */
export const apiKeySchema = settingsObject({
  /**
   * `report` announces a refused key as an event and lets the request pass without a principal. Default: `"enforce"`.
   */
  mode: modeSchema,
  /**
   * Prefix of every key, by which secret scanners and readers recognise it: 1 to 16 letters, digits, `_` or `-`, ending
   * in `_` or `-`. Default: `"mcp_"`.
   */
  prefix: prefixSchema.default("mcp_"),
  /**
   * Prefixes of keys made earlier, at most 10: such keys stay valid and are masked in events. New keys, and those made by
   * a rotation, have `prefix`. Default: none.
   */
  formerPrefixes: z.array(prefixSchema).max(10).default([]),
  /**
   * Length of the secret part of new keys, in base62 characters. 19 characters provide the 112 bits that ASVS 6.5.2
   * requires; 32 provide 190. Keys of another length stay valid. Default: `32`.
   */
  length: z.int().min(MIN_SECRET_LENGTH).max(MAX_SECRET_LENGTH).default(32),
  /**
   * How the secrets of new keys are stored. Keys stored the other way stay valid, and are rehashed when they are next
   * used. `hmac-sha256` is for apps with very many active keys. Default: `"argon2id"`.
   */
  hash: z.enum(["argon2id", "hmac-sha256"]).default("argon2id"),
  /** The header that carries a key; `Authorization: Bearer` is read too. Default: `"X-API-Key"`. */
  headerName: headerNameSchema.default("X-API-Key"),
  /**
   * For how many seconds the record of a verified key is used before the store is read again. A key revoked by another
   * process can stay valid in this one for that long. 0 disables the cache, so that every request costs a store call
   * and a hash. Default: `10`.
   */
  cacheSeconds: z.number().min(0).max(60).default(10),
  /**
   * Maximum number of cached keys, fewer when their records are large; the least recently used is evicted first.
   * Default: `10000`.
   */
  cacheSize: z.int().min(1).max(1_000_000).default(10_000),
  /**
   * Where keys are kept: an `ApiKeyStore`, which the service opens and closes. Default: the `database`, or the memory
   * of this process.
   */
  store: z
    .custom<ApiKeyStore>(isApiKeyStore, {
      error: "This is not an ApiKeyStore: a required method is missing.",
      params: { code: "wrong-type", remedy: "Pass an object with all methods of ApiKeyStore, or remove `store`." },
    })
    .optional(),
  /**
   * How long the store may take for one call of the service, all its queries together, in milliseconds. After that
   * the request gets 503. Hashing does not count. Default: `250`.
   */
  storeTimeoutMs: z.int().min(1).max(60_000).default(250),
  /**
   * Number of argon2 hashes computed at once. Each uses 19 MiB and one thread of libuv (4 unless UV_THREADPOOL_SIZE
   * says otherwise). Default: `2`.
   */
  hashConcurrency: z.int().min(1).max(64).default(2),
  /**
   * Number of hashes that may wait; beyond it requests get 503. At about 40 milliseconds each, 100 hashes behind 2
   * wait two seconds. Default: `100`.
   */
  hashQueue: z.int().min(0).max(10_000).default(100),
  /**
   * The limit of failed attempts: their number and the window in seconds. Default: 20 in 60 seconds per client
   * address.
   */
  failures: failuresSchema.prefault({}),
  /** Seconds between two writes of the usage counts. Default: `5`. */
  usageFlushSeconds: z.number().min(0.05).max(3600).default(5),
  /**
   * Pepper of `hmac-sha256`: text of at least 32 bytes, or a list of which the first makes new digests and all
   * verify. Default: a key derived from `secretKey`.
   */
  secret: secretRingSchema.optional(),
  /** The realm in WWW-Authenticate: 1 to 64 printable ASCII characters without quotes. Default: `"api"`. */
  realm: realmSchema.default("api"),
}).superRefine(checkPrefixes);

/** Settings of API keys: `new ApiKeyService(settings)` and `apiKeys` of `applySecurity`. */
export interface ApiKeySettings extends z.input<typeof apiKeySchema> {}
/** Settings of API keys with every default filled in. */
export interface ResolvedApiKeySettings extends z.output<typeof apiKeySchema> {}

/** Settings of one `apiKeyAuth` that may differ from those of its service. */
export const apiKeyAuthSchema = settingsObject({
  /**
   * `report` announces a refused key as an event and lets the request pass without a principal. Default: the mode of
   * the service.
   */
  mode: z.enum(["enforce", "report"]).optional(),
  /** The header that carries a key. Default: the header of the service. */
  headerName: headerNameSchema.optional(),
  /** The realm in WWW-Authenticate. Default: the realm of the service. */
  realm: realmSchema.optional(),
});

/** Settings of one `apiKeyAuth(service, settings)` that may differ from those of its service. */
export interface ApiKeyAuthSettings extends z.input<typeof apiKeyAuthSchema> {}

/**
 * Without a pepper, hmac-sha256 would be a plain hash, and a client with write access to the store could forge keys.
 */
export function missingSecret(): SettingsError {
  return new SettingsError([
    {
      code: "missing-setting",
      path: "secret",
      message: 'hash: "hmac-sha256" needs a secret.',
      remedy: "Set secretKey, or set secret here; or remove hash to use argon2id, which needs no secret.",
    },
  ]);
}
