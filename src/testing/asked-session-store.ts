import { expressSession, type SessionData } from "../stores/express-session.js";
import {
  type PrincipalSession,
  SESSION_METADATA,
  type SessionMetadata,
  type SessionStore,
} from "../stores/contracts.js";
import type { ConformanceCase } from "./conformance.js";
import type { ManualClock } from "./manual-clock.js";

/** Makes a case of a check that gets a new, empty store and a way to let time pass for it. */
export type SessionTestCase = (
  name: string,
  check: (store: AskedSessionStore, elapse: (ms: number) => Promise<void>) => Promise<void>,
) => ConformanceCase;

/** A `SessionStore` with promises, as the cases want it. */
export class AskedSessionStore {
  constructor(
    private readonly store: SessionStore,
    private readonly clock: ManualClock,
  ) {}

  get(sid: string): Promise<Record<string, unknown> | null | undefined> {
    return called((done) => this.store.get(sid, done as (error: unknown, data?: SessionData | null) => void));
  }

  set(sid: string, data: SessionData): Promise<unknown> {
    return called((done) => this.store.set(sid, data, done));
  }

  create(sid: string, data: SessionData): Promise<boolean | undefined> {
    return called((done) => this.store.create(sid, data, done));
  }

  replace(sid: string, data: SessionData): Promise<boolean | undefined> {
    return called((done) => this.store.replace(sid, data, done));
  }

  touch(sid: string, data: SessionData): Promise<boolean | undefined> {
    return called((done) => this.store.touch(sid, data, done));
  }

  destroy(sid: string): Promise<boolean | undefined> {
    return called((done) => this.store.destroy(sid, done));
  }

  async ids(principalId: string): Promise<string[]> {
    return (await this.store.listByPrincipal(principalId)).map(({ sid }) => sid).sort();
  }

  /** The list in the order of its ids. */
  async listed(principalId: string): Promise<PrincipalSession[]> {
    const found = await this.store.listByPrincipal(principalId);
    return [...found].sort((one, other) => (one.sid < other.sid ? -1 : 1));
  }

  async list(principalId: string): Promise<unknown> {
    return this.store.listByPrincipal(principalId);
  }

  async idsBefore(principalId: string, agoMs: number): Promise<string[]> {
    return [...(await this.store.idsByPrincipal(principalId, agoMs))].sort();
  }

  /** Ends what began until now. Returns how many of them were still there. */
  async endAll(principalId: string): Promise<number> {
    const ids = await this.store.idsByPrincipal(principalId, 0);
    return (await Promise.all(ids.map((sid) => this.destroy(sid)))).filter((found) => found === true).length;
  }

  now(): number {
    return this.clock.now();
  }

  /** A session of a principal, or an anonymous one, that ends `lifeMs` from now. */
  data(principal?: string, extra: object = {}, lifeMs = 60_000): SessionData {
    const cookie = new (expressSession().Cookie)();
    cookie.expires = new Date(this.now() + lifeMs);
    const who: SessionMetadata["principal"] =
      principal === undefined ? null : { id: principal, scopes: ["read"], roles: [] };
    return {
      cookie,
      ...extra,
      [SESSION_METADATA]: { createdAt: this.now(), seenAt: this.now(), principal: who },
    } as unknown as SessionData;
  }
}

function called<T>(start: (done: (error: unknown, value?: T) => void) => void): Promise<T | undefined> {
  return new Promise((resolve, reject) => start((error, value) => (error == null ? resolve(value) : reject(error))));
}
