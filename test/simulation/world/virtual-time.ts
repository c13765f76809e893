import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
import timersPromises from "node:timers/promises";
import { currentOperation, within, type Operation } from "./context.js";

/**
 * Time and chance of the simulation. While it is installed, every timer, clock and random byte of this process is decided by the
 * seed: timers fire in order of their virtual time, random bytes come from the stream of the operation that asks.
 */

const START = Date.UTC(2026, 0, 1);
const TURNS_AT_ONCE = 50;

interface Alarm {
  readonly at: number;
  readonly order: number;
  readonly ring: () => void;
  readonly operation: Operation;
}

class VirtualTimer {
  alarm: Alarm | undefined;
  ref = (): this => this;
  unref = (): this => this;
  hasRef = (): boolean => false;
  [Symbol.dispose] = (): void => cancel(this);
}

const real = {
  setTimeout: globalThis.setTimeout,
  clearTimeout: globalThis.clearTimeout,
  setInterval: globalThis.setInterval,
  clearInterval: globalThis.clearInterval,
  setImmediate: globalThis.setImmediate,
  clearImmediate: globalThis.clearImmediate,
  dateNow: Date.now,
  Date: globalThis.Date,
  performanceNow: performance.now,
  random: Math.random,
};
const realPromises = { setTimeout: timersPromises.setTimeout, setImmediate: timersPromises.setImmediate };

let alarms: Alarm[] = [];
let elapsed = 0;
let order = 0;

let held = 0;

/** Keeps virtual time where it is while something real is under way, such as the loading of a module. Returns what ends it. */
export function holdTime(): () => void {
  held += 1;
  return () => void (held -= 1);
}

/** Milliseconds since the simulation began. */
export const virtualNow = (): number => elapsed;

function schedule(timer: VirtualTimer, delay: number, ring: () => void): VirtualTimer {
  const at = elapsed + Math.max(0, Number.isFinite(delay) ? delay : 0);
  const alarm: Alarm = { at, order: (order += 1), ring, operation: currentOperation() };
  timer.alarm = alarm;
  let low = 0;
  let high = alarms.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((alarms[middle]?.at ?? 0) <= at) low = middle + 1;
    else high = middle;
  }
  alarms.splice(low, 0, alarm);
  return timer;
}

function cancel(timer: unknown): void {
  if (!(timer instanceof VirtualTimer) || timer.alarm === undefined) return;
  const at = alarms.indexOf(timer.alarm);
  if (at >= 0) alarms.splice(at, 1);
  timer.alarm = undefined;
}

type Callback = (...values: unknown[]) => void;

const after = (callback: Callback, delay = 1, ...values: unknown[]): VirtualTimer =>
  schedule(new VirtualTimer(), delay, () => callback(...values));
const soon = (callback: Callback, ...values: unknown[]): VirtualTimer =>
  schedule(new VirtualTimer(), 0, () => callback(...values));
const every = (callback: Callback, delay = 1, ...values: unknown[]): VirtualTimer => {
  const timer = new VirtualTimer();
  const again = (): void => {
    schedule(timer, Math.max(1, delay), again);
    callback(...values);
  };
  return schedule(timer, Math.max(1, delay), again);
};

const sleepFor = (delay = 1, value?: unknown, options: { signal?: AbortSignal } = {}): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const timer = after(() => resolve(value), delay);
    options.signal?.addEventListener("abort", () => {
      cancel(timer);
      reject(new DOMException("The operation was aborted", "AbortError"));
    });
  });

/** Waits in virtual time. */
export const pause = (ms: number): Promise<void> => new Promise((resolve) => void after(() => resolve(), ms));

class VirtualDate extends real.Date {
  constructor(...parts: unknown[]) {
    if (parts.length === 0) super(START + Math.floor(elapsed));
    else super(...(parts as [number]));
  }

  static override now(): number {
    return START + Math.floor(elapsed);
  }
}

/** Random bytes are the seed's from here on, also for modules that draw while they are loaded. */
export function seedRandomBytes(): void {
  const cryptography = crypto as { randomBytes: unknown; randomInt: unknown; randomUUID: unknown };
  cryptography.randomBytes = (count: number, done?: (error: null, bytes: Buffer) => void) => {
    const bytes = currentOperation().random.bytes(count);
    return done === undefined ? bytes : void soon(() => done(null, bytes));
  };
  cryptography.randomInt = (low: number, high?: number) =>
    currentOperation().random.between(high === undefined ? 0 : low, (high ?? low) - 1);
  cryptography.randomUUID = () => `00000000-0000-4000-8000-${currentOperation().random.bytes(6).toString("hex")}`;
  syncBuiltinESMExports();
}

function install(): void {
  alarms = [];
  elapsed = 0;
  order = 0;
  held = 0;
  const virtual = {
    setTimeout: after,
    clearTimeout: cancel,
    setInterval: every,
    clearInterval: cancel,
    setImmediate: soon,
    clearImmediate: cancel,
    Date: VirtualDate,
  };
  Object.assign(globalThis, virtual);
  performance.now = () => elapsed;
  Math.random = () => currentOperation().random.next();
  Object.assign(timersPromises, { setTimeout: sleepFor, setImmediate: () => sleepFor(0) });
  syncBuiltinESMExports();
}

function uninstall(): void {
  const { setTimeout, clearTimeout, setInterval, clearInterval, setImmediate, clearImmediate, Date: RealDate } = real;
  Object.assign(globalThis, {
    setTimeout,
    clearTimeout,
    setInterval,
    clearInterval,
    setImmediate,
    clearImmediate,
    Date: RealDate,
  });
  performance.now = real.performanceNow;
  Math.random = real.random;
  Object.assign(timersPromises, realPromises);
  syncBuiltinESMExports();
}

/** Turns that are still to come in this turn of the real event loop, and who waits for the next one. */
let turnsLeft = 0;
let nextTurn: () => void = () => undefined;

/**
 * All promises and ticks that are due run in it. Node runs them after each immediate. A turn of the real event loop, which
 * asks the operating system, follows only after many of these.
 */
const turn = (): Promise<void> =>
  new Promise((resolve) => {
    nextTurn = resolve;
    if (turnsLeft === 0) for (; turnsLeft < TURNS_AT_ONCE; turnsLeft += 1) real.setImmediate(beginTurn);
  });

function beginTurn(): void {
  turnsLeft -= 1;
  nextTurn();
}

/** Runs `work` in virtual time to its end. Timers that are left are dropped. */
export async function inVirtualTime<T>(work: () => Promise<T>): Promise<T> {
  install();
  try {
    let isOver = false;
    const outcome = work().finally(() => (isOver = true));
    outcome.catch(() => undefined);
    for (;;) {
      await turn();
      if (isOver) return await outcome;
      if (held > 0) continue;
      const next = alarms.shift();
      if (next === undefined)
        throw new Error("Nothing is left to happen, and the work has not ended: a promise was never settled.");
      elapsed = Math.max(elapsed, next.at);
      within(next.operation, next.ring);
    }
  } finally {
    uninstall();
  }
}
