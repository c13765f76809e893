import { openMysql, openPostgres, SqlCredentialStore } from "portcullis/sql";
import { expect, onTestFinished, test } from "vitest";
import type { StoredCredential } from "../../../src/stores/contracts.js";
import { mariaDbDatabase, postgresDatabase } from "../../support/servers.js";

const OWNER = "one person";

function link(count: number): StoredCredential {
  return {
    id: `link-${count}`,
    ownerId: OWNER,
    kind: "password-reset",
    name: `hash-${count}`,
    data: {},
    createdAt: 1_700_000_000_000 - count,
    confirmedAt: null,
    usedAt: null,
    expiresAt: 4_000_000_000_000,
    counter: -1,
    failures: 0,
    version: 0,
  };
}

test.each([
  ["PostgreSQL", postgresDatabase, openPostgres],
  ["MariaDB", mariaDbDatabase, openMysql],
] as const)("in %s, of ten parallel links of one person each is stored or replaced", async (_name, make, open) => {
  // Ten wait in turn for one row; how long that takes on a busy machine is not what this test is about.
  const opened = await open(await make(), { poolSize: 10, timeoutMs: 5000 });
  onTestFinished(() => opened.close());
  const store = new SqlCredentialStore(opened.db, opened);
  await store.init();
  const outcomes: PromiseSettledResult<boolean>[] = [];
  // As many at once as there are connections: none waits for another one's.
  for (let round = 0; round < 20; round++)
    outcomes.push(
      ...(await Promise.allSettled(
        Array.from({ length: 10 }, (_, count) =>
          store.change(OWNER, { removeKinds: ["password-reset"], insert: [link(10 * round + count)] }),
        ),
      )),
    );
  const errors = outcomes.flatMap((one) => (one.status === "rejected" ? [String(one.reason)] : []));
  expect(errors).toEqual([]);
  expect(outcomes.every((one) => one.status === "fulfilled" && one.value)).toBe(true);
  const last = { removeKinds: ["password-reset"], insert: [link(200)] };
  expect(await store.change(OWNER, last)).toBe(true);
  expect((await store.listOf(OWNER)).map(({ id }) => id)).toEqual(["link-200"]);
});
