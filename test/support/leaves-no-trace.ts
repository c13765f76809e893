import { afterAll, beforeAll, expect } from "vitest";

/**
 * Files of a project share workers and loaded modules. So each file must leave the process as it found it: a listener,
 * a variable or a replaced global that it forgets would change the outcome of another file, depending on the order.
 */
const EVENTS = ["warning", "unhandledRejection", "uncaughtException", "exit", "SIGTERM", "SIGINT"] as const;
const GLOBALS = ["setTimeout", "setInterval", "setImmediate", "Date", "fetch", "console"] as const;

function trace(): Record<string, unknown> {
  return {
    variables: { ...process.env },
    folder: process.cwd(),
    listeners: Object.fromEntries(EVENTS.map((event) => [event, process.listenerCount(event)])),
    globals: GLOBALS.map((name) => globalThis[name]),
    clock: [Date.now, performance.now, Math.random],
    prototypes: [Object.prototype, Array.prototype, Map.prototype, Set.prototype].map(
      (one) => Reflect.ownKeys(one).length,
    ),
  };
}

let before: Record<string, unknown>;
beforeAll(() => void (before = trace()));
afterAll(() => expect(trace(), "this file leaves something behind in the process").toEqual(before));
