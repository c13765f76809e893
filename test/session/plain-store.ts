import { Store, type SessionData } from "express-session";

/** A store as others write it: express-session's contract and no more, each answer a turn later. */
export function plainSessionStore(): Store {
  const sessions = new Map<string, string>();
  class PlainStore extends Store {
    override get(sid: string, callback: (error: unknown, data?: SessionData | null) => void): void {
      const json = sessions.get(sid);
      setImmediate(() => callback(null, json === undefined ? null : (JSON.parse(json) as SessionData)));
    }

    override set(sid: string, data: SessionData, callback?: (error?: unknown) => void): void {
      sessions.set(sid, JSON.stringify(data));
      setImmediate(() => callback?.());
    }

    override destroy(sid: string, callback?: (error?: unknown) => void): void {
      sessions.delete(sid);
      setImmediate(() => callback?.());
    }

    override touch(_sid: string, _data: SessionData, callback?: () => void): void {
      setImmediate(() => callback?.());
    }
  }
  return new PlainStore();
}
