import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { Guarded } from "../../../src/accounts/guarded.js";
import type { SecurityEvent } from "../../../src/core/events.js";
import { createRuntime } from "../../../src/core/runtime.js";
import type { CredentialStore, SingleUseStore } from "../../../src/stores/contracts.js";
import { type DatabaseStores, openDatabase } from "../../../src/stores/database/open-database.js";
import { recordId, sampleCredential, sampleRecord } from "../../../src/testing/credential-samples.js";
import { type CommitProxy, startCommitProxy } from "../../support/commit-proxy.js";
import { mariaDbDatabase, postgresDatabase } from "../../support/servers.js";

const ENGINES = [
  { engine: "PostgreSQL", database: postgresDatabase },
  { engine: "MariaDB", database: mariaDbDatabase },
];
const REFUSED = "PORTCULLIS_STORE_UNAVAILABLE";
let ids = 0;

describe.each(ENGINES)("$engine: accounts and a connection that breaks at COMMIT", ({ database }) => {
  const events: SecurityEvent[] = [];
  let proxy: CommitProxy;
  let opened: DatabaseStores;
  /** Another process, with a way of its own to the database. */
  let other: DatabaseStores;
  let credentials: Guarded<CredentialStore>;
  let singleUse: Guarded<SingleUseStore>;

  const outcome = async (call: Promise<unknown>): Promise<unknown> =>
    call.then(
      (value) => value ?? "done",
      (error: { code?: string }) => error.code,
    );
  const isDown = (): boolean => events.some(({ event }) => event === "portcullis_store_unavailable");
  const owned = async (): Promise<{ id: string; ownerId: string }> => {
    const id = `c${(ids += 1)}`;
    await other.credentials.change(id, { insert: [sampleCredential({ id, ownerId: id, counter: 1, failures: 0 })] });
    return { id, ownerId: id };
  };
  const find = async (ownerId: string) => (await other.credentials.listOf(ownerId))[0];

  beforeAll(async () => {
    const direct = await database();
    proxy = await startCommitProxy(direct);
    const runtime = createRuntime();
    runtime.events.on("*", (event) => events.push(event));
    opened = openDatabase(proxy.url, runtime, { timeoutMs: 1000 });
    other = openDatabase(direct, createRuntime(), { timeoutMs: 5000 });
    await Promise.all([opened.ready(), other.ready()]);
    credentials = new Guarded("credential", opened.credentials, runtime, 1000);
    singleUse = new Guarded("single-use", opened.singleUse, runtime, 1000);
  });
  afterEach(() => {
    proxy.heal();
    expect(isDown()).toBe(false);
    events.length = 0;
  });
  afterAll(async () => {
    await Promise.all([opened?.close(), other?.close()]);
    await proxy?.close();
  });

  test("a change that adds a credential: the answer is lost and it is done, or COMMIT is lost and nothing is", async () => {
    const { id, ownerId } = await owned();
    const replace = (from: string, to: string) =>
      credentials.write(
        (store, call) =>
          store.change(ownerId, { remove: [from], insert: [sampleCredential({ id: to, ownerId, kind: "new" })] }, call),
        ownerId,
      );
    proxy.loseNext("commit", "there");
    expect(await outcome(replace(id, `${id}-2`))).toBe(REFUSED);
    expect((await find(ownerId))?.id).toBe(id);
    proxy.loseNext("answer", "there");
    expect(await outcome(replace(id, `${id}-2`))).toBe(true);
    expect((await find(ownerId))?.id).toBe(`${id}-2`);
    expect(await outcome(replace(id, `${id}-3`))).toBe(false);
  });

  test("a change that only removes or updates is refused; with the answer lost it may be done, and not a second time", async () => {
    const { id, ownerId } = await owned();
    const update = (version: number) =>
      credentials.write(
        (store, call) => store.change(ownerId, { update: [{ id, version, failures: 7 }] }, call),
        ownerId,
      );
    proxy.loseNext("commit", "there");
    expect(await outcome(update(3))).toBe(REFUSED);
    expect(await find(ownerId)).toMatchObject({ version: 3, failures: 0 });
    proxy.loseNext("answer", "there");
    expect(await outcome(update(3))).toBe(REFUSED);
    expect(await find(ownerId)).toMatchObject({ version: 4, failures: 7 });
    expect(await outcome(update(3))).toBe(false);
    expect(await outcome(update(4))).toBe(true);
  });

  test("advance: a code whose call was refused is used or not, and never twice", async () => {
    const { id, ownerId } = await owned();
    const advance = (counter: number) =>
      credentials.write((store, call) => store.advance(id, counter, 5, call), ownerId);
    proxy.loseNext("commit", "there");
    expect(await outcome(advance(2))).toBe(REFUSED);
    expect(await find(ownerId)).toMatchObject({ counter: 1 });
    expect(await outcome(advance(2))).toBe(true);
    proxy.loseNext("answer", "there");
    expect(await outcome(advance(3))).toBe(REFUSED);
    expect(await find(ownerId)).toMatchObject({ counter: 3 });
    expect(await outcome(advance(3))).toBe(false);
    expect(await outcome(advance(4))).toBe(true);
  });

  test("addFailure: with the answer lost the failure counts, and the call is refused", async () => {
    const { id, ownerId } = await owned();
    const fail = () => credentials.write((store, call) => store.addFailure(id, call), ownerId);
    proxy.loseNext("answer", "there");
    expect(await outcome(fail())).toBe(REFUSED);
    expect(await outcome(fail())).toBe(2);
    proxy.loseNext("commit", "there");
    expect(await outcome(fail())).toBe(REFUSED);
    expect(await outcome(fail())).toBe(3);
  });

  test("put: with the answer lost it is done, with COMMIT lost nothing is", async () => {
    const put = (name: string) => singleUse.write((store, call) => store.put(sampleRecord(name), call), "user-1");
    const isThere = async (name: string) =>
      (await other.singleUse.get("log-in", recordId(name), Date.now())) !== undefined;
    proxy.loseNext("answer", "there");
    expect(await outcome(put("p1"))).toBe("done");
    proxy.loseNext("commit", "there");
    expect(await outcome(put("p2"))).toBe(REFUSED);
    expect([await isThere("p1"), await isThere("p2")]).toEqual([true, false]);
  });

  test("take: a record whose call was refused is used or not, and never twice", async () => {
    for (const name of ["t1", "t2"]) await other.singleUse.put(sampleRecord(name));
    const take = (name: string) =>
      singleUse.write((store, call) => store.take("log-in", recordId(name), Date.now(), call), "user-1");
    proxy.loseNext("commit", "there");
    expect(await outcome(take("t1"))).toBe(REFUSED);
    expect(await outcome(take("t1"))).toMatchObject({ id: recordId("t1") });
    proxy.loseNext("answer", "there");
    expect(await outcome(take("t2"))).toBe(REFUSED);
    expect(await outcome(take("t2"))).toBe("done");
    expect(await other.singleUse.get("log-in", recordId("t2"), Date.now())).toBeUndefined();
  });

  test("onUndelivered hears of a write that may have been done, and not of one that was not", async () => {
    const { id, ownerId } = await owned();
    const heard: unknown[] = [];
    const advance = (counter: number) =>
      credentials.write(
        (store, call) => store.advance(id, counter, 5, call),
        ownerId,
        undefined,
        (value) => heard.push(value),
      );
    expect(await outcome(advance(2))).toBe(true);
    expect(heard).toEqual([]);
    proxy.loseNext("answer", "there");
    expect(await outcome(advance(3))).toBe(REFUSED);
    expect(heard).toEqual([undefined]);
  });
});
