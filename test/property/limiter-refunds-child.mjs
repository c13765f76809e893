// A process that takes a unit, holds it for a moment and gives it back, again and again.
import { setTimeout as sleep } from "node:timers/promises";
import { RedisSlidingWindowStore } from "../../src/stores/redis/sliding-window/store.js";

process.once("message", async ({ url, prefix, limit, attempts }) => {
  const store = new RedisSlidingWindowStore({ redis: url, prefix });
  const policy = { name: "shared", limit, windowMs: 600_000 };
  const spans = [];
  let refused = 0;
  /** Milliseconds since the epoch, with fractions: the processes share a machine. */
  const now = () => performance.timeOrigin + performance.now();
  await Promise.all(
    Array.from({ length: 30 }, async () => {
      for (let attempt = 0; attempt < attempts / 30; attempt += 1) {
        const { allowed, recordedAt } = await store.consume(policy, "client", 1, true);
        if (!allowed) {
          refused += 1;
          await sleep(1);
          continue;
        }
        const from = now();
        await sleep(Math.random() * 5);
        spans.push([from, now()]);
        if ((await store.refund(policy, "client", 1, recordedAt)) !== 1) throw new Error("a unit was not there");
      }
    }),
  );
  await store.close();
  process.send({ spans, refused });
});
