import type { Generated, Kysely, Selectable } from "kysely";

/**
 * An integer beyond 32 bits. It is written as a number; a driver may read it back as a bigint or, like pg, as a string.
 * `rows.ts` converts it back to a number.
 */
type BigInteger = number | bigint | string;

/** One row for each version of the schema that was applied. */
export interface SchemaTable {
  version: number;
  applied_at: BigInteger;
}

/**
 * Lists, limits and metadata are JSON in text columns: this needs no engine's own JSON type, and no engine alters them.
 */
export interface ApiKeyTable {
  id: string;
  owner_id: string;
  name: string;
  hash_algorithm: string;
  hash_digest: string;
  scopes: string;
  roles: string;
  allow_list: string;
  rate_limit: string | null;
  metadata: string;
  created_at: BigInteger;
  expires_at: BigInteger | null;
  revoked_at: BigInteger | null;
  revoked_reason: string | null;
  rotated_to: string | null;
  grace_until: BigInteger | null;
  made_by: string | null;
  lineage: string | null;
  first_id: string | null;
  path: string | null;
  /** When the rotation line that begins with this key was ended. */
  line_ended_at: BigInteger | null;
  /** The expiry of that line, once `update` has changed it. */
  line_expires_at: BigInteger | null;
  /** The owner's mark when the key was inserted; null when there was none. */
  owner_mark: string | null;
  /** `created_at` again, for an index that no page of one owner's keys may use. */
  made_at: BigInteger | null;
  /** `expires_at` while the key is neither revoked nor replaced, for the index. */
  due_at: BigInteger | null;
  /** The last use, or else the creation, while the key is neither revoked nor replaced, for the index. */
  idle_at: BigInteger | null;
  usage_count: BigInteger;
  last_used_at: BigInteger | null;
}

/** The last call that ended all keys of an owner: it ended every key that was inserted without this mark. */
export interface OwnerMarkTable {
  owner_id: string;
  /** Unique to this call. It orders calls and keys without comparing clocks. */
  mark: string;
  revoked_at: BigInteger;
  reason: string;
}

/**
 * One row for each family, so that a revocation writes one mark and a rotation locks one row. A token is revoked when
 * its family is, or when its subject's mark differs from the mark when the family began.
 */
export interface TokenFamilyTable {
  id: string;
  subject: string;
  expires_at: BigInteger;
  revoked_at: Generated<BigInteger | null>;
  /** The subject's mark when the family began; null when there was none. */
  subject_mark: Generated<string | null>;
  created_at: Generated<BigInteger | null>;
  last_used_at: Generated<BigInteger | null>;
  /** When its latest token expires. */
  idle_ends_at: Generated<BigInteger | null>;
  label: Generated<string | null>;
}

/** The last revocation of a subject: it ends every family that began without this mark. */
export interface SubjectMarkTable {
  subject: string;
  /** Unique to this revocation. It orders revocations and families without comparing clocks. */
  mark: string;
  revoked_at: BigInteger;
  /** The mark is kept at least until this time; later only while a family needs it. */
  ends_at: BigInteger;
}

/** One row for each refresh token. */
export interface RefreshTokenTable {
  id: string;
  hash: string;
  family_id: string;
  subject: string;
  scopes: string;
  roles: string;
  claims: string;
  issued_at: BigInteger;
  expires_at: BigInteger;
  family_expires_at: BigInteger;
  used_at: BigInteger | null;
  successor_id: string | null;
  sealed_successor: string | null;
  sealed_at: BigInteger | null;
  undelivered_at: Generated<BigInteger | null>;
  revoked_at: BigInteger | null;
}

/** Changes for other processes, in the order in which they were written. `kind` says what `name` is. */
export interface ChangeTable {
  /** Assigned by the engine. When transactions overlap, the lower number may become visible last. */
  seq: Generated<BigInteger>;
  kind: "token" | "family" | "subject" | "principal" | "api-key" | "owner";
  name: string;
  /** For subjects: tokens issued before this are denied; for principals: sessions. 0 for the other kinds. */
  cut_off: BigInteger;
  /** The one credential that a cut-off does not end. */
  kept: Generated<string | null>;
  /** When the row may be forgotten. */
  ends_at: BigInteger;
}

/** One row for each credential of a person: what accounts keep. */
export interface CredentialTable {
  id: string;
  owner_id: string;
  kind: string;
  /** Unique among those of its kind. */
  name: string;
  /** JSON. */
  data: string;
  created_at: BigInteger;
  confirmed_at: BigInteger | null;
  used_at: BigInteger | null;
  expires_at: BigInteger | null;
  counter: BigInteger;
  failures: BigInteger;
  /** Grows with each update in a change. */
  version: BigInteger;
}

/** One row for each record that can be used once; using it deletes the row. */
export interface SingleUseTable {
  id: string;
  kind: string;
  owner_id: string;
  /** JSON. */
  data: string;
  expires_at: BigInteger;
}

/** The tables of this library. Another application's tables may stand beside them. */
export interface PortcullisTables {
  portcullis_schema: SchemaTable;
  portcullis_api_keys: ApiKeyTable;
  portcullis_owner_marks: OwnerMarkTable;
  portcullis_token_families: TokenFamilyTable;
  portcullis_subject_marks: SubjectMarkTable;
  portcullis_refresh_tokens: RefreshTokenTable;
  portcullis_changes: ChangeTable;
  portcullis_credentials: CredentialTable;
  portcullis_single_use: SingleUseTable;
}

/** A Kysely instance over the tables of this library. */
export type PortcullisDatabase = Kysely<PortcullisTables>;
export type ApiKeyRow = Selectable<ApiKeyTable>;
export type TokenFamilyRow = Selectable<TokenFamilyTable>;
export type RefreshTokenRow = Selectable<RefreshTokenTable>;
export type CredentialRow = Selectable<CredentialTable>;
export type SingleUseRow = Selectable<SingleUseTable>;
