import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { postgresDatabase, postgresQuery } from "../support/servers.js";
import { blockWith, Sample } from "./support/sample.js";

describe("the sample of tenants with domains of their own, on PostgreSQL", () => {
  let database: string;
  let app: Sample;
  beforeAll(async () => {
    database = await postgresDatabase();
    await postgresQuery(database, "create table domains (name text primary key)");
    await postgresQuery(database, "insert into domains values ('shop.example'), ('old.example')");
    app = await Sample.start(blockWith("examples/recipes/tenants.md", "ts", "isTenant"), { DATABASE_URL: database });
  });
  afterAll(() => app.close());
  const tenantOf = async (host: string, headers: Record<string, string> = {}): Promise<unknown[]> => {
    const answer = await app.send(host, "/tenant", { headers });
    return [answer.status, answer.headers["access-control-allow-origin"]];
  };

  it("serves the domains in the table, and reads new ones without a restart", async () => {
    expect(await tenantOf("shop.example")).toEqual([200, undefined]);
    expect(await tenantOf("SHOP.example.:3000")).toEqual([200, undefined]);
    expect(await tenantOf("new.example")).toEqual([400, undefined]);
    await postgresQuery(database, "insert into domains values ('new.example')");
    expect(await tenantOf("new.example")).toEqual([200, undefined]);
    expect((await app.send("10.0.0.7", "/healthz")).status).toBe(200);
  });

  it("lets the pages of tenants read answers, over https only", async () => {
    expect(await tenantOf("shop.example", { Origin: "https://new.example" })).toEqual([200, "https://new.example"]);
    for (const Origin of ["https://evil.example", "http://new.example", "https://new.example:8443", "null"])
      expect(await tenantOf("shop.example", { Origin }), Origin).toEqual([200, undefined]);
  });

  it("refuses a removed domain after 10 seconds, and without the table answers 503", async () => {
    expect(await tenantOf("old.example")).toEqual([200, undefined]);
    await postgresQuery(database, "delete from domains where name = 'old.example'");
    await new Promise((resolve) => setTimeout(resolve, 10_100));
    expect(await tenantOf("old.example")).toEqual([400, undefined]);
    expect(await tenantOf("shop.example")).toEqual([200, undefined]);
    await postgresQuery(database, "alter table domains rename to moved");
    expect(await tenantOf("unknown.example")).toEqual([503, undefined]);
    expect(await tenantOf("shop.example")).toEqual([200, undefined]);
  }, 60_000);
});
