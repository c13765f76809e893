import { z } from "zod";
import { addressRangeSchema } from "../../settings/common.js";
import { principalIdSchema, roleSchema, scopeSchema } from "../../settings/identity.js";
import { pathText } from "../../settings/object.js";
import type { JsonValue } from "../../stores/contracts.js";
import { copyJson } from "../../stores/json.js";
import { isStorable } from "../../stores/records.js";
import { ApiKeyError, type ApiKeyIssue } from "../errors.js";
import { isKeyId } from "./format.js";

/** Maximum size of metadata, in bytes of JSON. */
const MAX_METADATA_BYTES = 4096;
/** Longest grace of a rotated key: 30 days, in seconds. */
const MAX_GRACE_SECONDS = 2_592_000;

const wholeNumber = (min: number, max: number): z.ZodInt =>
  z.int("Must be a whole number").min(min, `Must be at least ${min}`).max(max, `Must be at most ${max}`);

/** Text that every store can hold. */
const text = (max: number): z.ZodString =>
  z
    .string()
    .min(1, "Must not be empty")
    .max(max, `Must have at most ${max} characters`)
    .regex(/^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$/, "Must not contain control characters")
    .refine(isStorable, "Must not contain lone surrogates");

const NOT_A_TIME =
  "Must be a time: a date with time and zone (2030-01-31T12:00:00Z), milliseconds since the epoch, or a Date";
/** A date with a time zone, milliseconds since the epoch, or a Date; converted to milliseconds. */
const timeSchema = z
  .union([z.date(), z.iso.datetime({ offset: true, error: NOT_A_TIME }), z.number()], { error: NOT_A_TIME })
  .transform((value) => new Date(value).getTime())
  .refine((ms) => Number.isInteger(ms), NOT_A_TIME);

const unique = <Item extends z.ZodType<string>>(item: Item, max: number): z.ZodType<string[], string[]> =>
  z
    .array(item)
    .max(max, `Must have at most ${max} entries`)
    .transform((items) => [...new Set(items)]) as unknown as z.ZodType<string[], string[]>;

const metadataSchema = z.unknown().transform((value, context): Readonly<Record<string, JsonValue>> => {
  const copy = copyJson(value);
  const problem =
    copy === undefined || typeof copy !== "object" || copy === null || Array.isArray(copy)
      ? "Must be an object of JSON values, nested at most 8 levels deep"
      : undefined;
  const tooLarge =
    problem === undefined && Buffer.byteLength(JSON.stringify(copy)) > MAX_METADATA_BYTES
      ? `Must be at most ${MAX_METADATA_BYTES} bytes of JSON`
      : undefined;
  const message = problem ?? tooLarge;
  if (message === undefined) return copy as Readonly<Record<string, JsonValue>>;
  context.addIssue({ code: "custom", message });
  return z.NEVER;
});

/** The limit a key may carry. */
const keyLimitSchema = z.strictObject({
  /** Requests in a window. */
  limit: wholeNumber(1, 100_000),
  /** Length of the window, in seconds. */
  windowSeconds: wholeNumber(1, 86_400),
});

const ownFields = {
  name: text(100),
  scopes: unique(scopeSchema, 100).default([]),
  roles: unique(roleSchema, 50).default([]),
  /** When the key stops working; null: never. */
  expiresAt: timeSchema.nullable().default(null),
  /** Addresses and CIDR ranges the key may be used from; empty: from any address. */
  allow: unique(addressRangeSchema, 100).default([]),
  rateLimit: keyLimitSchema.nullable().default(null),
  metadata: metadataSchema.default({}),
};

