import { readFileSync } from "node:fs";
import express from "express";
import { Kysely, MysqlDialect, PostgresDialect } from "kysely";
import { createPool } from "mysql2";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { applySecurity, type SecuritySettings } from "portcullis";
import type { PortcullisDatabase } from "../../../src/stores/sql/schema.js";
import {
  type Certificates,
  makeCertificates,
  mariaDbQuery,
  postgresQuery,
  type RunningServer,
  startMariaDb,
  startPostgres,
  uniqueName,
} from "../../support/servers.js";

const base: SecuritySettings = { debug: true, secretKey: "wJ8s7Yk2pQz4Nf6Vb1Xc3Mh5Lr9Tg0Ud" };

interface TlsDatabase {
  readonly engine: string;
  /** The system user the server runs as. */
  readonly user: string;
  /** The host that is in the certificate, and one that is not. */
  readonly names: string;
  readonly host: string;
  readonly otherHost: string;
  start(certificates: Certificates): Promise<RunningServer>;
  /** A new database, for a role that is let in over TLS only. */
  makeDatabase(server: RunningServer): Promise<string>;
  url(port: number, name: string, ca: string, host: string): string;
  instance(port: number, name: string, ca: string): PortcullisDatabase;
  /** How many connections of the role are there, and how many of them use TLS. */
  connections(server: RunningServer): Promise<{ all: number; encrypted: number }>;
}

const DATABASES: readonly TlsDatabase[] = [
  {
    engine: "PostgreSQL",
    user: "postgres",
    names: "IP:127.0.0.1",
    host: "127.0.0.1",
    otherHost: "localhost",
    start: ({ cert, key }) =>
      startPostgres({ args: ["-c", "ssl=on", "-c", `ssl_cert_file=${cert}`, "-c", `ssl_key_file=${key}`] }),
    async makeDatabase(server) {
      const name = uniqueName();
      await postgresQuery(
        server.url,
        "do $$ begin if not exists (select from pg_roles where rolname = 'app') then create role app login; end if; end $$",
      );
      await postgresQuery(server.url, `create database ${name} owner app`);
      return name;
    },
    url: (port, name, ca, host) =>
      `postgres://app@${host}:${port}/${name}?sslmode=verify-full&sslrootcert=${encodeURIComponent(ca)}`,
    instance: (port, name, ca) =>
      new Kysely({
        dialect: new PostgresDialect({
          pool: new pg.Pool({ host: "127.0.0.1", port, user: "app", database: name, ssl: { ca: readFileSync(ca) } }),
        }),
      }),
    async connections(server) {
      const [row] = await postgresQuery(
        server.url,
        "select count(*)::int as all, (count(*) filter (where ssl))::int as encrypted from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'app'",
      );
      return row as { all: number; encrypted: number };
    },
  },
  {
    engine: "MariaDB",
    user: "mysql",
    names: "DNS:localhost",
    host: "localhost",
    otherHost: "127.0.0.1",
    start: ({ ca, cert, key }) => startMariaDb({ args: [`--ssl-ca=${ca}`, `--ssl-cert=${cert}`, `--ssl-key=${key}`] }),
    async makeDatabase(server) {
      const name = uniqueName();
      await mariaDbQuery(server.url, "create user if not exists app identified by 'app' require ssl");
      await mariaDbQuery(server.url, `create database ${name}`);
      await mariaDbQuery(server.url, `grant all privileges on ${name}.* to app`);
      return name;
    },
    url: (port, name, ca, host) =>
      `mysql://app:app@${host}:${port}/${name}?ssl-mode=VERIFY_IDENTITY&ssl-ca=${encodeURIComponent(ca)}`,
    instance: (port, name, ca) =>
      new Kysely({
        dialect: new MysqlDialect({
          pool: createPool({
            host: "localhost",
            port,
            user: "app",
            password: "app",
            database: name,
            charset: "utf8mb4",
            ssl: { ca: readFileSync(ca), verifyIdentity: true },
          }),
        }),
      }),
    async connections(server) {
      // The role cannot be there without: it is made REQUIRE SSL.
      const rows = (await mariaDbQuery(
        server.url,
        "select count(*) as n from information_schema.processlist where user = 'app'",
      )) as { n: number }[];
      return { all: rows[0]?.n ?? 0, encrypted: rows[0]?.n ?? 0 };
    },
  },
];

