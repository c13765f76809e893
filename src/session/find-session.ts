import { mapMaybe, orElse, type MaybePromise } from "../core/maybe-promise.js";
import type { StoreCaller } from "../core/store-caller.js";
import type { SessionMetadata } from "../stores/contracts.js";
import { isTouchDue } from "./decide.js";
import type { SessionContext } from "./express-session.js";
import type { AdoptedSession, FormerSessions } from "./former-sessions.js";
import { appData } from "./metadata.js";
import { sessionHandle } from "./session-cookie.js";
import type { LoadedSession } from "./session-repository.js";

/** The session that a request's cookies identify. */
export interface FoundSession {
  readonly loaded: LoadedSession;
  /** Identifies the session without revealing its id. */
  readonly handle: string;
  /** Set when the expiry was extended, so that the response must set the cookie again. */
  readonly renewed: SessionMetadata | undefined;
  /** Set when express-session created the session, so that the response must clear its old cookie. */
  readonly adopted: AdoptedSession | undefined;
}

/**
 * No session. `behind-log-in` means that the request was sent before the response to a log-in arrived: a new session
 * created here would replace the logged-in one.
 */
export type NoSession = "none" | "behind-log-in";

/**
 * Loads the session that a request's cookies identify, and records the use when that is due. Without such a session the
 * caller is anonymous, and the id in the cookie is not used.
 *
 * @param value value of our cookie, in the encoding that `readSessionCookie` accepts
 * @param oldSid id from the cookie that `migrateFrom` names, for a caller without a session of ours
 * @param caller the request's caller
 * @throws StoreUnavailableError (or rejects with it) when the store did not respond
 */
export function findSession(
  context: SessionContext,
  value: string | undefined,
  oldSid: string | undefined,
  caller: StoreCaller,
): MaybePromise<FoundSession | NoSession> {
  const { cookie, former, stored } = context;
  const goOn = (none: NoSession): MaybePromise<FoundSession | NoSession> =>
    former === undefined || oldSid === undefined ? none : adopt(former, oldSid, none, caller);
  const name = value === undefined ? undefined : cookie.read(value);
  caller.credential = name?.handle;
  if (name === undefined) return goOn("none");
  return mapMaybe(stored.load(name.sid, caller), (loaded) => {
    if (loaded !== undefined)
      return mapMaybe(noteUse(context, loaded), (renewed) => ({
        loaded,
        handle: name.handle,
        renewed,
        adopted: undefined,
      }));
    return goOn(stored.wasReplaced(name.sid) ? "behind-log-in" : "none");
  });
}

/** Adopts a session that express-session created; the response sets the new cookie and clears the old one. */
function adopt(
  former: FormerSessions,
  oldSid: string,
  none: NoSession,
  caller: StoreCaller,
): MaybePromise<FoundSession | NoSession> {
  return mapMaybe(former.adopt(oldSid, caller), (adopted) => {
    if (adopted === undefined) return former.wasReplaced(oldSid) ? "behind-log-in" : none;
    return { loaded: adopted, handle: sessionHandle(adopted.sid), renewed: adopted.metadata, adopted };
  });
}

/** Returns the metadata with the new time of use, when recording was due and the session still exists. */
function noteUse(
  { stored }: SessionContext,
  { sid, record, metadata }: LoadedSession,
): MaybePromise<SessionMetadata | undefined> {
  if (!isTouchDue(metadata, stored.policy, stored.now())) return undefined;
  const touched = { ...metadata, seenAt: stored.now() };
  return orElse(
    () =>
      mapMaybe(stored.touch(sid, appData(record), touched), (outcome) => (outcome === "written" ? touched : undefined)),
    // The session is loaded and valid; without the write it only ends earlier. The store guard has announced the
    // outage.
    () => undefined,
  );
}
