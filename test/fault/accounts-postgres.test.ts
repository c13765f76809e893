import { startPostgres } from "../support/servers.js";
import { startTcpProxy } from "../support/tcp-proxy.js";
import { faultyPostgres } from "./faulty-postgres.js";
import { whenTheDatabaseOfAccountsFails } from "./accounts-database.js";

const server = await startPostgres();
whenTheDatabaseOfAccountsFails(faultyPostgres(server), await startTcpProxy(server.port));
