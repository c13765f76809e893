import { expect, it } from "vitest";
import { migrate, openSqlite, SqlChangeSource } from "portcullis/sql";

it("a cut-off that keeps a session does not hide an earlier one that keeps none, which is restored with it", async () => {
  const { db, close } = await openSqlite("sqlite::memory:");
  await migrate(db);
  const source = new SqlChangeSource(db);
  const endsAt = Date.now() + 1_000_000;
  const all = { kind: "principal", name: "ada", cutOff: 10, endsAt } as const;
  const allButOne = { ...all, cutOff: 11, keep: "kept" } as const;
  await source.record([allButOne]);
  for (let turn = 0; turn < 2; turn += 1) await source.restore([all, allButOne]);
  const { changes } = await source.load();
  await close();
  expect(changes).toEqual([allButOne, all]);
});
