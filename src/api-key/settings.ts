import { z } from "zod";
import { modeSchema } from "../settings/common.js";
import { addIssue, settingsObject } from "../settings/object.js";
import { secretRingSchema } from "../settings/secrets.js";
import type { ApiKeyStore } from "../stores/contracts.js";
import { MAX_SECRET_LENGTH, MIN_SECRET_LENGTH } from "./keys/format.js";

/** Headers that mean something else to Node, to Express or to a proxy; Node also keeps only the first of some of them. */
const TAKEN_HEADERS = new Set(
  "age authorization connection content-encoding content-length content-type cookie etag expect expires forwarded from host if-match if-none-match last-modified location max-forwards origin proxy-authorization referer range retry-after server set-cookie te trailer transfer-encoding upgrade user-agent via x-forwarded-for x-forwarded-host x-forwarded-proto".split(
    " ",
  ),
);

const STORE_METHODS = [
  "init",
  "insert",
  "get",
  "list",
  "revoke",
  "rotate",
  "replaceHash",
  "addUsage",
  "close",
] as const;

function isApiKeyStore(value: unknown): value is ApiKeyStore {
  if (typeof value !== "object" || value === null) return false;
  return STORE_METHODS.every((method) => typeof (value as Record<string, unknown>)[method] === "function");
}

const prefixSchema = z.string().superRefine((text, context) => {
  if (/^(?=.{1,16}$)[A-Za-z0-9_-]*[_-]$/.test(text)) return;
  addIssue(context, {
    code: "wrong-value",
    message: "The prefix is not 1 to 16 letters, digits, '_' or '-' ending in '_' or '-'.",
    remedy: 'Write a short name of the service and an underscore, such as "mcp_".',
  });
});

const headerNameSchema = z.string().superRefine((text, context) => {
  // RFC 9110 section 5.6.2: a field name is a token.
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/.test(text)) {
    addIssue(context, {
      code: "wrong-value",
      message: "This is not a header name.",
      remedy: 'Use letters, digits and hyphens, such as "X-API-Key".',
    });
  } else if (TAKEN_HEADERS.has(text.toLowerCase())) {
    addIssue(context, {
      code: "wrong-value",
      message: "This header has a meaning of its own.",
      remedy: 'Name a header of your own, such as "X-API-Key". `Authorization: Bearer` is read beside it anyway.',
    });
  }
});

const failuresSchema = settingsObject({
  /**
   * Failed attempts taken from one client address in a window before it gets 429 (IPv6 by /56). Five times as many are
   * taken for one key id, from all addresses together.
   */
  limit: z.int().min(1).max(10_000).default(20),
  /** Length of the window, in seconds. */
  windowSeconds: z.int().min(1).max(86_400).default(60),
});

/** Settings of API keys: the service, the layer and their stores. */
export const apiKeySchema = settingsObject({
  /** `report` decides and announces, and lets the request pass without a principal. */
  mode: modeSchema,
  /** What every key begins with: tells secret scanners and readers whose key it is. */
  prefix: prefixSchema.default("mcp_"),
  /**
   * Base62 characters of the secret part of new keys. 19 hold the 112 bits ASVS 6.5.2 asks for; 32 hold 190. Keys made
   * under another length stay valid.
   */
  length: z.int().min(MIN_SECRET_LENGTH).max(MAX_SECRET_LENGTH).default(32),
  /** How secrets of new keys are kept. Keys kept the other way stay valid, and move over when they are next used. */
  hash: z.enum(["argon2id", "hmac-sha256"]).default("argon2id"),
  /** The header read beside `Authorization: Bearer`. */
  headerName: headerNameSchema.default("X-API-Key"),
  /**
   * Seconds the record of a verified key is used before the store is asked again: the longest a key revoked by another
   * process stays valid in this one. 0 remembers nothing, and every request pays a store call and a hash.
   */
  cacheSeconds: z.number().min(0).max(60).default(10),
  /** Keys remembered at most; the least recently used goes first. */
  cacheSize: z.int().min(1).max(1_000_000).default(10_000),
  /** Where keys are kept; in memory when none is given. The service opens and closes it. */
  store: z
    .custom<ApiKeyStore>(isApiKeyStore, {
      error: "This is not an ApiKeyStore: a method of the contract is missing.",
      params: { code: "wrong-type", remedy: "Pass an object with the methods of ApiKeyStore, or leave `store` out." },
    })
    .optional(),
  /** Milliseconds the store may take for one call of the service, all its queries together; then it gets 503. Hashing does not count. */
  storeTimeoutMs: z.int().min(1).max(60_000).default(250),
  /** Argon2 hashes computed at once. Each holds 19 MiB and one of libuv's threads (4 unless UV_THREADPOOL_SIZE says otherwise). */
  hashConcurrency: z.int().min(1).max(64).default(2),
  /** Hashes that may wait; beyond it a request gets 503. At about 40 ms each, 100 behind 2 at work wait two seconds. */
  hashQueue: z.int().min(0).max(10_000).default(100),
  /** How many failed attempts are taken. */
  failures: failuresSchema.prefault({}),
  /** Seconds between two writes of the usage counts. */
  usageFlushSeconds: z.number().min(0.05).max(3600).default(5),
  /** Pepper for `hmac-sha256`: the first is used for new digests, all verify. Derived from the root `secretKey` when absent. */
  secret: secretRingSchema.optional(),
  /** The realm named in WWW-Authenticate. */
  realm: z
    .string()
    .regex(/^[\x20-\x21\x23-\x5b\x5d-\x7e]{1,64}$/, "Not 1 to 64 printable ASCII characters without quotes")
    .default("api"),
});

/** What the user writes. */
export type ApiKeySettings = z.input<typeof apiKeySchema>;
/** What the service works with. */
export type ApiKeyOptions = z.output<typeof apiKeySchema>;

/** What one mounting of `apiKeyAuth` may set differently from its service. */
export const apiKeyAuthSchema = settingsObject({
  /** As in `apiKeySchema`; the service's own when absent. */
  mode: z.enum(["enforce", "report"]).optional(),
  /** As in `apiKeySchema`; the service's own when absent. */
  headerName: headerNameSchema.optional(),
  /** As in `apiKeySchema`; the service's own when absent. */
  realm: apiKeySchema.shape.realm.unwrap().optional(),
});

export type ApiKeyAuthSettings = z.input<typeof apiKeyAuthSchema>;
