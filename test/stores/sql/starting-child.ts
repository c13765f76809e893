// One of many processes that start on the same database at once. It says when it has loaded its code, waits for the file
// `go`, opens the database, says so, waits for the key that all of them want to rotate, prints what it won, and ends by itself.
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { createRuntime } from "../../../src/core/runtime.js";
import { openDatabase } from "../../../src/stores/database/open-database.js";
import { classifyDriverError } from "../../../src/stores/health/driver-errors.js";
import "../../../src/stores/sql/index.js";
import { sampleKey, sampleToken } from "../../../src/testing/samples.js";

const [, , url = "", name = "", go = ""] = process.argv;
const say = (what: string) => process.stdout.write(`${what}\n`);

/**
 * SQLite's file has no queue: among ten processes that write without pause, one may not get it in the five seconds that
 * a write waits. Then nothing was done, and the caller may call again.
 */
async function persist<T>(write: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await write();
    } catch (error) {
      if (classifyDriverError(error) !== "busy") throw error;
    }
  }
}

say("loaded");
while (!existsSync(go)) await sleep(5);
// Ten processes on two cores are slow; how slow is not what is tested.
const { apiKeys, tokens, ready, close } = openDatabase(url, createRuntime(), { timeoutMs: 10_000 });
await ready();
say("ready");
while ((await tokens.get("shared")) === undefined) await sleep(5);
for (let n = 0; n < 10; n += 1) {
  await persist(() => apiKeys.insert(sampleKey({ id: `${name}-${n}` })));
  await persist(() => apiKeys.addUsage([{ id: "shared", count: 1, lastUsedAt: n }]));
}
// Ten at once in each of ten processes.
const ten = Array.from({ length: 10 }, (_, index) => `${name}-${index}`);
const keys = await Promise.all(
  ten.map(async (by) =>
    (await persist(() => apiKeys.rotate("shared", sampleKey({ id: `next-of-${by}` }), 1))) ? [by] : [],
  ),
);
const won = await Promise.all(
  ten.map(async (by) =>
    (await persist(() =>
      tokens.rotate("shared", 1, sampleToken({ id: `token-of-${by}`, familyId: "shared" }), "sealed"),
    ))
      ? [by]
      : [],
  ),
);
await close();
say(JSON.stringify({ keys: keys.flat(), tokens: won.flat() }));
