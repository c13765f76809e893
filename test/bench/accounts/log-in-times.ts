/**
 * How long a log-in takes that fails, for each way to fail, and how many log-ins there are in a second. The ways have turns;
 * their medians should be within five per cent of each other, or the time tells which accounts exist. Then once more with a
 * hash of bcrypt that was imported. The database is a file, since what is written to a disk takes longer than what is not.
 *
 * Run by hand: `npx tsx test/bench/accounts/log-in-times.ts [tries]`
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import bcrypt from "bcrypt";
import express from "express";
import { applySecurity } from "portcullis";
import { createAccounts, type AccountUser } from "portcullis/accounts";
import { testSecret } from "portcullis/testing";
import { serve } from "../../support/serve.js";
import { median } from "../median.js";

const tries = Number(process.argv[2] ?? 200);
const PASSWORD = "correct horse battery staple";
const WRONG = "not the password at all";
/** Failures in a row that disable a password: so many that the tries of the first way do not. */
const MOST = 100;

const users = new Map<string, AccountUser>(
  ["existing", "disabled", "locked", "owner"].map((login) => [
    login,
    { id: `id-${login}`, login, disabled: login === "disabled" },
  ]),
);
const folder = mkdtempSync(join(tmpdir(), "portcullis-"));
const app = express();
const far = { limit: 1_000_000 };
const security = applySecurity(app, {
  trustedHosts: ["127.0.0.1", "localhost"],
  secretKey: testSecret(),
  debug: true,
  session: {},
  rateLimit: far,
  loginLimits: { address: far, accountAndAddress: far, account: far, maxConsecutiveFailures: false },
  database: `sqlite:${join(folder, "app.db")}`,
});
const accounts = createAccounts(security, {
  baseUrl: "http://localhost:3000",
  passwords: { maxConsecutiveFailures: MOST },
  users: {
    findByLogin: (login) => users.get(login),
    findById: (id) => [...users.values()].find((user) => user.id === id),
  },
});
app.use("/account", accounts.routes());
await security.ready();
for (const { id } of users.values()) await accounts.passwords.set(id, PASSWORD);
const server = await serve(app);

async function logIn(login: string, password: string): Promise<{ readonly status: number; readonly ms: number }> {
  const began = performance.now();
  const { status } = await server.send("/account/login", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ login, password }),
  });
  return { status, ms: performance.now() - began };
}

/** Tries of each way in turns, and their medians. */
async function compare(title: string, ways: readonly string[]): Promise<void> {
  const times = new Map<string, number[]>(ways.map((way) => [way, []]));
  for (let i = 0; i < tries; i += 1) {
    // The password that exists is never locked.
    if (i % (MOST / 2) === 0) await logIn("existing", PASSWORD);
    for (const way of ways) {
      // A right password would make a hash of ours, so there is another one before it is locked.
      const login = way === "imported" ? `imported-${Math.floor(i / (MOST / 2))}` : way;
      const { status, ms } = await logIn(login, way === "locked" ? PASSWORD : WRONG);
      if (status !== 401) throw new Error(`${way} was answered ${status}`);
      times.get(way)?.push(ms);
    }
  }
  const base = median(times.get("existing") ?? []);
  process.stdout.write(`${title}\n`);
  for (const [way, values] of times) {
    const middle = median(values);
    const share = ((middle / base - 1) * 100).toFixed(1);
    process.stdout.write(`${way.padEnd(9)} median ${middle.toFixed(2)} ms, ${share} % from existing\n`);
  }
}

for (let i = 0; i <= MOST; i += 1) await logIn("locked", WRONG);
await compare("Without an import", ["existing", "unknown", "disabled", "locked"]);

const seconds = 10;
let done = 0;
const end = performance.now() + seconds * 1000;
await Promise.all(
  Array.from({ length: 8 }, async () => {
    while (performance.now() < end) {
      const { status } = await logIn("owner", PASSWORD);
      if (status === 200) done += 1;
    }
  }),
);
process.stdout.write(`log-ins   ${(done / seconds).toFixed(1)} in a second, 8 at once\n`);

for (let i = 0; i < tries / (MOST / 2); i += 1) {
  users.set(`imported-${i}`, { id: `id-imported-${i}`, login: `imported-${i}` });
  await accounts.passwords.import(`id-imported-${i}`, await bcrypt.hash(PASSWORD, 10));
}
await compare("With one", ["existing", "unknown", "disabled", "locked", "imported"]);
await server.close();
await security.close();
rmSync(folder, { recursive: true });