describe.each(DATABASES)(
  "$engine over TLS",
  ({ user, names, host, otherHost, start, makeDatabase, url, instance, connections }) => {
    let certificates: Certificates;
    let server: RunningServer;
    let name: string;
    beforeAll(async () => {
      certificates = makeCertificates(names, user);
      server = await start(certificates);
      name = await makeDatabase(server);
    });
    afterAll(async () => {
      await server.close();
      certificates.remove();
    });

    const reasonOf = async (database: string): Promise<string> => {
      const security = applySecurity(express(), { ...base, apiKeys: {}, database });
      const began = performance.now();
      const reason: unknown = await security.ready().catch((error: unknown) => error);
      expect(performance.now() - began).toBeLessThan(5000);
      await security.close();
      return (reason as Error).message.replace(/127\.0\.0\.1:\d+|localhost:\d+/g, "HOST").replace(name, "NAME");
    };

    test("works with a URL that names the authority", async () => {
      const security = applySecurity(express(), {
        ...base,
        apiKeys: {},
        database: url(server.port, name, certificates.ca, host),
      });
      await security.ready();
      const { key } = await security.apiKeys.create({ ownerId: "ada", name: "over TLS" });
      expect((await security.apiKeys.verify(key)).ok).toBe(true);
      const { all, encrypted } = await connections(server);
      expect(all).toBeGreaterThan(0);
      expect(encrypted).toBe(all);
      await security.close();
    });

    test("works with a Kysely instance that has the authority", async () => {
      const db = instance(server.port, name, certificates.ca);
      const security = applySecurity(express(), { ...base, apiKeys: {}, database: db });
      await security.ready();
      const { key } = await security.apiKeys.create({ ownerId: "ada", name: "over TLS" });
      expect((await security.apiKeys.verify(key)).ok).toBe(true);
      const { all, encrypted } = await connections(server);
      expect([encrypted, all > 0]).toEqual([all, true]);
      await security.close();
      await db.destroy();
    });

    test("an authority that did not sign the certificate is refused with the reason", async () => {
      expect(await reasonOf(url(server.port, name, certificates.otherCa, host))).toMatch(
        /^The (postgres|mysql) database HOST\/NAME cannot be used: .*certificate.*\.$/,
      );
    });

    test("a name that is not in the certificate is refused with the reason", async () => {
      expect(await reasonOf(url(server.port, name, certificates.ca, otherHost))).toMatch(
        /does not match certificate's altnames|VERIFY_IDENTITY compares the certificate with a host name/,
      );
    });

    test("a file of the authority that is not there is refused with the reason", async () => {
      expect(await reasonOf(url(server.port, name, "/nowhere/ca.pem", host))).toMatch(/ENOENT|cannot be read/);
    });
  },
);

describe("a server without TLS", () => {
  test.each(DATABASES)(
    "$engine is refused when the URL asks for TLS",
    async ({ engine, makeDatabase, url, user, names, host }) => {
      const certificates = makeCertificates(names, user);
      const server = engine === "PostgreSQL" ? await startPostgres() : await startMariaDb({ args: ["--skip-ssl"] });
      try {
        const security = applySecurity(express(), {
          ...base,
          apiKeys: {},
          database: url(server.port, await makeDatabase(server), certificates.ca, host),
        });
        await expect(security.ready()).rejects.toThrow(/SSL|secure/);
        await security.close();
      } finally {
        await server.close();
        certificates.remove();
      }
    },
  );
});
