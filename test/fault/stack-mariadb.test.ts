import { startMariaDb } from "../support/servers.js";
import { startTcpProxy } from "../support/tcp-proxy.js";
import { faultyMariaDb } from "./faulty-mariadb.js";
import { whenTheDatabaseFails } from "./stack-database.js";

const server = await startMariaDb();
whenTheDatabaseFails(faultyMariaDb(server), await startTcpProxy(server.port));
