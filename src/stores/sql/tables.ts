import { addColumn, addIndex, createTable, dropIndex, type Table } from "./ddl.js";
import type { SqlEngine } from "./engines.js";

export const SCHEMA_TABLE: Table = {
  name: "portcullis_schema",
  columns: { version: "time", applied_at: "time" },
  primaryKey: ["version"],
  indexes: {},
};

const API_KEYS: Table = {
  name: "portcullis_api_keys",
  columns: {
    id: "name",
    owner_id: "name",
    name: "text",
    hash_algorithm: "code",
    hash_digest: "digest",
    scopes: "text",
    roles: "text",
    allow_list: "text",
    rate_limit: "text?",
    metadata: "text",
    created_at: "time",
    expires_at: "time?",
    revoked_at: "time?",
    revoked_reason: "text?",
    rotated_to: "name?",
    grace_until: "time?",
    usage_count: "time",
    last_used_at: "time?",
  },
  primaryKey: ["id"],
  indexes: { portcullis_api_keys_by_owner: ["owner_id", "created_at desc", "id desc"] },
};

const TOKEN_FAMILIES: Table = {
  name: "portcullis_token_families",
  columns: { id: "name", subject: "name", expires_at: "time", revoked_at: "time?" },
  primaryKey: ["id"],
  indexes: { portcullis_families_by_subject: ["subject"], portcullis_families_by_end: ["expires_at"] },
};

const REFRESH_TOKENS: Table = {
  name: "portcullis_refresh_tokens",
  columns: {
    id: "name",
    hash: "text",
    family_id: "name",
    subject: "name",
    scopes: "text",
    roles: "text",
    claims: "text",
    issued_at: "time",
    expires_at: "time",
    family_expires_at: "time",
    used_at: "time?",
    successor_id: "name?",
    sealed_successor: "text?",
    // Set while the token has a sealed successor, so that the index covers the last minutes and not every used token.
    sealed_at: "time?",
    revoked_at: "time?",
  },
  primaryKey: ["id"],
  indexes: {
    portcullis_tokens_by_family: ["family_id"],
    portcullis_tokens_by_end: ["used_at", "expires_at"],
    portcullis_tokens_by_family_end: ["family_expires_at"],
    portcullis_tokens_by_seal: ["sealed_at"],
  },
  references: { column: "family_id", table: "portcullis_token_families", key: "id" },
};

const CHANGES: Table = {
  name: "portcullis_changes",
  columns: { seq: "number", kind: "code", name: "name", cut_off: "time", ends_at: "time" },
  primaryKey: ["seq"],
  indexes: { portcullis_changes_by_name: ["kind", "name"], portcullis_changes_by_end: ["ends_at"] },
};

const SUBJECT_MARKS: Table = {
  name: "portcullis_subject_marks",
  columns: { subject: "name", mark: "name", revoked_at: "time", ends_at: "time" },
  primaryKey: ["subject"],
  indexes: { portcullis_marks_by_end: ["ends_at"] },
};

/** The statements of one step of the schema. */
type Step = (engine: SqlEngine) => string[];

function keysAndTokens(engine: SqlEngine): string[] {
  return [API_KEYS, TOKEN_FAMILIES, REFRESH_TOKENS].flatMap((table) => createTable(engine, table));
}

function changes(engine: SqlEngine): string[] {
  // Before the release of 0.1.0, SQLite files had a table of denials that could not be read in order.
  const before = engine === "sqlite" ? ['drop table if exists "portcullis_denials"'] : [];
  return [...before, ...createTable(engine, CHANGES)];
}

/** Older rows belong to tokens that were delivered. */
function undelivered(engine: SqlEngine): string[] {
  return addColumn(engine, "portcullis_refresh_tokens", "undelivered_at", "time?");
}

function subjectMarks(engine: SqlEngine): string[] {
  return [
    ...createTable(engine, SUBJECT_MARKS),
    ...addColumn(engine, "portcullis_token_families", "subject_mark", "name?"),
  ];
}

/** Rows without these values belong to keys that were not created with another key and that replaced none. */
function keyLineage(engine: SqlEngine): string[] {
  const columns = {
    made_by: "name?",
    lineage: "name?",
    first_id: "name?",
    path: "text?",
    line_ended_at: "time?",
  } as const;
  return Object.entries(columns).flatMap(([column, type]) => addColumn(engine, "portcullis_api_keys", column, type));
}

