import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import type { SecurityEvent, SecurityEvents } from "../../src/core/events.js";
import { Load, paceOf, type Target } from "./load.js";

/** Something that goes wrong with a server for a while. */
export interface Fault {
  readonly name: string;
  begin(): void | Promise<void>;
  end(): void | Promise<void>;
  /** How long it lasts, in milliseconds; default 800. FAULT_LASTS_MS=30000 makes all of them last that long. */
  readonly lastsMs?: number;
}

export interface Expected {
  /** Statuses a target may answer while the fault lasts. Before and after it is 200. */
  readonly during: Readonly<Record<string, readonly number[]>>;
  /** Sources that announce the outage, each once, and the recovery, each once. */
  readonly announcedBy: readonly string[];
  /** The time-out of the stores, in milliseconds; default `STORE_TIMEOUT_MS`. */
  readonly storeTimeoutMs?: number;
  /** How many servers fail at once; 1 unless given. A request that needs them all waits for each, once. */
  readonly servers?: number;
  /** For what may be over before anyone notices: whether nothing at all may be announced. */
  readonly orByNobody?: boolean;
}

export interface OutageReport {
  readonly load: Load;
  readonly slowestMs: number;
  readonly recoveredAfterMs: number;
}

export const STORE_TIMEOUT_MS = 250;
/**
 * How long a server must be silent for an outage to be certain, in milliseconds. Five late calls in a row are one
 * (`LATE_IN_A_ROW`), and a single caller makes them one after another, a little over `storeTimeoutMs` each. More callers
 * are not certain: writers whose connection is lost at COMMIT wait for the outcome meanwhile.
 */
export const SILENT_MS = 8 * STORE_TIMEOUT_MS;
/** Longest time of one test, in milliseconds. */
export const FAULT_TEST_MS = 20_000 + Number(process.env["FAULT_LASTS_MS"] ?? 0);
/** The bound of every answer is `storeTimeoutMs`, and this for everything else. */
const ALLOWED_BESIDE_MS = 50;
/** How long the outcome of a COMMIT is waited for. */
const COMMIT_MS = 5000;
/**
 * What the machine may add, beside the longest stop of this process: as much as the slowest answer of a plain server in
 * the same process at the same time, and this at least.
 */
const BUSY_MACHINE_MS = 100;

export function storeEvents(events: SecurityEvents): SecurityEvent[] {
  const seen: SecurityEvent[] = [];
  events.on("portcullis_store_unavailable", (event) => seen.push(event));
  events.on("portcullis_store_recovered", (event) => seen.push(event));
  return seen;
}

/**
 * Puts an app under load, lets the fault begin and end, waits for the app to be as before, and holds it to what is
 * documented: every answer in time, none of them a 500, one event per outage and one on recovery. Prints one line of the
 * table in src/stores/FAULTS.md.
 */
