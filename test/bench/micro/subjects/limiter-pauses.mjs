// The longest stall while a million clients come, and while they expire and are cleaned away under requests of others.
import { median } from "../support/interleave.mjs";
import { address, LIMITERS, randomNumbers } from "../support/limiters.mjs";
import { options, size } from "../support/options.mjs";
import { short, table, title, whole } from "../support/table.mjs";
import { stretch, TimedIntervals } from "../support/turns.mjs";

const CLIENTS = size(1_000_000);
const LIVE = size(1000);
const WINDOW_MS = size(3000);
/** A round takes five seconds and more for each limiter; five are enough to see past what else the machine did. */
const ROUNDS = Math.min(options.rounds, 5);
const COLUMNS = ["p999", "decision", "timer", "between", "collection"];

/** What the machine, the clock and this program do by themselves. */
function nothing() {
  return { name: "no limiter at all", decide: () => undefined, clients: () => LIVE, close: () => undefined };
}

title(
  `Limiter: longest pause with ${whole(CLIENTS)} clients`,
  `All come, then only ${whole(LIVE)} of them go on while the window of ${WINDOW_MS / 1000} s ends for the others. Milliseconds: the median (least–most) of the longest of each of ${ROUNDS} rounds, without the time other processes had the processor.`,
);
const makers = [nothing, ...LIMITERS];
const results = new Map();
for (let round = 0; round < ROUNDS; round += 1) {
  for (let turn = 0; turn < makers.length; turn += 1) await run(makers[(turn + round) % makers.length]);
}
const lines = [];
for (const phase of ["coming", "expiring"]) {
  for (const [name, phases] of results) {
    lines.push([
      name,
      phase,
      ...COLUMNS.map((column) => maxima(phases.map((stalls) => stalls[phase][column]))),
      whole(median(phases.map(({ left }) => left))),
    ]);
  }
}
table(
  [
    "limiter",
    "clients are",
    "p99.9 of decisions",
    "longest decision",
    "longest interval callback",
    "longest between turns",
    "longest collection",
    "left at the end",
  ],
  lines,
);

function maxima(values) {
  const digits = (value) => (value >= 0.1 ? short(value) : value.toFixed(4));
  return `${digits(median(values))} (${digits(Math.min(...values))}–${digits(Math.max(...values))})`;
}

async function run(make) {
  const intervals = new TimedIntervals();
  // Ours sets its interval with the first client, so every interval of the run is timed.
  const limiter = make({ limit: 100, windowMs: WINDOW_MS, maxClients: CLIENTS + 1000 });
  globalThis.gc();
  const coming = await stretch(limiter, address, (asked) => asked >= CLIENTS, intervals);
  const random = randomNumbers();
  const begun = performance.now();
  const expiring = await stretch(
    limiter,
    () => address(random() % LIVE),
    () =>
      performance.now() - begun > 2 * WINDOW_MS || (performance.now() - begun > WINDOW_MS && limiter.clients() <= LIVE),
    intervals,
  );
  const left = limiter.clients();
  limiter.close();
  intervals.restore();
  if (!results.has(limiter.name)) results.set(limiter.name, []);
  results.get(limiter.name).push({ coming, expiring, left });
}
