/**
 * How long a log-in takes that fails, for each way to fail, and how many log-ins there are in a second. The ways have turns;
 * their medians should be within five per cent of each other, or the time tells which accounts exist. The database is a
 * file, since what is written to a disk takes longer than what is not.
 *
 * Run by hand: `npx tsx test/bench/accounts/log-in-times.ts [tries]`
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
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

const ways = ["existing", "unknown", "disabled", "locked"] as const;
const times = new Map<string, number[]>(ways.map((way) => [way, []]));
for (let i = 0; i <= MOST; i += 1) await logIn("locked", WRONG);
for (let i = 0; i < tries; i += 1) {
  // The first way is never locked.
  if (i % (MOST / 2) === 0) await logIn("existing", PASSWORD);
  for (const way of ways) {
    const { status, ms } = await logIn(way, way === "locked" ? PASSWORD : WRONG);
    if (status !== 401) throw new Error(`${way} was answered ${status}`);
    times.get(way)?.push(ms);
  }
}
const base = median(times.get("existing") ?? []);
for (const [way, values] of times) {
  const middle = median(values);
  const share = ((middle / base - 1) * 100).toFixed(1);
  process.stdout.write(`${way.padEnd(9)} median ${middle.toFixed(2)} ms, ${share} % from existing\n`);
}

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
await server.close();
await security.close();
rmSync(folder, { recursive: true });
