import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { SecurityEvent } from "../../src/core/events.js";
import { type FileSessions, startFileSessions } from "../support/file-sessions.js";
import type { Target } from "./load.js";
import { FAULT_TEST_MS, outage, STORE_TIMEOUT_MS, storeEvents } from "./outage.js";

let sessions: FileSessions;
let events: SecurityEvent[];
beforeAll(async () => {
  sessions = await startFileSessions(STORE_TIMEOUT_MS);
  events = storeEvents(sessions.events);
});
afterAll(() => sessions.close());

test(
  "a session store that looks for one missing file for a second refuses only the caller with that cookie",
  async () => {
    const { server } = sessions;
    const stale = await sessions.logIn();
    await sessions.deleteFiles();
    const targets: Target[] = [];
    for (const name of ["session", "other session"])
      targets.push({ name, path: "/session", headers: { cookie: await sessions.logIn() } });
    const statuses: number[] = [];
    let isStopped = false;
    let work: Promise<unknown> | undefined;
    const turn = async (): Promise<void> => {
      while (!isStopped) {
        statuses.push((await server.send("/session", { headers: { cookie: stale } })).status);
        await sleep(5);
      }
    };
    const fault = {
      name: "files: one missing file is looked for",
      lastsMs: 2000,
      begin: () => void (work = Promise.all([turn(), turn(), turn()])),
      end: async () => {
        isStopped = true;
        await work;
      },
    };
    await outage(server.port, events, targets, fault, { during: {}, announcedBy: [] });
    expect(statuses.length).toBeGreaterThan(10);
    expect(new Set(statuses)).toEqual(new Set([503]));
  },
  FAULT_TEST_MS,
);
