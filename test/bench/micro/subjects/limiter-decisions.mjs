// Decisions a second, with one client, ten thousand and a million, taken at random.
import { IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import { built } from "../support/built.mjs";
import { interleave, median, ratio } from "../support/interleave.mjs";
import { address, LIMITERS, randomNumbers } from "../support/limiters.mjs";
import { size } from "../support/options.mjs";
import { short, spread, spreadPerSecond, table, title, whole } from "../support/table.mjs";

const BATCH = 1000;
const HOUR_MS = 3_600_000;
const SOCKET = new Socket();
const CLIENTS = Array.from({ length: 10_000 }, (_, client) => address(client));
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
await middlewareRows();

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

/** The whole middleware on a request, with its headers: what a function for a limit and a second window add to it. */
async function middlewareRows() {
  const { rateLimiter } = await built("rate-limit/middleware.js");
  const most = 2 ** 30;
  const settings = {
    "one window": { limit: most, windowSeconds: 10 },
    "a function for its limit": { limit: () => 50_000, maxLimit: most, windowSeconds: 10 },
    "two windows": {
      windows: [
        { limit: most, windowSeconds: 10 },
        { limit: most + 1, windowSeconds: 20 },
      ],
    },
    "failures counted": { limit: most, windowSeconds: 10, count: "failures" },
  };
  title(
    "Limiter: what a decision costs in the middleware",
    "One request after the other of 10,000 clients, each with a request and a response of node:http that is never sent.",
  );
  const supported = Object.entries(settings).filter(([, given]) => accepts(rateLimiter, given));
  const rows = supported.map(([name, given]) => {
    const limiter = rateLimiter(given);
    let client = 0;
    return {
      name,
      operations: 100,
      run() {
        for (let n = 0; n < 100; n += 1) {
          client = (client + 7919) % 10_000;
          const req = new IncomingMessage(SOCKET);
          req.ip = CLIENTS[client];
          limiter(req, new ServerResponse(req), () => undefined);
        }
      },
    };
  });
  const measured = await interleave(rows);
  table(
    ["limit", "µs (least–most)", "times the first"],
    measured.map(({ name, nanoseconds }) => [
      name,
      spread(nanoseconds, 1 / 1000),
      short(ratio({ nanoseconds }, measured[0])),
    ]),
  );
}

/** A checkout that is compared with this one may not have a setting. */
function accepts(rateLimiter, given) {
  try {
    rateLimiter(given);
    return true;
  } catch {
    return false;
  }
}
