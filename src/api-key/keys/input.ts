import { z } from "zod";
import { idText, MAX_ID_LENGTH } from "../../core/principal.js";
import { addressRangeSchema, scopeSchema } from "../../settings/common.js";
import { pathText } from "../../settings/object.js";
import type { JsonValue } from "../../stores/contracts.js";
import { isStorable } from "../../stores/records.js";
import { ApiKeyError, type ApiKeyIssue } from "../errors.js";
import { isKeyId } from "./format.js";

/** Metadata at most, in bytes of JSON. */
export const MAX_METADATA_BYTES = 4096;
/** Longest grace of a rotated key: 30 days, in seconds. */
export const MAX_GRACE_SECONDS = 2_592_000;

/** Text that every store keeps. */
const text = (max: number): z.ZodString =>
  z
    .string()
    .min(1, "Empty")
    .max(max, `Longer than ${max} characters`)
    .regex(/^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$/, "Holds control characters")
    .refine(isStorable, "Holds half of a surrogate pair");

const NOT_A_TIME =
  "Not a time: a date with time and zone (2030-01-31T12:00:00Z), milliseconds since the epoch or a Date";
/** A date with its zone, or a number of milliseconds since the epoch, or a Date; kept as milliseconds. */
const timeSchema = z
  .union([z.date(), z.iso.datetime({ offset: true, error: NOT_A_TIME }), z.number()], { error: NOT_A_TIME })
  .transform((value) => new Date(value).getTime())
  .refine((ms) => Number.isInteger(ms), NOT_A_TIME);

const unique = <Item extends z.ZodType<string>>(item: Item, max: number): z.ZodType<string[], string[]> =>
  z
    .array(item)
    .max(max, `More than ${max} entries`)
    .transform((items) => [...new Set(items)]) as unknown as z.ZodType<string[], string[]>;

const metadataSchema = z.unknown().transform((value, context): Readonly<Record<string, JsonValue>> => {
  const copy = copyJson(value, 0);
  const problem =
    copy === undefined || typeof copy !== "object" || copy === null || Array.isArray(copy)
      ? "Not an object of JSON values at most 8 levels deep"
      : undefined;
  const tooLarge =
    problem === undefined && Buffer.byteLength(JSON.stringify(copy)) > MAX_METADATA_BYTES
      ? `More than ${MAX_METADATA_BYTES} bytes of JSON`
      : undefined;
  const message = problem ?? tooLarge;
  if (message === undefined) return copy as Readonly<Record<string, JsonValue>>;
  context.addIssue({ code: "custom", message });
  return z.NEVER;
});

/** A copy of plain JSON, or `undefined` when the value is none, is too deep, or names `__proto__`. */
function copyJson(value: unknown, depth: number): JsonValue | undefined {
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "number") return Number.isFinite(value) ? value : undefined;
  if (typeof value !== "object" || depth >= 8) return undefined;
  if (Array.isArray(value)) {
    const items = value.map((item) => copyJson(item, depth + 1));
    return items.some((item) => item === undefined) ? undefined : (items as JsonValue[]);
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return undefined;
  const copy: Record<string, JsonValue> = {};
  for (const [key, item] of Object.entries(value)) {
    const copied = key === "__proto__" ? undefined : copyJson(item, depth + 1);
    if (copied === undefined) return undefined;
    copy[key] = copied;
  }
  return copy;
}

/** The limit a key may carry. */
const keyLimitSchema = z.strictObject({
  /** Requests in a window. */
  limit: z.int("Not a whole number").min(1, "Less than 1").max(100_000, "More than 100000"),
  /** Length of the window, in seconds. */
  windowSeconds: z.int("Not a whole number").min(1, "Less than 1").max(86_400, "More than a day"),
});

const ownFields = {
  name: text(100),
  scopes: unique(scopeSchema, 100).default([]),
  roles: unique(
    z.string().regex(/^[A-Za-z0-9._:-]{1,64}$/, "Not a role: 1 to 64 letters, digits, '.', '_', ':' or '-'"),
    50,
  ).default([]),
  /** When the key stops working; null: never. */
  expiresAt: timeSchema.nullable().default(null),
  /** Addresses and CIDR ranges the key may be used from; empty: from anywhere. */
  allow: unique(addressRangeSchema, 100).default([]),
  rateLimit: keyLimitSchema.nullable().default(null),
  metadata: metadataSchema.default({}),
};

/** What a caller may say about a key of their own: no owner, no id, nothing that the service decides. */
export const ownKeySchema = z.strictObject(ownFields);
/** Whose a key is: text, or a safe integer as decimal text. */
const ownerSchema = z.preprocess(idText, text(MAX_ID_LENGTH)) as unknown as z.ZodType<string, string | number>;
/** What `ApiKeyService.create` takes. */
export const createSchema = z.strictObject({ ownerId: ownerSchema, ...ownFields });
/** What `ApiKeyService.rotate` takes: seconds the old key stays valid beside the new one. */
export const rotateSchema = z.strictObject({
  graceSeconds: z
    .int("Not a whole number")
    .min(0, "Less than 0")
    .max(MAX_GRACE_SECONDS, `More than ${MAX_GRACE_SECONDS}`)
    .default(0),
});
/** What `ApiKeyService.revoke` takes. */
export const revokeSchema = z.strictObject({
  reason: text(200).default("revoked"),
  /** Also ends every key made with it or with its successors, and those successors. */
  descendants: z.boolean().default(false),
});
/** What `ApiKeyService.list` takes. */
export const pageSchema = z.strictObject({
  limit: z.int("Not a whole number").min(1, "Less than 1").max(100, "More than 100").default(50),
  after: z.string().refine(isKeyId, "Not a key id").optional(),
});

export type CreateInput = z.input<typeof createSchema>;
export type RotateInput = z.input<typeof rotateSchema>;
export type RevokeInput = z.input<typeof revokeSchema>;
export type PageInput = z.input<typeof pageSchema>;

/**
 * Reads input strictly.
 *
 * @throws ApiKeyError "invalid-input" listing every issue; neither values nor names of unknown fields are repeated
 */
export function readInput<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return result.data;
  throw new ApiKeyError("invalid-input", result.error.issues.slice(0, 20).map(issueOf));
}

function issueOf(issue: z.core.$ZodIssue): ApiKeyIssue {
  const path = pathText(issue.path);
  if (issue.code === "unrecognized_keys") return { path, message: "There are fields that are not known here" };
  if (issue.code === "invalid_type")
    return { path, message: issue.input === undefined ? "Missing" : `Not of type ${issue.expected}` };
  return { path, message: issue.message };
}
