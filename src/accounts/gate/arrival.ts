import type { AuthenticationMethod } from "../../core/authentication.js";
import type { Exchange } from "../http/route.js";
import type { Person } from "../types.js";
import type { Delivery } from "./pending-log-ins.js";

/** Someone who has proved something. */
export interface Arrival {
  readonly person: Person;
  /** What has been proved, and when. */
  readonly methods: readonly AuthenticationMethod[];
  readonly remember: boolean;
  readonly deliver: Delivery;
  /** The page that the browser wanted. */
  readonly returnTo?: string | undefined;
  /** Ids of the credentials that the proof rests on: when one of them is gone meanwhile, it proves nothing. */
  readonly restsOn: readonly string[];
}

/** What a part does when a session has been made. It cannot undo the log-in, so it rejects with nothing. */
export type Arrived = (exchange: Exchange, person: Person) => Promise<void>;
