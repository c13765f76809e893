import session from "express-session";
import { currentOperation } from "./context.js";
import type { FaultCounts } from "./faults.js";
import { pause } from "./virtual-time.js";

type Done = (error?: unknown) => void;

/**
 * A session store that the processes share, of express-session's plain contract, as session-file-store is: asynchronous, and
 * for a file that is gone it tries again for two seconds.
 */
export class FileSessionStore extends session.Store {
  readonly #files = new Map<string, string>();
  readonly #missing = new Set<string>();
  readonly #faults: FaultCounts;

  constructor(faults: FaultCounts) {
    super();
    this.#faults = faults;
  }

  /** The files of one person are deleted behind the store's back. */
  loseFilesOf(principalId: string): void {
    for (const [sid, json] of this.#files) {
      if (!json.includes(JSON.stringify(principalId))) continue;
      this.#files.delete(sid);
      this.#missing.add(sid);
    }
  }

  override get(sid: string, callback: (error: unknown, data?: session.SessionData | null) => void): void {
    const isMissing = this.#missing.has(sid);
    if (isMissing) this.#faults.add("missing-session-file");
    void this.#later(isMissing ? 2000 : 0).then(() =>
      callback(null, JSON.parse(this.#files.get(sid) ?? "null") as session.SessionData | null),
    );
  }

  override set(sid: string, data: session.SessionData, callback?: Done): void {
    const json = JSON.stringify(data);
    void this.#later().then(() => {
      this.#files.set(sid, json);
      callback?.();
    });
  }

  override destroy(sid: string, callback?: Done): void {
    void this.#later().then(() => {
      this.#files.delete(sid);
      callback?.();
    });
  }

  #later(extra = 0): Promise<void> {
    return pause(currentOperation().random.between(1, 4) + extra);
  }
}
