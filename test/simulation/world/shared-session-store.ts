import type session from "express-session";
import { currentOperation } from "./context.js";
import { MemorySessionStore } from "./library.js";
import { pause } from "./virtual-time.js";

type Done = (error?: unknown) => void;
type Answer = (error: unknown, done?: boolean) => void;

/** A session store that the processes share, of the library's own contract, as the one on Redis is: each call is atomic, and takes time. */
export class SharedSessionStore extends MemorySessionStore {
  override get(sid: string, callback: (error: unknown, data?: session.SessionData | null) => void): void {
    later(() => super.get(sid, callback));
  }

  override set(sid: string, data: session.SessionData, callback?: Done): void {
    const copy = copyOf(data);
    later(() => super.set(sid, copy, callback));
  }

  override create(sid: string, data: session.SessionData, callback: Answer): void {
    const copy = copyOf(data);
    later(() => super.create(sid, copy, callback));
  }

  override replace(sid: string, data: session.SessionData, callback: Answer): void {
    const copy = copyOf(data);
    later(() => super.replace(sid, copy, callback));
  }

  override touch(sid: string, data: session.SessionData, callback?: Answer): void {
    const copy = copyOf(data);
    later(() => super.touch(sid, copy, callback));
  }

  override destroy(sid: string, callback?: Answer): void {
    later(() => super.destroy(sid, callback));
  }
}

/** What is sent is what there was when it was sent. */
function copyOf(data: session.SessionData): session.SessionData {
  return { ...data };
}

function later(work: () => void): void {
  void pause(currentOperation().random.between(1, 4)).then(work);
}
