import { startMariaDb } from "../support/servers.js";
import { startTcpProxy } from "../support/tcp-proxy.js";
import { faultyMariaDb } from "./faulty-mariadb.js";
import { whenTheDatabaseOfAccountsFails } from "./accounts-database.js";

const server = await startMariaDb();
whenTheDatabaseOfAccountsFails(faultyMariaDb(server), await startTcpProxy(server.port));
