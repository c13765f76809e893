/** The request on whose behalf a store is called. It waits for a silent server once, whatever it asks of the stores there. */
export interface StoreCaller {
  /** The client's address, where it is known. */
  readonly client: string | undefined;
  /** The id of the credential whose record is looked up. */
  credential: string | undefined;
  /** The servers it has waited for in vain. */
  waits: Wait[] | undefined;
}

/** A wait for an answer that did not come. */
export interface Wait {
  /** The server, as the circuit that knows how it is. */
  readonly circuit: { readonly successes: number };
  /** How many calls the server had answered when the wait was over. */
  readonly successes: number;
  /** When the wait was over, by the monotonic clock, in milliseconds. */
  readonly at: number;
}

/** Whom a circuit takes the caller for: whoever presents a slow record must not be taken for a neighbour at the same address. */
export function nameOf({ credential, client }: StoreCaller): string | undefined {
  return credential ?? client;
}

/** For this long a caller does not wait for the same server again, in milliseconds. */
const NO_WAIT_MS = 500;

/** Notes that the caller has waited for this server in vain. */
export function noteWait(caller: StoreCaller, circuit: Wait["circuit"], at: number): void {
  (caller.waits ??= []).push({ circuit, successes: circuit.successes, at });
}

/** Whether the caller has just waited for this server in vain, and nobody has been answered since. */
export function hasWaited(caller: StoreCaller, circuit: Wait["circuit"], now: number): boolean {
  return (
    caller.waits?.some(
      (wait) => wait.circuit === circuit && wait.successes === circuit.successes && now - wait.at < NO_WAIT_MS,
    ) === true
  );
}
