import { startMariaDb } from "../support/servers.js";
import { faultyMariaDb } from "./faulty-mariadb.js";
import { whenOneCallerFails } from "./one-caller.js";

whenOneCallerFails(faultyMariaDb(await startMariaDb()));
