// Time without the time in which other processes had the processor: on a machine that does other work, that is more than
// anything measured here, and no row causes it.
import { openSync, readSync } from "node:fs";

const schedule = openSchedule();
const text = Buffer.alloc(128);

function openSchedule() {
  try {
    return openSync("/proc/self/schedstat", "r");
  } catch {
    return undefined; // not Linux: wall-clock time then
  }
}

/** Milliseconds this thread has been ready to run and was not running (the second field of the kernel's schedstat). */
export function waited() {
  if (schedule === undefined) return 0;
  const length = readSync(schedule, text, 0, text.length, 0);
  return Number(text.latin1Slice(0, length).split(" ")[1]) / 1e6;
}

/** Nanoseconds of wall-clock time without those. Sleeping, as for the thread pool, counts. One call takes about two microseconds. */
export function now() {
  return (performance.now() - waited()) * 1e6;
}
