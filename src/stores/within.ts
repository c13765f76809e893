/** Rejects after `ms`. What comes of the promise later is not used; nothing is left unhandled. */
export function within<T>(answer: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(Object.assign(new Error(`no answer within ${ms} ms`), { code: "ETIMEDOUT" })), ms);
    answer.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
