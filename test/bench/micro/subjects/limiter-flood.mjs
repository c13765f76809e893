// A flood of addresses that were never seen before, against a bound of 100,000 clients.
import { fileURLToPath } from "node:url";
import { bytesInUse, givenCase, inChild, report } from "../support/in-child.mjs";
import { median } from "../support/interleave.mjs";
import { address, expressRateLimit, portcullis, rateLimiterFlexible } from "../support/limiters.mjs";
import { size } from "../support/options.mjs";
import { megabytes, perSecond, table, title, whole } from "../support/table.mjs";

const MAKERS = { portcullis, expressRateLimit, rateLimiterFlexible };
const MAX_CLIENTS = size(100_000);
const WINDOW_MS = 60_000;
const PARTS = 10;
const CASES = [
  { maker: "portcullis", addresses: size(100_000) },
  { maker: "portcullis", addresses: size(1_000_000) },
  { maker: "portcullis", addresses: size(5_000_000) },
  { maker: "expressRateLimit", addresses: size(5_000_000) },
  // A timer for each key: five million of them would take more memory than the machine may have.
  { maker: "rateLimiterFlexible", addresses: size(1_000_000) },
];

if (givenCase === undefined) {
  title(
    "Limiter: memory under a flood of new addresses",
    `One request of each address, limit 100 in ${WINDOW_MS / 1000} s; maxClients ${whole(MAX_CLIENTS)} (the others have no bound). In MB: heapUsed + external after garbage collection, and RSS; *later* is a window after the flood, when as many requests of one client have come as there are clients tracked.`,
  );
  table(
    [
      "limiter",
      "new addresses",
      "tracked",
      "before",
      "after",
      "later",
      "RSS before",
      "RSS at most",
      "decisions/s, first tenth",
      "median of tenths",
    ],
    CASES.map((facts) => {
      const { name, tracked, before, after, later, rssBefore, rssMost, rates } = inChild(
        fileURLToPath(import.meta.url),
        facts,
      );
      return [
        name,
        whole(facts.addresses),
        whole(tracked),
        megabytes(before),
        megabytes(after),
        later === null ? "" : megabytes(later),
        megabytes(rssBefore),
        megabytes(rssMost),
        perSecond(rates[0]),
        perSecond(median(rates)),
      ];
    }),
  );
} else {
  await flood(givenCase);
}

async function flood({ maker, addresses }) {
  let skipped = 0;
  const clock = { now: () => Date.now() + skipped, monotonic: () => performance.now() + skipped };
  const limiter = MAKERS[maker]({ limit: 100, windowMs: WINDOW_MS, maxClients: MAX_CLIENTS, clock });
  await limiter.decide(address(0));
  const before = await bytesInUse();
  const rssBefore = process.memoryUsage.rss();
  let rssMost = 0;
  const rates = [];
  const part = addresses / PARTS;
  for (let begun = 0; begun < addresses; begun += part) {
    rates.push(await decidePart(limiter, begun + 1, part));
    rssMost = Math.max(rssMost, process.memoryUsage.rss());
  }
  const tracked = limiter.clients();
  const after = await bytesInUse();
  let later = null;
  if (maker === "portcullis") {
    skipped = WINDOW_MS + 1;
    for (let i = 0; i < MAX_CLIENTS; i += 1) limiter.decide("client");
    later = await bytesInUse();
  }
  report({ name: limiter.name, tracked, before, after, later, rssBefore, rssMost, rates });
  limiter.close();
}

/** Nanoseconds for each decision; the addresses are made beforehand, a thousand at a time. */
async function decidePart(limiter, first, count) {
  const batch = Math.min(count, 1000);
  const keys = new Array(batch);
  let spent = 0;
  for (let begun = 0; begun < count; begun += batch) {
    for (let i = 0; i < batch; i += 1) keys[i] = address(first + begun + i);
    const start = performance.now();
    await limiter.decideMany(keys, 0, batch);
    spent += performance.now() - start;
  }
  return (spent * 1e6) / count;
}
