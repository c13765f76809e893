// Writes to a database without end and prints each write once the store has acknowledged it. Killed by its parent.
import {
  openMysql,
  openPostgres,
  openSqlite,
  SqlApiKeyStore,
  SqlTokenStore,
  type SqliteDriverName,
} from "../../../src/stores/sql/index.js";
import { sampleKey, sampleToken } from "../../../src/testing/samples.js";

const [, , url = "", driver] = process.argv;
const SLOW = { timeoutMs: 10_000 };
const opened = url.startsWith("sqlite:")
  ? openSqlite(url, { driver: driver as SqliteDriverName })
  : url.startsWith("mysql:")
    ? openMysql(url, SLOW)
    : openPostgres(url, SLOW);
const { db } = await opened;
const keys = new SqlApiKeyStore(db);
const tokens = new SqlTokenStore(db);
await keys.init();
await tokens.init();

const told = (what: string) => process.stdout.write(`${what}\n`);
for (let n = 0; ; n += 1) {
  await keys.insert(sampleKey({ id: `key-${n}` }));
  told(`key ${n}`);
  await keys.rotate(`key-${n}`, sampleKey({ id: `next-${n}` }), 5);
  told(`rotate ${n}`);
  await keys.revoke(`key-${n}`, 7, "lost laptop");
  told(`revoke ${n}`);
  await keys.addUsage([{ id: `key-${n}`, count: 2, lastUsedAt: 1_900_000_000_000 }]);
  told(`usage ${n}`);
  await tokens.insert(sampleToken({ id: `token-${n}`, familyId: `family-${n}`, subject: `user-${n}` }));
  told(`token ${n}`);
  await tokens.rotate(
    `token-${n}`,
    9,
    sampleToken({ id: `after-${n}`, familyId: `family-${n}`, subject: `user-${n}` }),
    "sealed",
  );
  told(`exchange ${n}`);
  await tokens.revokeFamily(`family-${n}`, 11);
  told(`family ${n}`);
  await tokens.denyAccessToken(`jti-${n}`, Date.now() + 3_600_000);
  told(`jti ${n}`);
  await tokens.denyFamily(`denied-${n}`, Date.now() + 3_600_000);
  told(`denied ${n}`);
  await tokens.revokeSubject(`user-${n}`, 1_000_000, Date.now() + 3_600_000);
  told(`subject ${n}`);
}
