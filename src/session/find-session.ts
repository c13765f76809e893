import { mapMaybe, orElse, type MaybePromise } from "../core/maybe-promise.js";
import type { StoreCaller } from "../core/store-caller.js";
import type { SessionMetadata } from "../stores/session-record.js";
import { isTouchDue } from "./decide.js";
import type { SessionContext } from "./express-session.js";
import type { AdoptedSession, FormerSessions } from "./former-sessions.js";
import { appData } from "./metadata.js";
import { sessionHandle } from "./session-cookie.js";
import type { LoadedSession } from "./session-repository.js";

/** The session that the cookies of a request name. */
export interface FoundSession {
  readonly loaded: LoadedSession;
  /** Names the session without giving its id away. */
  readonly handle: string;
  /** Set when the session's end has moved, so that the browser has to be given the cookie again. */
  readonly renewed: SessionMetadata | undefined;
  /** Set when it is a session of express-session, whose cookie has to be taken back. */
  readonly adopted: AdoptedSession | undefined;
}

/**
 * No session. A request that is `behind-log-in` was sent before the answer to a log-in came: a session begun here would take
 * the place of the one that is logged in.
 */
export type NoSession = "none" | "behind-log-in";

/**
 * Loads the session that a request's cookies name, and notes the use when that is due. Without such a session the caller is
 * anonymous, and the id in the cookie is not used.
 *
 * @param value of our cookie, of the spelling that `readSessionCookie` takes
 * @param oldSid from the cookie that `migrateFrom` names, for a caller without a session of ours
 * @param caller whose request it is
 * @throws StoreUnavailableError (or rejects with it) when the store did not answer
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

/** Goes on with a session that express-session began; the answer brings the new cookie and ends the old one. */
function adopt(
  former: FormerSessions,
  oldSid: string,
  none: NoSession,
  caller: StoreCaller,
): MaybePromise<FoundSession | NoSession> {
  return mapMaybe(former.adopt(oldSid, caller), (adopted) => {
    if (adopted === undefined) return former.wasReplaced(oldSid) ? "behind-log-in" : none;
    return { loaded: adopted, handle: sessionHandle(adopted.sid), renewed: adopted.stamp, adopted };
  });
}

/** The stamp with the new time of use, when one was due and the session is still there. */
function noteUse(
  { stored }: SessionContext,
  { sid, record, stamp }: LoadedSession,
): MaybePromise<SessionMetadata | undefined> {
  if (!isTouchDue(stamp, stored.policy, stored.now())) return undefined;
  const touched = { ...stamp, seenAt: stored.now() };
  return orElse(
    () =>
      mapMaybe(stored.touch(sid, appData(record), touched), (outcome) => (outcome === "written" ? touched : undefined)),
    // The session was loaded a moment ago; it merely ends earlier. The guard of the store has announced the outage.
    () => undefined,
  );
}
