import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { postgresDatabase, type RunningServer, startRedis, uniqueName } from "../support/servers.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";
import { FAULT_TEST_MS, outage, SILENT_MS } from "./outage.js";
import { declines } from "./redis-declines.js";
import { networkFaults, processFaults } from "./redis-faults.js";
import { type StackApp, stackApp } from "./stack-app.js";
import { expectKept, Writers } from "./writers.js";

const redis: RunningServer = await startRedis();
const proxy: TcpProxy = await startTcpProxy(redis.port);

describe("the whole stack when Redis fails", () => {
  let app: StackApp;
  let database: string;
  const prefix = `${uniqueName()}:`;
  beforeAll(async () => {
    database = await postgresDatabase();
    app = await stackApp(`redis://127.0.0.1:${proxy.port}`, database, prefix);
  });
  afterAll(async () => {
    await app.close();
    await proxy.close();
    await redis.close();
  });

  // The limiter counts in the process; a session cannot be read; keys are in the database; an access token is accepted from
  // memory for a second; after that it is not known whether it has been revoked.
  const during = { limiter: [], session: [503], key: [], token: [503] };

  test.each([...networkFaults(proxy), ...processFaults(redis)].map((fault) => [fault.name, fault] as const))(
    "%s; and no acknowledged write is lost",
    async (_name, fault) => {
      const writers = new Writers(app);
      await outage(
        app.server.port,
        app.events,
        app.targets,
        { ...fault, name: `Redis: ${fault.name}`, lastsMs: SILENT_MS },
        { during, announcedBy: ["redis"] },
      );
      await writers.stop();
      const other = await stackApp(redis.url, database, prefix);
      await expectKept(writers, other).finally(() => other.close());
    },
    FAULT_TEST_MS,
  );

  // Nothing can be counted there, and no user can log in or out; users who are logged in, keys and tokens are served.
  test.each(declines(redis).map((fault) => [fault.name, fault] as const))(
    "%s: one event, and what only reads goes on",
    async (_name, fault) => {
      const writers = new Writers(app);
      await outage(
        app.server.port,
        app.events,
        app.targets,
        { ...fault, name: `Redis: ${fault.name}` },
        { during: {}, announcedBy: ["redis"] },
      );
      await writers.stop();
      expect(app.events.map(({ reason }) => reason)).toEqual([fault.reason, "answered"]);
      expect(writers.refused).toBeGreaterThan(0);
      const other = await stackApp(redis.url, database, prefix);
      await expectKept(writers, other).finally(() => other.close());
    },
    FAULT_TEST_MS,
  );
});
