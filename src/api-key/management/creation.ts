import { FOREIGN_ID } from "../../core/foreign-ids.js";
import { callerFor, callerForPrincipal } from "../../core/store-caller.js";
import type { StoredApiKey } from "../../stores/contracts.js";
import { type ApiKeyMaker, stateProblem, THE_APP } from "../decide.js";
import { ApiKeyError } from "../errors.js";
import { generateKey } from "../keys/format.js";
import { type CreateApiKeyInput, createSchema, readInput } from "../keys/input.js";
import { publicRecord } from "../keys/records.js";
import type { AuditContext, CreatedApiKey } from "../types.js";
import { withKeyErrors } from "./guarded-store.js";
import { settleOwner } from "./owner-revocation.js";
import { announceKey, type ManagementParts } from "./parts.js";

/** The fields of a new key, which a rotation keeps. */
export type NewKeyFields = Pick<
  StoredApiKey,
  | "ownerId"
  | "name"
  | "scopes"
  | "roles"
  | "allow"
  | "rateLimit"
  | "metadata"
  | "createdAt"
  | "expiresAt"
  | "madeBy"
  | "path"
> & {
  /** Null: the new key begins a lineage. */
  readonly lineage: string | null;
  readonly firstId: string | null;
};

/** Creates keys. */
export class KeyCreation {
  readonly #parts: ManagementParts;

  constructor(parts: ManagementParts) {
    this.#parts = parts;
  }

  /** See `ApiKeyService.create`. */
  async create(input: CreateApiKeyInput, audit: AuditContext, by?: ApiKeyMaker): Promise<CreatedApiKey> {
    const wanted = readInput(createSchema, input);
    // A caller of the routes may be such a subject itself, and own keys.
    if (by === undefined && this.#parts.runtime.foreignIds.has(wanted.ownerId))
      throw new ApiKeyError("invalid-input", [{ path: "ownerId", message: FOREIGN_ID }]);
    const maker = by ?? THE_APP;
    const now = this.#parts.runtime.clock.now();
    if (wanted.expiresAt !== null && wanted.expiresAt <= now)
      throw new ApiKeyError("invalid-input", [{ path: "expiresAt", message: "Must be in the future" }]);
    await settleOwner(this.#parts, wanted.ownerId);
    const { key, stored } = await this.make({ ...wanted, ...maker, firstId: null, createdAt: now });
    // Checked after the hash, which may have waited: a key created by an ended key would never be valid.
    if (maker.path.length > 0) await this.#demandInForce(maker.madeBy);
    await withKeyErrors(
      this.#parts.store.write(
        (store, call) => store.insert(stored, call),
        callerForPrincipal(stored.ownerId),
        // The caller was refused, so no client has this key.
        () =>
          this.#parts.unfinished.add(stored.id, () =>
            this.#parts.store.unguarded.revoke(stored.id, this.#parts.runtime.clock.now(), "not-delivered"),
          ),
      ),
    );
    announceKey(this.#parts, "authn_token_created", "created", stored, audit);
    return { key, record: publicRecord(stored) };
  }

  /** Generates and hashes a key; nothing is stored. */
  async make(from: NewKeyFields): Promise<{ key: string; stored: StoredApiKey }> {
    const { ownerId, name, scopes, roles, allow, rateLimit, metadata, createdAt, expiresAt, madeBy, path } = from;
    const { key, id } = generateKey(this.#parts.options.prefix, this.#parts.options.length);
    const hash = await this.#parts.hasher.digest(key, [`owner ${ownerId}`]);
    const fresh = {
      revokedAt: null,
      revokedReason: null,
      rotatedTo: null,
      graceUntil: null,
      usageCount: 0,
      lastUsedAt: null,
    };
    const makers = { madeBy, path, lineage: from.lineage ?? id, firstId: from.firstId ?? id };
    return {
      key,
      stored: {
        id,
        ownerId,
        name,
        hash,
        scopes,
        roles,
        allow,
        rateLimit,
        metadata,
        createdAt,
        expiresAt,
        ...makers,
        ...fresh,
      },
    };
  }

  /** Throws when the key that creates another key is no longer valid. @param id id of that key */
  async #demandInForce(id: string | null): Promise<void> {
    const stored =
      id === null ? undefined : await withKeyErrors(this.#parts.store.read((store) => store.get(id), callerFor(id)));
    const problem = stored === undefined ? "revoked" : stateProblem(stored, this.#parts.runtime.clock.now());
    if (problem !== undefined) throw new ApiKeyError(problem);
  }
}
