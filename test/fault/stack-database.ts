import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RunningServer, sharedRedis, uniqueName } from "../support/servers.js";
import type { TcpProxy } from "../support/tcp-proxy.js";
import { FAULT_TEST_MS, type Fault, outage } from "./outage.js";
import { networkFaults, processFaults } from "./redis-faults.js";
import { type StackApp, stackApp } from "./stack-app.js";
import { expectKept, Writers } from "./writers.js";

/** A database server, and what can be done to it from outside. */
export interface FaultyDatabase {
  readonly name: string;
  readonly server: RunningServer;
  /** The app's database, for a role without rights over the server, as it should be. */
  url(port: number): string;
  /** Makes that role and that database. */
  prepare(): Promise<void>;
  /** What makes this kind of server silent for the app, beside the network and signals. */
  readonly faults: readonly Fault[];
  endConnections(which: "one" | "all"): Promise<void>;
  setReadOnly(isReadOnly: boolean): Promise<void>;
  /** Locks one key and the families of refresh tokens of one subject, as a transaction that is left open does. */
  lockRowsOf(subject: string, keyId: string): Promise<{ release(): Promise<void> }>;
}

/**
 * The same tests for every server database: how a fault is made differs, what the app does must not.
 *
 * @param proxy on the way from the app to the server
 */
export function whenTheDatabaseFails({ name, server, ...database }: FaultyDatabase, proxy: TcpProxy): void {
  describe(`the whole stack when ${name} fails`, () => {
    let app: StackApp;
    let prefix: string;
    beforeAll(async () => {
      await database.prepare();
      prefix = `${uniqueName()}:`;
      app = await stackApp((await sharedRedis()).url, database.url(proxy.port), prefix);
    });
    afterAll(async () => {
      await app?.close();
      await proxy.close();
      await server.close();
    });

    const during = { limiter: [], session: [], key: [503], token: [] };
    const unnoticed = { limiter: [], session: [], key: [], token: [] };
    const faults = [...networkFaults(proxy), ...processFaults(server), ...database.faults];

    test.each(faults.map((fault) => [fault.name, fault] as const))(
      "%s; and no acknowledged write is lost",
      async (_name, fault) => {
        const writers = new Writers(app);
        await outage(
          app.server.port,
          app.events,
          app.targets,
          { ...fault, name: `${name}: ${fault.name}` },
          { during, announcedBy: ["database"] },
        );
        await writers.stop();
        await check(writers);
      },
      FAULT_TEST_MS,
    );

    test("one connection ended by the server: the read continues on another", async () => {
      const fault: Fault = {
        name: `${name}: one connection ended`,
        begin: () => database.endConnections("one"),
        end: () => undefined,
        lastsMs: 300,
      };
      await outage(app.server.port, app.events, app.targets, fault, { during: unnoticed, announcedBy: [] });
    });

    test("all connections ended at once: back within a few probes", async () => {
      const fault: Fault = {
        name: `${name}: all connections ended`,
        begin: () => database.endConnections("all"),
        end: () => undefined,
        lastsMs: 300,
      };
      await outage(app.server.port, app.events, app.targets, fault, {
        during,
        announcedBy: ["database"],
        orByNobody: true,
      });
    });

    test("read-only: keys are verified, none is created, and one event reports it", async () => {
      const writers = new Writers(app);
      const fault: Fault = {
        name: `${name}: read-only`,
        begin: () => database.setReadOnly(true),
        end: () => database.setReadOnly(false),
      };
      await outage(app.server.port, app.events, app.targets, fault, { during: unnoticed, announcedBy: ["database"] });
      await writers.stop();
      expect(app.events.map(({ reason }) => reason)).toEqual(["read-only", "answered"]);
      expect(writers.refused).toBeGreaterThan(0);
      await check(writers);
    });

    async function check(writers: Writers): Promise<void> {
      const other = await stackApp((await sharedRedis()).url, database.url(server.port), prefix);
      await expectKept(writers, other).finally(() => other.close());
    }
  });
}
