/**
 * The contracts of every kind of store. The layers know these interfaces only; memory, SQL and Redis implement them,
 * and `portcullis/testing` checks an implementation against them.
 *
 * All times are milliseconds since the epoch. A method that rejects means "the store did not do it".
 *
 * A store returns text and numbers exactly as they were written. It rejects a write of text that not every engine keeps
 * (a NUL, half of a surrogate pair) or of a number that is not a safe integer, and a look-up by such a value finds
 * nothing. Changing an object that was passed in or returned does not change what is stored.
 *
 * The cost of a method does not grow with what one caller has stored, except where its comment says so: `n` is the
 * number of records in the store. Where a cost is O(log n), a SQL store does one index look-up for each statement.
 */

export type { WindowOutcome, WindowPolicy, WindowRequest } from "../core/rate-limits.js";
export * from "./contracts/api-keys.js";
export * from "./contracts/credentials.js";
export * from "./contracts/rate-limits.js";
export * from "./contracts/sessions.js";
export * from "./contracts/single-use.js";
export * from "./contracts/tokens.js";
export type { WriteCall } from "./health/write-call.js";
export type { JsonValue } from "./json.js";
