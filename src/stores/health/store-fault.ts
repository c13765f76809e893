import { PortcullisError } from "../../core/portcullis-error.js";
import type { DriverErrorClass } from "./driver-error-codes.js";
import { classifyDriverError } from "./driver-errors.js";

/**
 * What a store's error says about the store.
 *
 * - `unreachable`: no connection to a server that is in service.
 * - `late`: this call took too long. Several in a row are an outage, one is not.
 * - `overload`: this process has more concurrent calls than its connection pool serves; the server is healthy.
 * - `input`: the store cannot keep a value of this call. Only the caller is at fault.
 * - `full`: the store has no room for what this call adds. All stored data still works.
 * - `share`: the owner of the record has used up their share of the store. Other owners are not affected.
 * - `record`: the record stored under this name cannot be read. Only that record is affected.
 * - `other`: any other error; the store answered with it.
 */
export type StoreFault = "unreachable" | "late" | "overload" | "full" | "share" | "input" | "record" | "other";

const WRITE_REJECTIONS = [
  "read-only",
  "out-of-memory",
  "disk-full",
  "not-saving",
  "too-few-replicas",
  "no-rights",
] as const satisfies readonly DriverErrorClass[];

/** Why a server that answers rejects all writes. */
export type WriteRejectionReason = (typeof WRITE_REJECTIONS)[number];

/** A server with no free connection may have one for the next call. */
const FAULTS: Readonly<Partial<Record<DriverErrorClass, StoreFault>>> = {
  overload: "overload",
  "store-full": "full",
  "share-full": "share",
  "invalid-data": "input",
  "unreadable-record": "record",
  late: "late",
  "server-full": "late",
  unreachable: "unreachable",
  "credentials-rejected": "unreachable",
  "connection-lost": "unreachable",
};

/** What can be read of a record that as a whole cannot: enough to check who may end it, and to end it. */
export interface ReadableParts {
  /** Owner of the API key. */
  readonly ownerId?: string;
  /** Hash of the refresh token's secret. */
  readonly hash?: string;
  /** Family of the refresh token. */
  readonly familyId?: string;
  /** Subject of the refresh token. */
  readonly subject?: string;
}

/** A stored record that this version cannot read: damaged, or written by a newer version. */
export class UnreadableRecordError extends PortcullisError {
  readonly code = "PORTCULLIS_UNREADABLE_RECORD";
  readonly #readable: ReadableParts;

  /**
   * @param kind what the record is, for the message
   * @param options `readable`: what can be read of it. With it, the record can be revoked. Default: nothing
   */
  constructor(kind: string, options: { readonly cause?: unknown } & { readonly readable?: ReadableParts } = {}) {
    super(
      `A stored ${kind} cannot be read: it is damaged or was written by a newer version.`,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.name = "UnreadableRecordError";
    this.#readable = options.readable ?? {};
  }

  /** What can be read of the record. No own property, so that no log prints it. */
  get readable(): ReadableParts {
    return this.#readable;
  }
}

/** What can be read of the unreadable record that an error or one of its causes is about. */
export function readablePartsOf(error: unknown): ReadableParts {
  // The guard of a store and the error for the caller each add one level; a cycle of causes ends.
  for (let cause = error, depth = 0; cause instanceof Error && depth < 4; cause = cause.cause, depth += 1)
    if (cause instanceof UnreadableRecordError) return cause.readable;
  return {};
}

/** Classifies a store's error by the error and its causes. */
export function faultOf(error: unknown): StoreFault {
  return FAULTS[classifyDriverError(error)] ?? "other";
}

/**
 * Why the server rejected an operation, when the reason is the state of the server and not this operation: every store
 * on the server then gets the same error. `undefined` for any other error, which belongs to the store.
 */
export function writeRejectionReason(error: unknown): WriteRejectionReason | undefined {
  const meaning = classifyDriverError(error);
  return WRITE_REJECTIONS.find((reason) => reason === meaning);
}
