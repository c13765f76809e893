// One of two processes that use what can be used once. It opens the stores of accounts, says "ready", and for each line of
// its input, the name of a round, makes a hundred of each call at once. It prints what it won, and ends with its input.
import { createInterface } from "node:readline";
import { createRuntime } from "../../src/core/runtime.js";
import { Secret } from "../../src/core/secret.js";
import { classifyDriverError } from "../../src/stores/health/driver-errors.js";
import { openStores } from "../../src/stores/open.js";
import { recordId, sampleCredential } from "../../src/testing/credential-samples.js";

const MANY = 100;
const { database, redis, redisPrefix } = JSON.parse(process.argv[2] ?? "{}") as Record<string, string>;
const stores = openStores(
  {
    database: new Secret(database ?? ""),
    // Two processes with a hundred calls each are slow; how slow is not what is tested.
    databaseTimeoutMs: 10_000,
    ...(redis === undefined ? {} : { redis: new Secret(redis), redisPrefix }),
  },
  createRuntime(),
);
const opened = stores.accounts();
const { places } = opened;

/** Both processes share the stores, so none of them is in memory. */
function shared<T>(store: T | undefined): T {
  if (store === undefined) throw new Error("this store is in memory");
  return store;
}
const credentials = shared(opened.credentials);
const singleUse = shared(opened.singleUse);

/** SQLite's file has no queue: a write that did not get it in five seconds has done nothing, and may be made again. */
async function persist<T>(write: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await write();
    } catch (error) {
      if (classifyDriverError(error) !== "busy") throw error;
    }
  }
}

const many = <T>(call: (n: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: MANY }, (_, n) => persist(() => call(n))));
const wins = (results: readonly unknown[]): number =>
  results.filter((result) => result !== false && result !== undefined).length;

async function play(round: string): Promise<Record<string, number | (number | undefined)[]>> {
  const owner = `owner-${round}`;
  const made = (n: number) => sampleCredential({ id: `${round}-${process.pid}-${n}`, ownerId: owner, kind: "made" });
  return {
    take: wins(await many(() => singleUse.take("log-in", recordId(round), Date.now()))),
    remove: wins(await many((n) => credentials.change(owner, { remove: [`removed-${round}`], insert: [made(n)] }))),
    update: wins(
      await many((n) => credentials.change(owner, { update: [{ id: `kept-${round}`, version: 3, data: { n } }] })),
    ),
    advance: wins(await many((n) => credentials.advance(`kept-${round}`, Number.MAX_SAFE_INTEGER, n))),
    failures: await many(() => credentials.addFailure(`failing-${round}`)),
  };
}

await stores.ready();
await Promise.all([credentials.init(), singleUse.init()]);
const say = (what: object): void => void process.stdout.write(`${JSON.stringify(what)}\n`);
say(places());
for await (const round of createInterface({ input: process.stdin })) say(await play(round));
await Promise.all([credentials.close(), singleUse.close()]);
await stores.close();
