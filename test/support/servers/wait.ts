import { setTimeout as sleep } from "node:timers/promises";

/** @throws Error after 20 seconds */
export async function waitUntil(done: () => Promise<boolean>, what: string): Promise<void> {
  const end = Date.now() + 20_000;
  while (!(await done())) {
    if (Date.now() > end) throw new Error(`Waited 20 s in vain until ${what}.`);
    await sleep(20);
  }
}
