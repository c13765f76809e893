import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Bytes of the heap in use by what is still reachable. */
export function heapUsed(): number {
  collect();
  return process.memoryUsage().heapUsed;
}
