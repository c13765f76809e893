import { AsyncLocalStorage } from "node:async_hooks";
import type { OperationFault, RedisFault } from "./faults.js";
import { Random } from "./random.js";

/** On whose behalf code runs: one operation of one actor, or the background work of a process. */
export interface Operation {
  /** `ada/3`: the third operation of ada. Everything random in the operation comes from this name and the seed. */
  readonly id: string;
  readonly random: Random;
  readonly fault: OperationFault | undefined;
  readonly redisFault: RedisFault | undefined;
  /** Statements the operation has sent so far. */
  statements: number;
  /** Commands it has sent to Redis. */
  commands: number;
  /** A fault broke the answer to a statement that had taken effect: the caller cannot know. */
  inDoubt: boolean;
}

const operations = new AsyncLocalStorage<Operation>();
/** What runs before the first operation: modules that are loaded. */
const outside: Operation = newOperation("outside");

export function newOperation(
  id: string,
  seed = 0,
  { fault, redisFault }: Partial<Pick<Operation, "fault" | "redisFault">> = {},
): Operation {
  return { id, random: new Random(`${seed}/${id}`), fault, redisFault, statements: 0, commands: 0, inDoubt: false };
}

export function currentOperation(): Operation {
  return operations.getStore() ?? outside;
}

export function within<T>(operation: Operation, work: () => T): T {
  return operations.run(operation, work);
}
