import express from "express";
import { afterEach, describe, expect, it } from "vitest";
import { MemorySessionStore } from "../../src/stores/memory/session-store.js";
import { serve, type TestServer } from "../support/serve.js";
import { bench, type Bench, cookieOf, later, routes, withCookie } from "./support.js";

/** Longer than the first pause before a refused write is repeated. */
const REPEATED_MS = 700;

type Destroy = Parameters<MemorySessionStore["destroy"]>;

/** A store that refuses to end sessions while told to. */
class RefusingStore extends MemorySessionStore {
  /** The sessions it refuses to end: those of these ids, or all. */
  refusing: "none" | "all" | readonly string[] = "none";
  /** Whether what is refused is done all the same. */
  doesIt = false;
  refusesLists = false;
  destroys = 0;

  override destroy(sid: Destroy[0], callback?: Destroy[1]): void {
    this.destroys += 1;
    if (this.refusing !== "all" && !this.refusing.includes(sid)) return super.destroy(sid, callback);
    if (this.doesIt) super.destroy(sid);
    callback?.(new Error("connection lost"));
  }

  override idsByPrincipal(principalId: string, agoMs: number): string[] {
    if (this.refusesLists) throw new Error("connection lost");
    return super.idsByPrincipal(principalId, agoMs);
  }

  override listByPrincipal(principalId: string): ReturnType<MemorySessionStore["listByPrincipal"]> {
    if (this.refusesLists) throw new Error("connection lost");
    return super.listByPrincipal(principalId);
  }
}

describe("an end of sessions that the store refused", () => {
  const open: { close(): Promise<void> | void }[] = [];
  afterEach(async () => {
    for (const one of open.splice(0)) await one.close();
  });

  async function start(): Promise<{
    made: Bench;
    store: RefusingStore;
    server: TestServer;
    cookies: string[];
    idOf: (cookie: string | undefined) => Promise<unknown>;
    logOuts: () => unknown[];
  }> {
    const store = new RefusingStore();
    const made = bench({ store });
    const server = await serve(routes(express(), made));
    open.push(server, { close: async () => made.layer.close?.() }, store);
    const cookies: string[] = [];
    for (let n = 0; n < 3; n += 1) cookies.push(cookieOf(await server.send("/in/ada")));
    const idOf = async (cookie = ""): Promise<unknown> =>
      ((await server.send("/who", withCookie(cookie))).json() as { id: unknown }).id;
    const logOuts = (): unknown[] =>
      made.events
        .filter(({ event }) => event === "session_logout")
        .map(({ credentialId, reason }) => `${reason} ${credentialId}`);
    return { made, store, server, cookies, idOf, logOuts };
  }

  const sidsOf = (store: RefusingStore): string[] => store.listByPrincipal("ada").map(({ sid }) => sid);

  it("for one of several sessions ends the others at once and that one later, and reports each once", async () => {
    const { made, store, cookies, idOf, logOuts } = await start();
    const handles = (await made.layer.list("ada")).map(({ handle }) => `ended ${handle}`);
    const [first = ""] = sidsOf(store);
    store.refusing = [first];
    await expect(made.layer.end("ada")).rejects.toMatchObject({ status: 503 });
    expect(sidsOf(store)).toEqual([first]);
    expect(logOuts()).toHaveLength(2);
    store.refusing = "none";
    await expect.poll(() => sidsOf(store), { timeout: 3000 }).toEqual([]);
    await expect.poll(() => [...logOuts()].sort(), { timeout: 3000 }).toEqual([...handles].sort());
    expect(await Promise.all(cookies.map(idOf))).toEqual([null, null, null]);
    expect(await made.layer.end("ada")).toBe(0);
    expect(logOuts()).toHaveLength(3);
  });

  it.each([
    { when: "before the store had done it", doesIt: false },
    { when: "after the store had done it", doesIt: true },
  ])("$when: succeeds when it is called again, and each session is reported once", async ({ doesIt }) => {
    const { made, store, cookies, idOf, logOuts } = await start();
    store.refusing = "all";
    store.doesIt = doesIt;
    await expect(made.layer.end("ada")).rejects.toMatchObject({ status: 503 });
    expect(logOuts()).toEqual([]);
    store.refusing = "none";
    expect(await made.layer.end("ada")).toBe(doesIt ? 0 : 3);
    expect(await Promise.all(cookies.map(idOf))).toEqual([null, null, null]);
    await later(REPEATED_MS);
    expect(new Set(logOuts()).size).toBe(3);
    expect(logOuts()).toHaveLength(3);
  });

  it("and that is called again is not retried, and a later log-in is valid", async () => {
    const { made, store, server, idOf } = await start();
    store.refusing = "all";
    await expect(made.layer.end("ada")).rejects.toMatchObject({ status: 503 });
    store.refusing = "none";
    expect(await made.layer.end("ada")).toBe(3);
    const { destroys } = store;
    const fresh = cookieOf(await server.send("/in/ada"));
    await later(REPEATED_MS);
    expect(store.destroys).toBe(destroys);
    expect(await idOf(fresh)).toBe("ada");
  });

  it("and that is not called again ends earlier sessions, and a later log-in is valid", async () => {
    const { made, store, server, cookies, idOf } = await start();
    store.refusing = "all";
    await expect(made.layer.end("ada")).rejects.toMatchObject({ status: 503 });
    const atOnce = cookieOf(await server.send("/in/ada"));
    store.refusing = "none";
    const fresh = cookieOf(await server.send("/in/ada"));
    await later(REPEATED_MS);
    expect([await idOf(atOnce), await idOf(fresh)]).toEqual(["ada", "ada"]);
    expect(await Promise.all(cookies.map(idOf))).toEqual([null, null, null]);
  });

  it("because it could not list the sessions ends one session by its handle later, or all of a principal", async () => {
    const { made, store, cookies, idOf, logOuts } = await start();
    const [one] = await made.layer.list("ada");
    store.refusesLists = true;
    await expect(made.layer.end("ada", one?.handle)).rejects.toMatchObject({ status: 503 });
    store.refusesLists = false;
    await expect.poll(logOuts, { timeout: 3000 }).toEqual([`ended ${one?.handle}`]);
    expect(sidsOf(store)).toHaveLength(2);
    store.refusesLists = true;
    store.refusing = "all";
    await expect(made.layer.end("ada")).rejects.toMatchObject({ status: 503 });
    store.refusesLists = false;
    store.refusing = "none";
    await expect.poll(() => sidsOf(store), { timeout: 3000 }).toEqual([]);
    expect(await Promise.all(cookies.map(idOf))).toEqual([null, null, null]);
  });

  it("by logOut is completed and reported later", async () => {
    const { store, server, cookies, idOf, logOuts } = await start();
    const [mine = ""] = cookies;
    store.refusing = "all";
    expect((await server.send("/out", withCookie(mine))).status).toBe(503);
    expect([await idOf(mine), logOuts()]).toEqual(["ada", []]);
    store.refusing = "none";
    await expect.poll(() => logOuts().length, { timeout: 3000 }).toBe(1);
    expect(await idOf(mine)).toBeNull();
    expect(await idOf(cookies[1])).toBe("ada");
  });

  it("by logOut and that is called again is reported once", async () => {
    const { store, server, cookies, logOuts } = await start();
    const mine = withCookie(cookies[0] ?? "");
    store.refusing = "all";
    expect((await server.send("/out", mine)).status).toBe(503);
    store.refusing = "none";
    expect((await server.send("/out", mine)).status).toBe(200);
    await later(REPEATED_MS);
    expect(logOuts()).toHaveLength(1);
  });
});
