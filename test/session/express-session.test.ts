import { createHmac } from "node:crypto";
import { createRequire } from "node:module";
import type { Request } from "express";
import session from "express-session";
import { describe, expect, it } from "vitest";

/**
 * What the session layer relies on in express-session beyond its README, held against the installed version: the classes it
 * exports, what `Session` calls on its store, and how `Cookie` and the signature look. Read `src/session` again when one fails.
 */
const { version } = createRequire(import.meta.url)("express-session/package.json") as { version: string };

interface Host {
  session?: session.Session & Partial<session.SessionData>;
  sessionID: string;
  sessionStore: session.Store;
}

/** A store that notes its calls. */
class NotingStore extends session.Store {
  readonly calls: unknown[][] = [];
  found: session.SessionData | null = null;

  override get(sid: string, callback: (error: unknown, data?: session.SessionData | null) => void): void {
    this.calls.push(["get", sid]);
    callback(null, this.found);
  }

  override set(sid: string, data: session.SessionData, callback?: (error?: unknown) => void): void {
    this.calls.push(["set", sid, data]);
    callback?.();
  }

  override destroy(sid: string, callback?: (error?: unknown) => void): void {
    this.calls.push(["destroy", sid]);
    callback?.();
  }

  generate(host: Host): void {
    this.calls.push(["generate", host]);
    host.sessionID = "new";
    this.createSession(host as unknown as Request, { cookie: new session.Cookie() });
  }
}

function begin(data: object = {}): { store: NotingStore; host: Host; live: session.Session & session.SessionData } {
  const store = new NotingStore();
  const host: Host = { sessionID: "old", sessionStore: store };
  const live = store.createSession(host as unknown as Request, { cookie: new session.Cookie(), ...data });
  return { store, host, live };
}

const done = (start: (callback: (error?: unknown) => void) => unknown): Promise<unknown> =>
  new Promise((resolve) => start(resolve));

describe(`express-session ${version}`, () => {
  it("is of the major version that these tests were written for", () => {
    expect(version).toMatch(/^1\./);
  });

  it("exports Session, Cookie and Store, and Store needs no middleware", () => {
    const { host, live } = begin();
    expect(live).toBeInstanceOf(session.Session);
    expect(live.cookie).toBeInstanceOf(session.Cookie);
    expect(host.session).toBe(live);
  });

  it("createSession reads sessionID of the host, and keeps host and id off the data", () => {
    const { host, live } = begin({ note: "mine", save: "not a method" });
    expect(live.id).toBe("old");
    expect((live as unknown as { req: unknown }).req).toBe(host);
    expect(Object.keys(live)).toEqual(["cookie", "note"]);
    expect(live.save).toBe(session.Session.prototype.save);
  });

  it("createSession copies the enumerable members of the cookie, dates as text included", () => {
    const expires = new Date("2030-01-01T00:00:00Z");
    const given = { ...new session.Cookie(), expires: expires.toISOString(), originalMaxAge: 60_000, secure: true };
    const { live } = begin({ cookie: given });
    expect(live.cookie.expires).toEqual(expires);
    expect([live.cookie.originalMaxAge, live.cookie.secure]).toEqual([60_000, true]);
    expect(live.cookie).not.toBe(given);
  });

  it("createSession passes symbols of the data by, which only the layer's own override reads", () => {
    const symbol = Symbol("metadata");
    expect(symbol in begin({ [symbol]: 1 }).live).toBe(false);
  });

  it("save calls set with the id, the session and the callback", async () => {
    const { store, live } = begin();
    await done((callback) => live.save(callback));
    expect(store.calls).toEqual([["set", "old", live]]);
    expect(() => live.save()).not.toThrow();
  });

  it("reload calls get, then createSession on the same host", async () => {
    const { store, host, live } = begin();
    store.found = { cookie: new session.Cookie(), note: "saved" };
    expect(await done((callback) => live.reload(callback))).toBeUndefined();
    expect(store.calls).toEqual([["get", "old"]]);
    expect(host.session).not.toBe(live);
    expect(host.session?.note).toBe("saved");
    store.found = null;
    expect(await done((callback) => live.reload(callback))).toBeInstanceOf(Error);
  });

  it("destroy takes the session off the host, then calls destroy of the store", async () => {
    const { store, host, live } = begin();
    await done((callback) => live.destroy(callback));
    expect([host.session, store.calls]).toEqual([undefined, [["destroy", "old"]]]);
  });

  it("regenerate calls destroy with the old id, then `generate` of the store with the host", async () => {
    const { store, host, live } = begin();
    await done((callback) => live.regenerate(callback));
    expect(store.calls.map(([name]) => name)).toEqual(["destroy", "generate"]);
    expect([store.calls[0]?.[1], host.sessionID, host.session?.id]).toEqual(["old", "new", "new"]);
  });

  it("its middleware sets `generate`, by that name, on a store that has none", () => {
    const store = new session.MemoryStore();
    expect("generate" in store).toBe(false);
    session({ store, secret: "s", resave: false, saveUninitialized: false });
    expect(typeof (store as unknown as { generate: unknown }).generate).toBe("function");
  });

  it("Cookie serialises to what stores read: expires as a date, and originalMaxAge", () => {
    const cookie = new session.Cookie();
    cookie.expires = new Date("2030-01-01T00:00:00Z");
    cookie.originalMaxAge = 60_000;
    expect(JSON.parse(JSON.stringify(cookie))).toEqual({
      originalMaxAge: 60_000,
      expires: "2030-01-01T00:00:00.000Z",
      httpOnly: true,
      path: "/",
    });
  });

  it("signs ids as HMAC-SHA-256 in base64 without padding", () => {
    const require = createRequire(createRequire(import.meta.url).resolve("express-session"));
    const { sign } = require("cookie-signature") as { sign(value: string, secret: string): string };
    const mac = createHmac("sha256", "keyboard cat").update("id").digest("base64").replace(/=+$/, "");
    expect(sign("id", "keyboard cat")).toBe(`id.${mac}`);
  });
});