export async function outage(
  port: number,
  events: SecurityEvent[],
  targets: readonly Target[],
  fault: Fault,
  expected: Expected,
): Promise<OutageReport> {
  events.length = 0;
  const lag = monitorEventLoopDelay({ resolution: 5 });
  lag.enable();
  const load = new Load(port, targets);
  const plain = createServer((_req, res) => res.end()).listen(0, "127.0.0.1");
  await once(plain, "listening");
  const pace = { clients: 1, gapMs: 8, steadyMs: 150 };
  const unimpaired = new Load((plain.address() as AddressInfo).port, [{ name: "plain", path: "/", pace }]);
  try {
    await expect.poll(() => isBack(load, targets, events), { timeout: 5000, interval: 20 }).toBe(true);
    const began = performance.now();
    lag.reset();
    await fault.begin();
    const lastsMs = Number(process.env["FAULT_LASTS_MS"] ?? 0) || (fault.lastsMs ?? 800);
    await sleep(lastsMs);
    await fault.end();
    const ended = performance.now();
    await expect.poll(() => isBack(load, targets, events), { timeout: 8000, interval: 20 }).toBe(true);
    const recovered = performance.now();
    // Long enough for a relapse to show.
    await sleep(Math.max(500, ...targets.map((target) => paceOf(target).steadyMs)));
    await Promise.all([load.stop(), unimpaired.stop()]);
    const longestStopMs = lag.max / 1e6;
    const plainMs = unimpaired.slowest(began)?.ms ?? 0;
    // The first requests of an app are slow on a busy machine; what the fault can touch is answered after its beginning.
    const slowestMs = load.slowest(began)?.ms ?? Infinity;
    const storeTimeoutMs = expected.storeTimeoutMs ?? STORE_TIMEOUT_MS;
    const allowedMs = storeTimeoutMs + ALLOWED_BESIDE_MS;
    report(fault, load, targets, events, { began, ended, recovered, longestStopMs, plainMs, allowedMs });
    const machineMs = Math.max(BUSY_MACHINE_MS, plainMs) + longestStopMs;
    for (const { name, isWrite = false } of targets) {
      expect(load.statuses(name, 0, began, true), `${name} before`).toEqual([200]);
      for (const status of load.statuses(name, began))
        expect([200, ...(expected.during[name] ?? [])], `${name} during`).toContain(status);
      expect(load.statuses(name, recovered), `${name} after`).toEqual([200]);
      const waitsMs = isWrite ? COMMIT_MS : (expected.servers ?? 1) * storeTimeoutMs;
      expect(load.slowest(began, name)?.ms, `slowest ${name}`).toBeLessThan(waitsMs + ALLOWED_BESIDE_MS + machineMs);
    }
    const told = (name: string): string[] =>
      events
        .filter(({ event }) => event === name)
        .map(({ source }) => source)
        .sort();
    const announced = expected.orByNobody === true && events.length === 0 ? [] : [...expected.announcedBy].sort();
    expect(told("portcullis_store_unavailable")).toEqual(announced);
    expect(told("portcullis_store_recovered")).toEqual(announced);
    return { load, slowestMs, recoveredAfterMs: recovered - ended };
  } finally {
    lag.disable();
    await Promise.all([load.stop(), unimpaired.stop()]);
    plain.close();
  }
}

function isBack(load: Load, targets: readonly Target[], events: readonly SecurityEvent[]): boolean {
  const open =
    events.filter(({ event }) => event === "portcullis_store_unavailable").length -
    events.filter(({ event }) => event === "portcullis_store_recovered").length;
  const now = performance.now();
  const isSteady = (target: Target): boolean => {
    const since = now - paceOf(target).steadyMs;
    return load.count(target.name, since) > 2 && load.statuses(target.name, since).join() === "200";
  };
  return open === 0 && targets.every(isSteady);
}

function report(
  fault: Fault,
  load: Load,
  targets: readonly Target[],
  events: readonly SecurityEvent[],
  at: { began: number; ended: number; recovered: number; longestStopMs: number; plainMs: number; allowedMs: number },
): void {
  const seen = targets.map(({ name }) => `${name} ${load.statuses(name, at.began, at.recovered).join("/")}`).join(", ");
  const told = events
    .map(
      ({ event, source, reason }) =>
        `${event === "portcullis_store_recovered" ? "up" : "down"} ${source} (${reason ?? ""})`,
    )
    .join(", ");
  const slowest = load.slowest(at.began);
  const which =
    slowest && `${slowest.name} ${slowest.status}, ${(slowest.startedAt - at.began).toFixed(0)} ms after the beginning`;
  const times = `slowest ${slowest?.ms.toFixed(0)} ms (${which}), ${load.slowerThan(at.allowedMs, at.began)} of ${load.samples.length} over ${at.allowedMs} (a plain server ${at.plainMs.toFixed(0)} ms, this process once stood still for ${at.longestStopMs.toFixed(0)} ms), back ${(at.recovered - at.ended).toFixed(0)} ms after`;
  process.stdout.write(`fault | ${fault.name} | ${seen} | ${times} | ${told === "" ? "none" : told}\n`);
}
