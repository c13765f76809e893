import { expect } from "vitest";

/** What comes about in the browser's own time. The limit is for a machine that is busy; the wait is as long as it takes. */
export const eventually = <Value>(read: () => Value | Promise<Value>) =>
  expect.poll(read, { timeout: 10_000, interval: 20 });
