import type { Request } from "express";
import { idText, isPrincipalId } from "../core/identity.js";
import { inTime, LATE } from "../core/in-time.js";
import { type Refusal, RETRY_SOON } from "../core/response/problem.js";
import type { Caller, CallerRefusals } from "./delegation.js";
import type { OwnerOf } from "./routes-settings.js";

/** The caller, as one who manages the keys of the owner that the app names. */
export async function forOwner(
  caller: Caller,
  owner: OwnerOf,
  req: Request,
  refusals: CallerRefusals,
  timeoutMs: number,
): Promise<Caller | Refusal> {
  let ownerId: unknown;
  try {
    const given = await inTime(
      Promise.resolve().then(() => owner(req)),
      timeoutMs,
    );
    if (given === LATE) return OWNER_LATE;
    ownerId = idText(given);
  } catch {
    // What it threw may contain anything; the event says that it threw.
    return refusals.ownerFailed;
  }
  if (!isPrincipalId(ownerId)) return refusals.noOwner;
  // The keys that a key makes end with it, so they have its owner.
  if (caller.key !== undefined && caller.key.ownerId !== ownerId) return refusals.noOwner;
  return { ...caller, ownerId };
}

/** The app could not tell the owner in time: nobody is at fault, and the same call may succeed soon. */
const OWNER_LATE: Refusal = { code: "store-unavailable", reason: "owner-late", headers: RETRY_SOON };
