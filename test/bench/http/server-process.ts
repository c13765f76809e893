import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Contender } from "./contenders.js";
import type { Credentials } from "./scenarios.js";

/** What `servers/common.mjs` reads. */
export interface ServerSettings {
  readonly limit: number;
  readonly algorithm: "HS256" | "ES256";
  /** What to import as portcullis instead of the built package. */
  readonly portcullis: string;
}

/** What a server has done since it started. */
export interface Work {
  /** User and system time, microseconds, all threads. */
  readonly user: number;
  readonly system: number;
  readonly requests: number;
  /** Its own clock, milliseconds. */
  readonly at: number;
}

export interface StartOptions {
  readonly settings?: Partial<ServerSettings> | undefined;
  /** The Node to run it. */
  readonly node?: string;
}

/** A server in a process of its own, on a private port of the loopback interface. */
export interface ServerProcess {
  readonly port: number;
  readonly credentials: Credentials;
  work(): Promise<Work>;
  stop(): Promise<void>;
}

/** @throws Error with what it wrote when it ends before it listens */
export async function startServer(
  { file, variant }: Contender,
  { settings, node = process.execPath }: StartOptions = {},
): Promise<ServerProcess> {
  const child = fork(
    fileURLToPath(new URL(`servers/${file}`, import.meta.url)),
    [JSON.stringify({ ...settings, variant })],
    {
      execPath: node,
      execArgv: [],
      cwd: fileURLToPath(new URL("../../..", import.meta.url)),
      // Express and others are slower in development. Nothing of the harness's own environment reaches the server.
      env: { PATH: process.env["PATH"], NODE_ENV: "production" },
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    },
  );
  let written = "";
  child.stderr?.on("data", (chunk: Buffer) => (written = (written + chunk.toString()).slice(-4000)));
  const { port, credentials } = await answer<{ port: number; credentials: Credentials }>(
    child,
    () => `${file} did not start:\n${written}`,
  );
  return {
    port,
    credentials,
    work: () => {
      const reply = answer<Work>(child, () => `${file} ended:\n${written}`);
      child.send("work");
      return reply;
    },
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, "exit");
      child.disconnect();
      await ended;
    },
  };
}

async function answer<T>(child: ChildProcess, why: () => string): Promise<T> {
  const waiting = new AbortController();
  try {
    const ended = once(child, "exit", { signal: waiting.signal }).then(() => Promise.reject(new Error(why())));
    const [message] = (await Promise.race([once(child, "message", { signal: waiting.signal }), ended])) as [T];
    return message;
  } finally {
    waiting.abort();
  }
}
