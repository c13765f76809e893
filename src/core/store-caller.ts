/**
 * The request for which a store is called. It waits only once for an unresponsive server, whichever of its stores it
 * calls.
 */
export interface StoreCaller {
  /** The client's address, where it is known. */
  readonly client: string | undefined;
  /** The id of the credential whose record is looked up. */
  credential: string | undefined;
  /** The servers that did not answer it in time. */
  waits: Wait[] | undefined;
}

/** A wait for an answer that did not arrive. */
export interface Wait {
  /** The server, represented by the circuit that tracks its availability. */
  readonly circuit: { readonly successes: number };
  /** How many calls the server had answered when the wait ended. */
  readonly successes: number;
  /** When the wait ended, by the monotonic clock, in milliseconds. */
  readonly at: number;
}

/** The caller of a call that belongs to no request. @param name whose data the call is about */
export function callerFor(name: string): StoreCaller {
  return { client: undefined, credential: name, waits: undefined };
}

/** The caller of a call that belongs to no request and is about everything of one principal. */
export function callerForPrincipal(id: string): StoreCaller {
  return callerFor(`principal ${id}`);
}

/**
 * The name by which a circuit identifies the caller. A caller that presents a slow record must not be confused with
 * another at the same address.
 */
export function nameOf({ credential, client }: StoreCaller): string | undefined {
  return credential ?? client;
}

/** How long a caller does not wait for the same server again, in milliseconds. */
const NO_WAIT_MS = 500;

/** Records that the caller has waited for this server without an answer. */
export function noteWait(caller: StoreCaller, circuit: Wait["circuit"], at: number): void {
  (caller.waits ??= []).push({ circuit, successes: circuit.successes, at });
}

/** Whether the caller has just waited for this server without an answer, and no call has succeeded since. */
export function hasWaited(caller: StoreCaller, circuit: Wait["circuit"], now: number): boolean {
  return (
    caller.waits?.some(
      (wait) => wait.circuit === circuit && wait.successes === circuit.successes && now - wait.at < NO_WAIT_MS,
    ) === true
  );
}
