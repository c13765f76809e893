// A process that uses a Redis which is not there, closes, and must then end by itself.
import { createRuntime } from "../../../src/core/runtime.js";
import { ChangeFeed } from "../../../src/stores/revocations/change-feed.js";
import { RedisChangeSource } from "../../../src/stores/redis/changes/source.js";
import { openRedis } from "../../../src/stores/redis/client.js";
import { importPackage } from "../../../src/stores/optional-package.js";

const [, , url = "", library = ""] = process.argv;
const runtime = createRuntime();
const redis = openRedis(url, {
  readyTimeoutMs: 300,
  load: async (name) => {
    if (name === library) return importPackage(name);
    throw Object.assign(new Error(`Cannot find package '${name}'`), { code: "ERR_MODULE_NOT_FOUND" });
  },
});
const feed = new ChangeFeed(new RedisChangeSource(redis, { clock: runtime.clock }), runtime);
const say = (what: string) => process.stdout.write(`${what}\n`);

feed.start().catch(() => undefined);
await redis.ready().catch(() => undefined);
const began = performance.now();
await feed.close();
await redis.close();
await redis.close();
say(performance.now() - began < 3000 ? "closed" : "closed late");
const stuck = setTimeout(() => {
  say(`kept alive by ${process.getActiveResourcesInfo().join(", ")}`);
  process.exit(1);
}, 4000);
stuck.unref();
process.on("exit", (code) => code === 0 && say("ended"));
