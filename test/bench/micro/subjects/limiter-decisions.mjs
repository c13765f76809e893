// Decisions a second, with one client, ten thousand and a million, taken at random.
import { interleave, median, ratio } from "../support/interleave.mjs";
import { address, LIMITERS, randomNumbers } from "../support/limiters.mjs";
import { size } from "../support/options.mjs";
import { short, spreadPerSecond, table, title, whole } from "../support/table.mjs";

const BATCH = 1000;
const HOUR_MS = 3_600_000;
const MIXES = [
  { title: "accepted", limit: 2 ** 31 - 1, windowMs: HOUR_MS },
  { title: "refused", limit: 1, windowMs: HOUR_MS },
];

title(
  "Limiter: decisions a second",
  "Every client has one recorded request when it begins. *Accepted* adds one each time, *refused* is at its limit. Each request brings a string of its own, as a socket does.",
);
const lines = [];
for (const clients of [1, size(10_000), size(1_000_000)]) {
  const requests = randomRequests(clients, Math.max(clients, 100 * BATCH));
  for (const mix of MIXES) lines.push(...(await compare(clients, requests, mix)));
}
table(["limiter", "clients", "requests", "decisions/s (least–most)", "ns", "times ours"], lines);

/** Laid down in the order of their use: the request is in the processor's cache, the client is where it happens to be. */
function randomRequests(clients, count) {
  const random = randomNumbers();
  return Array.from({ length: count }, () => address(random() % clients));
}

async function compare(clients, requests, { title: kind, limit, windowMs }) {
  const limiters = LIMITERS.map((make) => make({ limit, windowMs, maxClients: clients + 1000 }));
  for (const limiter of limiters)
    await limiter.decideMany(
      Array.from({ length: clients }, (_, client) => address(client)),
      0,
      clients,
    );
  const measured = await interleave(limiters.map((limiter) => row(limiter, requests)));
  for (const limiter of limiters) {
    if (limiter.clients() !== clients)
      throw new Error(`${limiter.name} tracks ${limiter.clients()} clients of ${clients}`);
    limiter.close();
  }
  return measured.map(({ name, nanoseconds }) => [
    name,
    whole(clients),
    kind,
    spreadPerSecond(nanoseconds),
    short(median(nanoseconds)),
    short(ratio({ nanoseconds }, measured[0])),
  ]);
}

function row(limiter, requests) {
  let at = 0;
  return {
    name: limiter.name,
    operations: BATCH,
    run() {
      const from = at;
      at = from + 2 * BATCH > requests.length ? 0 : from + BATCH;
      return limiter.decideMany(requests, from, from + BATCH);
    },
  };
}
