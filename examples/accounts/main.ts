import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createExample } from "./app.js";
import { mailOf } from "./mail.js";

const port = Number(process.env.PORT ?? 3000);
const folder = process.env.ACCOUNTS_FOLDER ?? ".";
const origin = `http://localhost:${port}`;
const example = createExample({
  file: join(folder, "accounts-example.db"),
  secretKey: secretKey(),
  origin,
  sendMail: (notice) => console.log(`\n${mailOf(notice)}`),
});
await example.security.ready();
const server = example.app.listen(port, "localhost");
await once(server, "listening").catch((error: NodeJS.ErrnoException) => {
  if (error.code !== "EADDRINUSE") throw error;
  console.error(`Port ${port} is taken. Choose another: PORT=3001 npm run demo:accounts`);
  process.exit(1);
});
console.log(`Open ${origin}/register. Mail is printed here. Stop with Ctrl+C.`);
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    server.close();
    server.closeAllConnections();
    void example.close();
  });
}

/** Kept beside the database: without it the authenticator apps of the people in it could not be read any more. */
function secretKey(): string {
  const file = join(folder, "accounts-example.db-key");
  if (process.env.SECRET_KEY !== undefined) return process.env.SECRET_KEY;
  if (!existsSync(file)) writeFileSync(file, randomBytes(32).toString("base64url"), { mode: 0o600, flag: "wx" });
  return readFileSync(file, "utf8");
}
