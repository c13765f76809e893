import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TcpProxy } from "../support/tcp-proxy.js";
import { AccountWriters } from "./account-writers.js";
import { ACCOUNTS_SILENT_MS, ACCOUNTS_TIMEOUT_MS, type AccountsStack, accountsStack, People } from "./accounts-app.js";
import { Load } from "./load.js";
import { FAULT_TEST_MS, type Fault, outage, SILENT_MS } from "./outage.js";
import { networkFaults, processFaults } from "./redis-faults.js";
import type { FaultyDatabase } from "./stack-database.js";

/** Longer than a claim of a link, or of a name, whose request has died (30 s). */
const CLAIM_OVER_MS = 31_000;

/** The outcome of a COMMIT is waited for up to five seconds (src/stores/README.md); a machine that is busy adds to it. */
const LONGEST_MS = 6000;
/** People whose accounts are looked at together. */
const ASKED_AT_ONCE = 4;
/** Before and after the fault each person changes their account once, and in the end all of them are asked. */
const ACCOUNTS_TEST_MS = 2 * FAULT_TEST_MS;

/**
 * Accounts on a database that fails, the same for every server database.
 *
 * @param proxy on the way from the app to the server
 */
export function whenTheDatabaseOfAccountsFails({ name, server, ...database }: FaultyDatabase, proxy: TcpProxy): void {
  describe(`accounts when ${name} fails`, () => {
    const people = new People();
    let app: AccountsStack;
    beforeAll(async () => {
      await database.prepare();
      app = await accountsStack(database.url(proxy.port), people);
      // Nobody judges the first requests of a new server: they are slow on a busy machine.
      const warmUp = new Load(app.server.port, app.targets);
      await sleep(1500);
      await warmUp.stop();
    });
    afterAll(async () => {
      await app?.close();
      await proxy.close();
      await server.close();
    });

    const during = { plain: [], "log-in": [503], factors: [503] };
    const chosen = ["black hole", "reset mid-reply", "SIGSTOP", "SIGKILL"];
    const faults: Fault[] = [...networkFaults(proxy), ...processFaults(server)].filter((fault) =>
      chosen.includes(fault.name),
    );

    test.each(faults.map((fault) => [fault.name, fault] as const))(
      "%s; and nothing acknowledged is lost",
      async (_name, fault) => {
        await underLoad(fault, during);
      },
      ACCOUNTS_TEST_MS,
    );

    test(
      "read-only: log-ins and changes are refused, and one event reports it",
      async () => {
        await underLoad(
          {
            name: "read-only",
            begin: () => database.setReadOnly(true),
            end: () => database.setReadOnly(false),
          },
          { ...during, factors: [] },
        );
        expect(app.events.map(({ reason }) => reason)).toEqual(["read-only", "answered"]);
      },
      ACCOUNTS_TEST_MS,
    );

    async function underLoad(fault: Fault, statuses: Readonly<Record<string, readonly number[]>>): Promise<void> {
      const writers = new AccountWriters(app);
      await writers.expectAll();
      await outage(
        app.server.port,
        app.events,
        app.targets,
        {
          ...fault,
          name: `accounts on ${name}: ${fault.name}`,
          ...(fault.lastsMs === SILENT_MS ? { lastsMs: ACCOUNTS_SILENT_MS } : {}),
        },
        { during: statuses, announcedBy: ["database"], storeTimeoutMs: ACCOUNTS_TIMEOUT_MS },
      );
      await writers.expectAll();
      await writers.stop();
      expect(writers.refused).toBeGreaterThan(0);
      const other = await accountsStack(database.url(server.port), people, CLAIM_OVER_MS);
      await expectAccountsKept(writers, other).finally(() => other.close());
    }
  });
}

/** Asks another process' worth of app, which remembers nothing: each change that was acknowledged holds. */
async function expectAccountsKept(writers: AccountWriters, other: AccountsStack): Promise<void> {
  const { records, done, refused, slowestMs, wrong } = writers;
  const counts = Object.entries(done).map(([kind, count]) => `${count} ${kind}`);
  process.stdout.write(
    `accounts | ${counts.join(", ")}, ${records.length} people, ${refused} refused, slowest ${slowestMs.toFixed(0)} ms\n`,
  );
  expect(wrong).toEqual([]);
  expect(slowestMs).toBeLessThan(LONGEST_MS);
  expect(Math.min(...Object.values(done))).toBeGreaterThan(0);
  // A few at once: the pool of connections is small.
  for (let next = 0; next < records.length; next += ASKED_AT_ONCE)
    await Promise.all(records.slice(next, next + ASKED_AT_ONCE).map((record) => record.expectKept(other)));
}
