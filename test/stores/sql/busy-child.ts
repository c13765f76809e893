// Eight writers that write to a SQLite file without end or pause. Killed by its parent.
import { openSqlite, SqlApiKeyStore } from "../../../src/stores/sql/index.js";
import { sampleKey } from "../../../src/testing/samples.js";

const [, , url = ""] = process.argv;
const { db } = await openSqlite(url);
const keys = new SqlApiKeyStore(db);
await keys.init();
process.stdout.write("ready\n");
await Promise.all(
  Array.from({ length: 8 }, async (_, writer) => {
    for (let n = 0; ; n += 1) await keys.insert(sampleKey({ id: `key-${writer}-${n}` }));
  }),
);
