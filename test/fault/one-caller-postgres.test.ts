import { startPostgres } from "../support/servers.js";
import { faultyPostgres } from "./faulty-postgres.js";
import { whenOneCallerFails } from "./one-caller.js";

whenOneCallerFails(faultyPostgres(await startPostgres()));
