import type { ServerResponse } from "node:http";

/** A promise that records whether its outcome has been requested. */
class Observed extends Promise<void> {
  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  isObserved = false;

  override then<A = void, B = never>(
    onValue?: ((value: void) => A | PromiseLike<A>) | null,
    onError?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.isObserved = true;
    return super.then(onValue, onError);
  }
}

/**
 * Returns the outcome of `work` to its caller. If the caller has not requested it by the time the work and the response
 * are done, a process warning is emitted, and a rejection does not end the process.
 *
 * @param name the function to name in the warning
 * @param res the response of the request, when there is one
 */
export function mustBeAwaited(name: string, res: ServerResponse | undefined, work: Promise<void>): Promise<void> {
  const outcome = new Observed((resolve, reject) => {
    work.then(resolve, reject);
  });
  const check = (failure: unknown): void => {
    if (!outcome.isObserved) warn(name, failure);
  };
  const settled = (failure?: unknown): void => {
    if (outcome.isObserved) return;
    if (res === undefined || typeof res.once !== "function" || res.writableEnded || res.destroyed)
      setImmediate(check, failure);
    else res.once("close", () => check(failure));
  };
  // Attach to `work`, not to `outcome`, so that this does not count as observing it. The last `settled` prevents an
  // unhandled rejection.
  work.then(() => settled(), settled);
  void Promise.prototype.then.call(outcome, undefined, () => undefined);
  return outcome;
}

function warn(name: string, failure: unknown): void {
  const failed =
    failure === undefined ? "" : ` It failed: ${failure instanceof Error ? failure.message : "not an Error"}`;
  process.emitWarning(
    `${name} was not awaited. Write \`await ${name}(…)\`, or \`${name}(…).then(…, next)\`, and send the response after it.${failed}`,
    { code: "PORTCULLIS_NOT_AWAITED" },
  );
}
