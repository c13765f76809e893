/**
 * Prints, as JSON, what a tracked client costs: `node --expose-gc --import tsx test/stores/memory/sliding-window/memory-measurement.ts
 * <clients> <requests each>`.
 */
import { SlidingWindowStore } from "../../../../src/stores/memory/sliding-window/store.js";

const clients = Number(process.argv[2] ?? 200_000);
const requests = Number(process.argv[3] ?? 1);
const policy = { name: "default", limit: 100, windowMs: 3_600_000 };

function bytesInUse(): number {
  // Twice: what the first collection only makes collectable.
  global.gc?.();
  global.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

function address(index: number): string {
  return `${10 + (index >>> 24)}.${(index >>> 16) & 255}.${(index >>> 8) & 255}.${index & 255}`;
}

const store = new SlidingWindowStore({ maxClients: clients });
store.consume(policy, "warm-up", 1);
store.resetAll();
const before = bytesInUse();
for (let round = 0; round < requests; round += 1)
  for (let i = 0; i < clients; i += 1) store.consume(policy, address(i), 1);
const perClient = (bytesInUse() - before) / clients;
const tracked = store.size;
store.close();
const left = Math.max(0, bytesInUse() - before);
process.stdout.write(
  JSON.stringify({ tracked, requests, bytesPerClient: Math.round(perClient), bytesLeftAfterClose: left }),
);
