import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

/** A TCP proxy on 127.0.0.1 that can be made to fail. Faults hold for open and new connections until `heal`. */
export interface TcpProxy {
  readonly port: number;
  /** Delays what the server says, in milliseconds, in order. */
  latency(ms: number): void;
  /** Takes bytes and passes none on, in either direction; connections stay open. */
  blackhole(): void;
  /** Resets (RST) each connection after the first byte of the server's next words. */
  resetMidReply(): void;
  /** Resets all connections and refuses new ones (ECONNREFUSED). */
  refuse(): Promise<void>;
  /** Ends the fault. Connections that lost bytes in a black hole are reset: TCP would not lose them and go on. */
  heal(): Promise<void>;
  /** New connections go to another server; open ones stay where they are, as when a name in DNS moves. */
  retarget(port: number): void;
  /** Connections open now. */
  readonly connections: number;
  close(): Promise<void>;
}

type Fault =
  { readonly kind: "none" | "blackhole" | "reset" | "refuse" } | { readonly kind: "latency"; readonly ms: number };

interface Pair {
  readonly client: Socket;
  readonly upstream: Socket;
  lostBytes: boolean;
  isResetting: boolean;
  /** What is on its way to the client, in order; an answer never overtakes an earlier one. */
  readonly held: { readonly due: number; readonly deliver: () => void }[];
}

export async function startTcpProxy(targetPort: number): Promise<TcpProxy> {
  let fault: Fault = { kind: "none" };
  let target = targetPort;
  const pairs = new Set<Pair>();
  let server = createServer({ allowHalfOpen: true }, accept);
  const port = await listen(server, 0);

  function accept(client: Socket): void {
    const upstream = connect({ port: target, host: "127.0.0.1", allowHalfOpen: true });
    const pair: Pair = { client, upstream, lostBytes: false, isResetting: false, held: [] };
    pairs.add(pair);
    client.setNoDelay(true);
    upstream.setNoDelay(true);
    client.on("data", (bytes: Buffer) => {
      if (fault.kind === "blackhole") pair.lostBytes = true;
      else upstream.write(bytes);
    });
    upstream.on("data", (bytes: Buffer) => reply(pair, bytes));
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      // A reset is one of the faults, and its cause is on the other side.
      socket.on("error", () => undefined);
      socket.on("end", () => passOn(pair, () => (pair.isResetting ? undefined : other.end())));
      socket.on("close", () =>
        passOn(pair, () => {
          pairs.delete(pair);
          if (!pair.isResetting) other.destroy();
        }),
      );
    }
  }

  function reply(pair: Pair, bytes: Buffer): void {
    switch (fault.kind) {
      case "blackhole":
        pair.lostBytes = true;
        return;
      case "reset":
        pair.isResetting = true;
        // Written and acknowledged by the kernel before the reset, so that the client has seen half an answer.
        pair.client.write(bytes.subarray(0, 1), () => setTimeout(() => reset(pair), 2));
        return;
      default:
        hold(pair, () => pair.client.write(bytes));
    }
  }

  function hold(pair: Pair, deliver: () => void): void {
    const delay = fault.kind === "latency" ? fault.ms : 0;
    if (delay === 0 && pair.held.length === 0) {
      deliver();
      return;
    }
    pair.held.push({ due: performance.now() + delay, deliver });
    if (pair.held.length === 1) setTimeout(drain, delay, pair);
  }

  /** The end of a connection is held back like its bytes are: in a black hole the other side never hears of it. */
  function passOn(pair: Pair, end: () => void): void {
    if (fault.kind === "blackhole") pair.lostBytes = true;
    else hold(pair, end);
  }

  return {
    port,
    get connections() {
      return pairs.size;
    },
    retarget: (to) => void (target = to),
    latency: (ms) => (fault = { kind: "latency", ms }),
    blackhole: () => (fault = { kind: "blackhole" }),
    resetMidReply: () => (fault = { kind: "reset" }),
    refuse: async () => {
      fault = { kind: "refuse" };
      await stop(server, pairs);
    },
    heal: async () => {
      fault = { kind: "none" };
      for (const pair of pairs) {
        if (!pair.lostBytes) continue;
        pairs.delete(pair);
        reset(pair);
      }
      if (server.listening) return;
      server = createServer({ allowHalfOpen: true }, accept);
      await listen(server, port);
    },
    close: () => stop(server, pairs),
  };
}

function drain(pair: Pair): void {
  const now = performance.now();
  while (pair.held[0] !== undefined && pair.held[0].due <= now + 1) pair.held.shift()?.deliver();
  const next = pair.held[0];
  if (next !== undefined) setTimeout(drain, next.due - now, pair);
}

function reset(pair: Pair): void {
  pair.isResetting = true;
  pair.client.resetAndDestroy();
  pair.upstream.destroy();
}

async function listen(server: Server, port: number): Promise<number> {
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

async function stop(server: Server, pairs: ReadonlySet<Pair>): Promise<void> {
  for (const pair of pairs) reset(pair);
  if (!server.listening) return;
  const closed = once(server, "close");
  server.close();
  await closed;
}
