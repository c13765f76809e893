import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { postgresQuery, type RunningServer, sharedRedis, startPostgres, uniqueName } from "../support/servers.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";
import { FAULT_TEST_MS, type Fault, outage } from "./outage.js";
import { networkFaults, processFaults } from "./redis-faults.js";
import { type StackApp, stackApp } from "./stack-app.js";
import { expectKept, Writers } from "./writers.js";

const postgres: RunningServer = await startPostgres();
const proxy: TcpProxy = await startTcpProxy(postgres.port);
/** The app has a role without rights over the server, as it should. */
const url = (port: number): string => `postgres://app@127.0.0.1:${port}/app`;
const asAdmin = (...statements: string[]): Promise<void> => inTurn(postgres.url, statements);

async function inTurn(on: string, statements: readonly string[]): Promise<void> {
  for (const statement of statements) await postgresQuery(on, statement);
}

const TERMINATE = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'portcullis'";

/** A lock on the tables, as a migration by hand takes it: every statement waits, every connection of the pool is in use. */
function exhaustedPool(): Fault {
  let holder: pg.Client | undefined;
  return {
    name: "exhausted pool (tables locked)",
    begin: async () => {
      holder = new pg.Client({ connectionString: url(postgres.port) });
      holder.on("error", () => undefined);
      await holder.connect();
      const { rows } = await holder.query<{ name: string }>("select tablename as name from pg_tables where tablename like 'portcullis%'");
      await holder.query(`begin; lock table ${rows.map(({ name }) => name).join(", ")} in access exclusive mode`);
    },
    end: async () => {
      await holder?.end();
    },
  };
}

const tooManyConnections: Fault = {
  name: "too many connections (53300)",
  begin: () => asAdmin("alter role app connection limit 0", TERMINATE),
  end: () => asAdmin("alter role app connection limit -1"),
};

describe("the whole stack when PostgreSQL fails", () => {
  let app: StackApp;
  let prefix: string;
  beforeAll(async () => {
    await asAdmin("create role app login", "create database app owner app");
    prefix = `${uniqueName()}:`;
    app = await stackApp((await sharedRedis()).url, url(proxy.port), prefix);
  });
  afterAll(async () => {
    await app.close();
    await proxy.close();
    await postgres.close();
  });

  const during = { limiter: [], session: [], key: [503], token: [] };
  const faults = [...networkFaults(proxy), ...processFaults(postgres), exhaustedPool(), tooManyConnections];

  test.each(faults.map((fault) => [fault.name, fault] as const))("%s; and no acknowledged write is lost", async (_name, fault) => {
    const writers = new Writers(app);
    await outage(app.server.port, app.events, app.targets, { ...fault, name: `PostgreSQL: ${fault.name}` }, { during, announcedBy: ["database"] });
    await writers.stop();
    await check(writers);
  }, FAULT_TEST_MS);

  test("a terminated backend: the read goes on by another connection", async () => {
    const fault: Fault = { name: "PostgreSQL: pg_terminate_backend of one", begin: () => asAdmin(`${TERMINATE} limit 1`), end: () => undefined, lastsMs: 300 };
    await outage(app.server.port, app.events, app.targets, fault, { during: { limiter: [], session: [], key: [], token: [] }, announcedBy: [] });
  });

  test("all backends terminated at once: back within a few probes", async () => {
    const fault: Fault = { name: "PostgreSQL: pg_terminate_backend of all", begin: () => asAdmin(TERMINATE), end: () => undefined, lastsMs: 300 };
    await outage(app.server.port, app.events, app.targets, fault, { during, announcedBy: ["database"], orByNobody: true });
  });

  test("read-only: keys are verified, none is made, and one event says so", async () => {
    const set = (value: "on" | "off"): Promise<void> => asAdmin(`alter system set default_transaction_read_only = ${value}`, "select pg_reload_conf()");
    const writers = new Writers(app);
    const fault: Fault = { name: "PostgreSQL: read-only", begin: () => set("on"), end: () => set("off") };
    await outage(app.server.port, app.events, app.targets, fault, { during: { limiter: [], session: [], key: [], token: [] }, announcedBy: ["api-keys-writes", "refresh-token"] });
    await writers.stop();
    expect(writers.refused).toBeGreaterThan(0);
    await check(writers);
  });

  async function check(writers: Writers): Promise<void> {
    const other = await stackApp((await sharedRedis()).url, url(postgres.port), prefix);
    await expectKept(writers, other).finally(() => other.close());
  }
});
