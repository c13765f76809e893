import { startPostgres } from "../support/servers.js";
import { startTcpProxy } from "../support/tcp-proxy.js";
import { faultyPostgres } from "./faulty-postgres.js";
import { whenTheDatabaseFails } from "./stack-database.js";

const server = await startPostgres();
whenTheDatabaseFails(faultyPostgres(server), await startTcpProxy(server.port));
