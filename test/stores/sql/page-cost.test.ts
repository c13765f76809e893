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
