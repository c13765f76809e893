// One of many processes that start on the same file at once. It says when it has loaded its code, waits for the file `go`,
// opens the database, says so, waits for the key that all of them want to rotate, prints what it won, and ends by itself.
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { createRuntime } from "../../src/core/runtime.js";
import { openDatabase } from "../../src/stores/database.js";
import "../../src/stores/sql/index.js";
import { sampleKey, sampleToken } from "../../src/testing/samples.js";

const [, , url = "", name = "", go = ""] = process.argv;
const say = (what: string) => process.stdout.write(`${what}\n`);

say("loaded");
while (!existsSync(go)) await sleep(5);
const { apiKeys, tokens, ready, close } = openDatabase(url, createRuntime());
await ready();
say("ready");
while ((await tokens.get("shared")) === undefined) await sleep(5);
for (let n = 0; n < 10; n += 1) {
  await apiKeys.insert(sampleKey({ id: `${name}-${n}` }));
  await apiKeys.addUsage([{ id: "shared", count: 1, lastUsedAt: n }]);
}
const key = await apiKeys.rotate("shared", sampleKey({ id: `next-of-${name}` }), 1);
const token = await tokens.rotate("shared", 1, sampleToken({ id: `token-of-${name}`, familyId: "shared" }), "sealed");
await close();
say(JSON.stringify({ key, token }));
