import { redisSays, type RunningServer } from "../support/servers.js";
import type { TcpProxy } from "../support/tcp-proxy.js";
import { type Fault, SILENT_MS } from "./outage.js";

/** What can go wrong between an app and its Redis, the proxy being the way there. */
export function networkFaults(proxy: TcpProxy): Fault[] {
  return [
    { name: "latency of 400 ms", begin: () => proxy.latency(400), end: () => proxy.heal(), lastsMs: SILENT_MS },
    { name: "black hole", begin: () => proxy.blackhole(), end: () => proxy.heal(), lastsMs: SILENT_MS },
    { name: "reset mid-reply", begin: () => proxy.resetMidReply(), end: () => proxy.heal() },
    { name: "connection refused", begin: () => proxy.refuse(), end: () => proxy.heal() },
  ];
}

export function processFaults(server: RunningServer): Fault[] {
  return [
    { name: "SIGSTOP", begin: () => server.pause(), end: () => server.resume(), lastsMs: SILENT_MS },
    { name: "SIGKILL", begin: () => server.kill(), end: () => server.restart() },
  ];
}

export async function redisDo(server: RunningServer, ...commands: string[]): Promise<void> {
  const answer = await redisSays(server.port, ...commands);
  if (/^-/m.test(answer)) throw new Error(answer);
}
