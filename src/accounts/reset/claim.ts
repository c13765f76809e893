import type { StoredCredential } from "../../stores/contracts.js";
import type { StoreTime } from "../../stores/health/store-time.js";
import type { AccountsContext } from "../context.js";

/** Longer than a request takes from the claim to the new password: the process that claimed the link has died. */
const CLAIM_MS = 30_000;

/**
 * Lets one request at a time use a link. Without it, of two requests with one link, as a double click sends them, the one
 * that loses would end the session of the one that has won.
 */
export class LinkClaims {
  readonly #context: Pick<AccountsContext, "credentials" | "host">;

  constructor(context: Pick<AccountsContext, "credentials" | "host">) {
    this.#context = context;
  }

  /** Whether another request uses the link now. */
  isClaimed({ data }: StoredCredential): boolean {
    return typeof data.claimedUntil === "number" && data.claimedUntil > this.#context.host.runtime.clock.now();
  }

  /**
   * Claims a link as it was read. Of several requests one does.
   *
   * @returns gives the claim back, so that the link works again; `undefined` when the link has changed since
   * @throws StoreUnavailableError (rejects)
   */
  async claim(link: StoredCredential, time: StoreTime): Promise<(() => Promise<void>) | undefined> {
    const { credentials, host } = this.#context;
    const { id, ownerId, version, data } = link;
    const claimedUntil = host.runtime.clock.now() + CLAIM_MS;
    const release = async (): Promise<void> => {
      const change = { update: [{ id, version: version + 1, data }] };
      // Without an answer of the store the claim ends by itself. The guard has announced it.
      await credentials.write((store, call) => store.change(ownerId, change, call), ownerId).catch(() => undefined);
    };
    const change = { update: [{ id, version, data: { ...data, claimedUntil } }] };
    const isClaimed = await credentials.write(
      (store, call) => store.change(ownerId, change, call),
      ownerId,
      time,
      (late) => {
        if (late !== false) void release();
      },
    );
    return isClaimed ? release : undefined;
  }
}
