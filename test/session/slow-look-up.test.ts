import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { startFileSessions } from "../support/file-sessions.js";

// Enough to open the circuit again and again: nobody else asks the store between two requests of the honest client.
it.concurrent.for([3, 10])(
  "a store that looks for one missing file for a second, %i times a second, serves all other clients",
  async (perSecond, { onTestFinished }) => {
    const sessions = await startFileSessions();
    onTestFinished(() => sessions.close());
    const { server } = sessions;
    const stale = await sessions.logIn();
    await sessions.deleteFiles();
    const honest = await sessions.logIn();
    const slow: Promise<number>[] = [];
    const statuses: number[] = [];
    const began = performance.now();
    let sent = 0;
    for (let turn = 0; turn < 3; turn += 1) {
      while (performance.now() - began < (turn + 1) * 1300) {
        slow.push(server.send("/session", { headers: { cookie: stale } }).then(({ status }) => status));
        sent += 1;
        await sleep(Math.max(0, (sent * 1000) / perSecond - (performance.now() - began)));
      }
      statuses.push((await server.send("/session", { headers: { cookie: honest } })).status);
    }
    expect(statuses).toEqual([200, 200, 200]);
    expect(new Set(await Promise.all(slow))).toEqual(new Set([503]));
  },
);
