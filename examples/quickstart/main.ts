import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createQuickstart } from "./app.js";
import { tour } from "./tour.js";

const touring = process.argv.includes("--tour");
// The tour takes a database of its own and any free port, so that it can run beside the demo.
const database = touring ? "sqlite::memory:" : (process.env.DATABASE_URL ?? "sqlite:quickstart.db");
const port = touring ? 0 : Number(process.env.PORT ?? 3000);
const secretKey = process.env.SECRET_KEY ?? randomBytes(32).toString("base64url");

const { app, security } = createQuickstart(database, secretKey);
await security.ready();
const server = app.listen(port, "127.0.0.1");
await once(server, "listening").catch((error: NodeJS.ErrnoException) => {
  if (error.code !== "EADDRINUSE") throw error;
  console.error(`Port ${port} is taken. Choose another: PORT=3001 npm run demo`);
  process.exit(1);
});
const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
const { key } = await security.apiKeys.create({ ownerId: "demo-service", name: "quickstart", scopes: ["read"] });

if (touring) {
  const failures = await tour(origin, key, security);
  server.close();
  server.closeAllConnections();
  await security.close();
  process.exitCode = failures === 0 ? 0 : 1;
} else {
  console.log(`portcullis quickstart on ${origin} (stop with Ctrl+C)

  A page with a nonce-d script:  ${origin}/page

  curl -i ${origin}/public
  curl -i ${origin}/protected
  curl -i -H 'X-API-Key: ${key}' ${origin}/protected
  curl -i -H 'Authorization: Bearer ${key}' ${origin}/protected
  curl -i -c jar -H 'Content-Type: application/json' -d '{"username":"ada"}' ${origin}/login
  curl -i -b jar ${origin}/me
  TOKEN=$(curl -s -b jar -X POST ${origin}/token | sed 's/.*"accessToken":"\\([^"]*\\)".*/\\1/')
  curl -i -H "Authorization: Bearer $TOKEN" ${origin}/jwt-protected
  curl -i -b jar -H 'Content-Type: application/json' -d '{"name":"my key","scopes":["read"]}' ${origin}/api-keys
  curl -i -b jar -X POST ${origin}/logout
  curl -i -H 'Host: evil.example' ${origin}/public

  The same and more, with what to expect:  npm run demo -- --tour`);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      server.close();
      server.closeAllConnections();
      void security.close();
    });
  }
}
