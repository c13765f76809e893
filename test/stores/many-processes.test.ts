import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { openSqlite, SCHEMA_VERSION, SqlApiKeyStore, SqlTokenStore } from "portcullis/sql";
import { sampleKey, sampleToken } from "../../src/testing/samples.js";
import { runChild } from "./children.js";

const folder = mkdtempSync(join(tmpdir(), "portcullis-many-"));
afterAll(() => rmSync(folder, { recursive: true }));

const CHILD = fileURLToPath(new URL("starting-child.ts", import.meta.url));
const TEN = Array.from({ length: 10 }, (_, index) => `p${index}`);

test("ten processes start on a new file and write to it at once", async () => {
  const url = `sqlite:${join(folder, "shared.db")}`;
  const go = join(folder, "go");
  const said = { loaded: 0, ready: 0 };
  let tellAllReady = () => {};
  const allReady = new Promise<void>((resolve) => (tellAllReady = resolve));
  const children = TEN.map((name) =>
    runChild(CHILD, [url, name, go], {
      onLine: (line) => {
        if (line === "loaded" && (said.loaded += 1) === TEN.length) writeFileSync(go, "");
        if (line === "ready" && (said.ready += 1) === TEN.length) tellAllReady();
      },
    }),
  );
  const ended = Promise.all(children.map((child) => child.ended));
  // One that fails to start ends early; the assertion below then shows why instead of waiting for the others.
  await Promise.race([allReady, ...children.map((child) => child.ended)]);
  writeFileSync(go, "");

  const { db, close } = await openSqlite(url);
  const keys = new SqlApiKeyStore(db);
  const tokens = new SqlTokenStore(db);
  await tokens.init();
  await keys.insert(sampleKey({ id: "shared", usageCount: 0 }));
  await tokens.insert(sampleToken({ id: "shared", familyId: "shared" }));
  const results = await ended;
  expect(results.map(({ code, err }) => [code, err])).toEqual(TEN.map(() => [0, ""]));

  // The schema was made once.
  expect(await db.selectFrom("portcullis_schema").select("version").execute()).toEqual([{ version: SCHEMA_VERSION }]);
  // No write was lost.
  for (const name of TEN) for (let n = 0; n < 10; n += 1) expect((await keys.get(`${name}-${n}`))?.id).toBe(`${name}-${n}`);
  // Of ten rotations of one key, and of one token, one won each, and only its successor is there.
  const wins = results.map(({ out }) => JSON.parse(out.trim().split("\n").at(-1) ?? "") as { key: boolean; token: boolean });
  const keyWinners = TEN.filter((_, index) => wins[index]?.key);
  const tokenWinners = TEN.filter((_, index) => wins[index]?.token);
  expect([keyWinners.length, tokenWinners.length]).toEqual([1, 1]);
  expect(await keys.get("shared")).toMatchObject({ usageCount: 100, rotatedTo: `next-of-${keyWinners[0]}` });
  expect((await tokens.get("shared"))?.successorId).toBe(`token-of-${tokenWinners[0]}`);
  const successors = db.selectFrom("portcullis_refresh_tokens").select("id").where("id", "like", "token-of-%");
  expect(await successors.execute()).toEqual([{ id: `token-of-${tokenWinners[0]}` }]);
  await close();
}, 60_000);
