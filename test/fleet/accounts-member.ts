// One process of a fleet with accounts. Its settings come as JSON, the port goes out on the first line. It ends when its input
// ends. The app's table of users is a folder, so that all processes share it.
import { createHmac } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import express from "express";
import { applySecurity, type SecuritySettings } from "../../src/index.js";
import { type AccountNotice, type AccountUser, createAccounts } from "../../src/accounts/index.js";

const { users: folder, ...settings } = JSON.parse(process.argv[2] ?? "{}") as SecuritySettings & { users: string };

const mac = (password: string): string =>
  createHmac("sha256", "fleet").update(password).digest("base64").replace(/=+$/, "");
/** Stands in for argon2, so that the hundred uses meet at the store and not in the queue of hashes. */
const FAST = {
  hash: async (password: string) => `$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$${mac(password)}`,
  verify: async (digest: string, password: string) => digest.endsWith(mac(password)),
};

const app = express();
const security = applySecurity(app, {
  debug: true,
  headers: false,
  rateLimit: false,
  loginLimits: { address: { limit: 100_000 }, accountAndAddress: { limit: 100_000 }, account: { limit: 100_000 } },
  secretKey: "wJ8s7Yk2pQz4Nf6Vb1Xc3Mh5Lr9Tg0Ud",
  session: { storeTimeoutMs: 5000 },
  jwt: { storeTimeoutMs: 5000 },
  ...settings,
});

const row = (login: string): string => join(folder, encodeURIComponent(login));
const userOf = (login: string): AccountUser => ({ id: login, login, email: login });
const notices: AccountNotice[] = [];
let created = 0;
const accounts = createAccounts(
  security,
  {
    baseUrl: "http://localhost:3000",
    storeTimeoutMs: 10_000,
    users: {
      findByLogin: (login) => (existsSync(row(login)) ? userOf(login) : undefined),
      findById: (id) => (existsSync(row(id)) ? userOf(id) : undefined),
      create: ({ login }) => {
        created += 1;
        // A table has a unique index; here the name of a file is one.
        writeFileSync(row(login), "", { flag: "wx" });
        return userOf(login);
      },
    },
    notify: (notice) => void notices.push(notice),
  },
  { argon2: FAST },
);
app.use("/account", accounts.routes());
app.get("/me", security.requireAuth(), (req, res) => void res.json(req.principal));
app.get("/notices", (_req, res) => void res.json(notices));
app.get("/created", (_req, res) => void res.json(created));

await security.ready();
const server = app.listen(0, "127.0.0.1", () => {
  const address = server.address();
  process.stdout.write(`port ${typeof address === "object" ? address?.port : ""}\n`);
});
process.stdin.resume().on("end", () => {
  server.closeAllConnections();
  server.close(() => void security.close());
});
