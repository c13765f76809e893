// Bytes for each client, and for each further recorded request of a client.
import { fileURLToPath } from "node:url";
import { bytesInUse, givenCase, inChild, report } from "../support/in-child.mjs";
import { address, expressRateLimit, portcullis, rateLimiterFlexible } from "../support/limiters.mjs";
import { size } from "../support/options.mjs";
import { short, table, title, whole } from "../support/table.mjs";

const MAKERS = { portcullis, expressRateLimit, rateLimiterFlexible };
const CASES = [
  { maker: "portcullis", clients: size(1_000_000), records: [1, 8, 9] },
  { maker: "portcullis", clients: size(20_000), records: [1, 100] },
  { maker: "portcullis", clients: size(2000), records: [1, 1000] },
  { maker: "portcullis", clients: size(20_000), records: [1, 1000] },
  { maker: "expressRateLimit", clients: size(1_000_000), records: [1, 2] },
  { maker: "rateLimiterFlexible", clients: size(1_000_000), records: [1, 2] },
];

if (givenCase === undefined) {
  title(
    "Limiter: bytes for each client",
    "heapUsed + external after garbage collection, in a child of its own; the client's key is part of it.",
  );
  const lines = CASES.flatMap((facts) => {
    const { name, bytes } = inChild(fileURLToPath(import.meta.url), facts);
    return bytes.map((total, index) => {
      const further = facts.records[index] - facts.records[0];
      return [
        name,
        whole(facts.clients),
        whole(facts.records[index]),
        short(total),
        further === 0 ? "" : short((total - bytes[0]) / further),
      ];
    });
  });
  table(["limiter", "clients", "recorded requests", "bytes a client", "bytes for each further request"], lines);
} else {
  await measureCase(givenCase);
}

async function measureCase({ maker, clients, records }) {
  // The clock stands still between rounds of requests and moves from one to the next: no two records share a time.
  let time = 0;
  const clock = { now: () => time, monotonic: () => time };
  const limiter = MAKERS[maker]({ limit: 1_000_000, windowMs: 3_600_000, maxClients: clients + 1000, clock });
  await limiter.decide(address(0));
  const before = await bytesInUse();
  const bytes = [];
  for (let recorded = 0; recorded < Math.max(...records);) {
    time += 1;
    for (let client = 1; client <= clients; client += 1) await limiter.decide(address(client));
    recorded += 1;
    if (records.includes(recorded)) bytes.push(((await bytesInUse()) - before) / clients);
  }
  report({ name: limiter.name, bytes });
}
