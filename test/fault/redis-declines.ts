import type { RunningServer } from "../support/servers.js";
import type { Fault } from "./outage.js";
import { redisDo } from "./redis-faults.js";

/** States in which Redis answers and writes nothing, each with the reason that is announced. */
export function declines(redis: RunningServer): (Fault & { readonly reason: string })[] {
  const set = (begin: string, end: string): Pick<Fault, "begin" | "end"> => ({
    begin: () => redisDo(redis, begin),
    end: () => redisDo(redis, end),
  });
  return [
    {
      name: "OOM (maxmemory, noeviction)",
      reason: "out-of-memory",
      ...set("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
    },
    { name: "READONLY (REPLICAOF)", reason: "read-only", ...set("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE") },
    {
      name: "NOREPLICAS (min-replicas-to-write)",
      reason: "too-few-replicas",
      ...set("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
    },
    {
      name: "NOPERM (no right to write)",
      reason: "no-rights",
      ...set("ACL SETUSER default -@write", "ACL SETUSER default +@write"),
    },
  ];
}
