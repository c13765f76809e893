import { expect, test } from "vitest";
import { openSqlite, SqlApiKeyStore } from "portcullis/sql";
import { sampleKey } from "../../../src/testing/samples.js";

test("other requests are served while a page of the largest keys is read", async () => {
  const opened = await openSqlite("sqlite::memory:");
  const store = new SqlApiKeyStore(opened.db);
  await store.init();
  for (let i = 0; i < 100; i += 1) {
    const id = `key-${String(i).padStart(3, "0")}`;
    await store.insert(sampleKey({ id, firstId: id, metadata: { list: Array.from({ length: 1300 }, () => ({})) } }));
  }
  let turns = 0;
  let next: NodeJS.Immediate;
  const count = (): void => {
    turns += 1;
    next = setImmediate(count);
  };
  next = setImmediate(count);
  const page = await store.list("owner", { limit: 100 });
  clearImmediate(next);
  expect(page.map(({ id }) => id)).toEqual(
    Array.from({ length: 100 }, (_, i) => `key-${String(99 - i).padStart(3, "0")}`),
  );
  expect(turns).toBeGreaterThanOrEqual(4);
  await opened.close();
});

test("a key whose record cannot be read shortens no page, so a listing does not end at it", async () => {
  const opened = await openSqlite("sqlite::memory:");
  const store = new SqlApiKeyStore(opened.db);
  await store.init();
  const ids = ["a", "b", "c", "d", "e", "f", "g"];
  for (const id of ids) await store.insert(sampleKey({ id, firstId: id }));
  await opened.db
    .updateTable("portcullis_api_keys")
    .set({ hash_algorithm: "of a newer version" })
    .where("id", "in", ["f", "e", "c"])
    .execute();
  const page = async (after?: string) => (await store.list("owner", { limit: 2, after })).map(({ id }) => id);
  expect(await page()).toEqual(["g", "d"]);
  expect(await page("d")).toEqual(["b", "a"]);
  expect(await page("a")).toEqual([]);
  await opened.close();
});