const OWNER_MARKS: Table = {
  name: "portcullis_owner_marks",
  columns: { owner_id: "name", mark: "name", revoked_at: "time", reason: "text" },
  primaryKey: ["owner_id"],
  indexes: {},
};

/** Keys without an owner's mark were inserted before the first. */
function keyAdministration(engine: SqlEngine): string[] {
  const table = "portcullis_api_keys";
  const columns = {
    line_expires_at: "time?",
    owner_mark: "name?",
    made_at: "time?",
    due_at: "time?",
    idle_at: "time?",
  } as const;
  return [
    ...createTable(engine, OWNER_MARKS),
    ...Object.entries(columns).flatMap(([column, type]) => addColumn(engine, table, column, type)),
    `update ${table} set made_at = created_at`,
    `update ${table} set due_at = expires_at, idle_at = coalesce(last_used_at, created_at) where revoked_at is null and rotated_to is null`,
    ...addIndex(engine, table, "portcullis_api_keys_by_creation", ["made_at desc", "id desc"]),
    ...addIndex(engine, table, "portcullis_api_keys_by_expiry", ["due_at", "id"]),
    ...addIndex(engine, table, "portcullis_api_keys_by_use", ["idle_at", "id"]),
  ];
}

/** What a list of families shows. Older families get it from their tokens. */
function familyDetails(engine: SqlEngine): string[] {
  const table = "portcullis_token_families";
  const columns = { created_at: "time?", last_used_at: "time?", idle_ends_at: "time?", label: "text?" } as const;
  const ofTokens = (value: string) =>
    `(select ${value} from portcullis_refresh_tokens where portcullis_refresh_tokens.family_id = portcullis_token_families.id)`;
  return [
    ...Object.entries(columns).flatMap(([column, type]) => addColumn(engine, table, column, type)),
    `update ${table} set created_at = ${ofTokens("min(issued_at)")}, last_used_at = ${ofTokens("max(issued_at)")}, idle_ends_at = ${ofTokens("max(expires_at)")} where created_at is null`,
    ...addIndex(engine, table, "portcullis_families_in_force", ["subject", "revoked_at", "created_at desc", "id desc"]),
  ];
}

function keptCredentials(engine: SqlEngine): string[] {
  return addColumn(engine, "portcullis_changes", "kept", "name?");
}

const CREDENTIALS: Table = {
  name: "portcullis_credentials",
  columns: {
    id: "id",
    owner_id: "name",
    kind: "code",
    name: "name",
    data: "text",
    created_at: "time",
    confirmed_at: "time?",
    used_at: "time?",
    expires_at: "time?",
    counter: "time",
    failures: "time",
    version: "time",
  },
  primaryKey: ["id"],
  unique: { portcullis_credentials_by_name: ["kind", "name"] },
  indexes: {
    portcullis_credentials_by_owner: ["owner_id", "created_at", "id"],
    portcullis_credentials_by_end: ["expires_at"],
  },
};

const SINGLE_USE: Table = {
  name: "portcullis_single_use",
  columns: { id: "id", kind: "code", owner_id: "name", data: "text", expires_at: "time" },
  primaryKey: ["id"],
  indexes: {
    portcullis_single_use_by_owner: ["owner_id", "kind", "expires_at", "id"],
    portcullis_single_use_by_end: ["expires_at"],
  },
};

function accounts(engine: SqlEngine): string[] {
  return [CREDENTIALS, SINGLE_USE].flatMap((table) => createTable(engine, table));
}

/**
 * An index for the families of a subject that was cut off. The index of the subject alone is the beginning of
 * `portcullis_families_in_force`. It is dropped first: on PostgreSQL a drop needs the stronger lock, and one that asked
 * for it after the creation would meet rotations in a deadlock.
 */
function familiesByMark(engine: SqlEngine): string[] {
  const table = "portcullis_token_families";
  const newestInForce = ["subject_mark", "revoked_at", "created_at desc", "id desc"];
  return [
    ...dropIndex(engine, table, "portcullis_families_by_subject"),
    ...addIndex(engine, table, "portcullis_families_by_mark", newestInForce),
  ];
}

/** The schema, step by step. A released step never changes; a new version is a new step. */
export const STEPS: readonly Step[] = [
  keysAndTokens,
  changes,
  undelivered,
  subjectMarks,
  keyLineage,
  keyAdministration,
  familyDetails,
  keptCredentials,
  accounts,
  familiesByMark,
];