/** The fields that callers may set on their own keys; owner, id and fields decided by the service are excluded. */
export const ownKeySchema = z.strictObject(ownFields);
/** Input of `ApiKeyService.create`. */
export const createSchema = z.strictObject({ ownerId: principalIdSchema, ...ownFields });
/** Input of `ApiKeyService.rotate`: seconds the old key stays valid beside the new one. */
export const rotateSchema = z.strictObject({
  graceSeconds: wholeNumber(0, MAX_GRACE_SECONDS).default(0),
});
/** Input of `ApiKeyService.update`: a field that is absent stays as it is. */
export const updateSchema = z.strictObject({
  name: ownFields.name.optional(),
  scopes: unique(scopeSchema, 100).optional(),
  roles: unique(roleSchema, 50).optional(),
  expiresAt: timeSchema.nullable().optional(),
  allow: unique(addressRangeSchema, 100).optional(),
  rateLimit: keyLimitSchema.nullable().optional(),
  metadata: metadataSchema.optional(),
});
/** Input of `ApiKeyService.revokeAllOf`. */
export const revokeAllSchema = z.strictObject({ reason: text(200).default("revoked") });
/** Input of `ApiKeyService.revoke`. */
export const revokeSchema = z.strictObject({
  reason: text(200).default("revoked"),
  /** Also ends every key made with this key or with its successors, and the successors themselves. */
  descendants: z.boolean().default(false),
});
/** Input of `ApiKeyService.list`. */
export const pageSchema = z.strictObject({
  limit: wholeNumber(1, 100).default(50),
  after: z.string().refine(isKeyId, "Must be the id of an API key").optional(),
});

/** Input of `ApiKeyService.listAll`. */
export const allKeysSchema = z.strictObject({
  limit: wholeNumber(1, 100).default(50),
  after: z
    .union(
      [
        z.string().refine(isKeyId),
        z.object({
          id: z.string().refine(isKeyId),
          createdAt: z.int(),
          expiresAt: z.int().nullable(),
          lastUsedAt: z.int().nullable(),
        }),
      ],
      { error: "Must be the last key of the page before this one, or its id" },
    )
    .optional(),
  /** Only keys in force that expire before this time. */
  expiresBefore: timeSchema.optional(),
  /** Only keys that have not been used (or, if never used, not created) since this time. */
  unusedSince: timeSchema.optional(),
});

/** Input of `ApiKeyService.report`. */
export const reportSchema = z.strictObject({
  /** Keys without a use for that many days are unused. */
  unusedDays: wholeNumber(1, 3650).default(90),
  /** Keys that expire within that many days are expiring. */
  expiringDays: wholeNumber(1, 3650).default(14),
  /** Most unused, and most expiring keys. */
  limit: wholeNumber(1, 100).default(50),
  /** `next` of the report before: where the search for over-wide keys goes on. */
  after: z.string().refine(isKeyId, "Must be the id of an API key").optional(),
});

/** Input of `ApiKeyService.report`. */
export interface ApiKeyReportInput extends z.input<typeof reportSchema> {}
/** Input of `ApiKeyService.listAll`: which page of all keys it returns. */
export interface ListAllApiKeysInput extends z.input<typeof allKeysSchema> {}
/** Input of `ApiKeyService.update`, without the id. */
export interface UpdateApiKeyInput extends z.input<typeof updateSchema> {}
/** Input of `ApiKeyService.revokeAllOf`, without the owner. */
export interface RevokeAllApiKeysInput extends z.input<typeof revokeAllSchema> {}
/** Input of `ApiKeyService.create`. */
export interface CreateApiKeyInput extends z.input<typeof createSchema> {}
/** Input of `ApiKeyService.rotate`, without the id. */
export interface RotateApiKeyInput extends z.input<typeof rotateSchema> {}
/** Input of `ApiKeyService.revoke`, without the id. */
export interface RevokeApiKeyInput extends z.input<typeof revokeSchema> {}
/** The page of an owner's keys that `ApiKeyService.list` returns. */
export interface ListApiKeysInput extends z.input<typeof pageSchema> {}

/**
 * Validates input strictly.
 *
 * @throws ApiKeyError "invalid-input" listing every issue; it contains neither values nor names of unknown fields
 */
export function readInput<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return result.data;
  const known = schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
  throw new ApiKeyError(
    "invalid-input",
    result.error.issues.slice(0, 20).map((issue) => issueOf(issue, known)),
  );
}

/** @param known the fields of the input itself, for a name that is not one of them */
function issueOf(issue: z.core.$ZodIssue, known: readonly string[]): ApiKeyIssue {
  const path = pathText(issue.path);
  if (issue.code === "unrecognized_keys") {
    const message = "Contains unknown fields";
    return { path, message: path === "" ? `${message} (known: ${known.join(", ")})` : message };
  }
  if (issue.code === "invalid_type")
    return { path, message: issue.input === undefined ? "Missing" : `Must be of type ${issue.expected}` };
  return { path, message: issue.message };
}
