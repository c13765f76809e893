import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** A real server on a free port of 127.0.0.1, with its data in a temporary folder. */
export interface RunningServer {
  readonly url: string;
  readonly port: number;
  /** Changes with `restart`. */
  readonly pid: number;
  /** SIGSTOP: connections stay open and nothing answers. */
  pause(): void;
  resume(): void;
  /** SIGKILL, children included; resolves when they are gone. */
  kill(): Promise<void>;
  /** Same port, same data. Kills it first when it runs. */
  restart(): Promise<void>;
  /** Kills it and removes its folder. */
  close(): Promise<void>;
}

export interface ServerKind {
  readonly name: string;
  /** Runs once in the new folder, before the first start. */
  prepare?(folder: string, user: User | undefined): Promise<void>;
  command(folder: string, port: number): { file: string; args: readonly string[] };
  /** Resolves when a client is served; rejects while not. */
  probe(port: number): Promise<void>;
  url(port: number): string;
  /** System user to run as when this process is root; some servers refuse to be root. */
  readonly user?: string;
}

export interface User {
  readonly uid: number;
  readonly gid: number;
}

const START_TIMEOUT_MS = 30_000;

let home: string | undefined;

/**
 * The folder of this process's servers. A shell waits for the end of its standard input, which comes when this process
 * ends in whatever way (SIGKILL included), then kills the servers named in the folder and removes it.
 */
function homeFolder(): string {
  if (home !== undefined) return home;
  home = mkdtempSync(join(tmpdir(), "portcullis-test-"));
  chmodSync(home, 0o755);
  const script =
    'cat >/dev/null; for file in "$1"/*/pids; do [ -f "$file" ] && kill -9 $(cat "$file") 2>/dev/null; done; sleep 0.3; rm -rf "$1"';
  const reaper = spawn("/bin/sh", ["-c", script, "reaper", home], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  reaper.unref();
  (reaper.stdin as unknown as { unref(): void }).unref();
  return home;
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** @throws Error with what the server printed when it does not come up */
export async function startServer(kind: ServerKind): Promise<RunningServer> {
  const folder = mkdtempSync(join(homeFolder(), `${kind.name}-`));
  const data = join(folder, "data");
  mkdirSync(data);
  chmodSync(folder, 0o755);
  const user = process.getuid?.() === 0 && kind.user !== undefined ? systemUser(kind.user) : undefined;
  if (user !== undefined) chownSync(data, user.uid, user.gid);
  chmodSync(data, 0o700);
  await kind.prepare?.(data, user);
  // Another process may take the port between finding it free and the start: then with another one.
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    const launch = (): Promise<ChildProcess> => launchServer(kind, folder, port, user);
    try {
      return new ServerHandle(kind, folder, port, launch, await launch());
    } catch (error) {
      if (attempt === 3) {
        rmSync(folder, { recursive: true, force: true });
        throw error;
      }
    }
  }
}

async function launchServer(
  kind: ServerKind,
  folder: string,
  port: number,
  user: User | undefined,
): Promise<ChildProcess> {
  const { file, args } = kind.command(join(folder, "data"), port);
  const log = join(folder, "log");
  const out = openSync(log, "w");
  // Detached, so that Ctrl-C in a terminal reaches the test runner only.
  const child = spawn(file, [...args], {
    cwd: join(folder, "data"),
    stdio: ["ignore", out, out],
    detached: true,
    ...user,
  });
  closeSync(out);
  let failed: Error | undefined;
  child.on("error", (error) => (failed = error));
  child.unref();
  if (child.pid !== undefined) writeFileSync(join(folder, "pids"), `${child.pid}\n`);
  const end = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    if (failed !== undefined || child.exitCode !== null || child.signalCode !== null || Date.now() > end) {
      child.kill("SIGKILL");
      throw new Error(
        `${kind.name} did not start (${failed?.message ?? `exit ${child.exitCode ?? child.signalCode ?? "none"}`}): ${readFileSync(log, "utf8").slice(-2000)}`,
      );
    }
    try {
      await kind.probe(port);
      if (child.exitCode === null) return child;
    } catch {
      await sleep(20);
    }
  }
}

class ServerHandle implements RunningServer {
  #child: ChildProcess;

  constructor(
    private readonly kind: ServerKind,
    private readonly folder: string,
    readonly port: number,
    private readonly launch: () => Promise<ChildProcess>,
    child: ChildProcess,
  ) {
    this.#child = child;
  }

  get url(): string {
    return this.kind.url(this.port);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  pause(): void {
    for (const pid of [this.pid, ...descendants(this.pid)]) signal(pid, "SIGSTOP");
  }

  resume(): void {
    for (const pid of [this.pid, ...descendants(this.pid)]) signal(pid, "SIGCONT");
  }

  async kill(): Promise<void> {
    rmSync(join(this.folder, "pids"), { force: true });
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const children = descendants(this.pid);
    this.#child.ref();
    const gone = once(this.#child, "exit");
    for (const pid of [this.pid, ...children]) signal(pid, "SIGKILL");
    await gone;
    while (children.some(isAlive)) await sleep(5);
  }

  async restart(): Promise<void> {
    await this.kill();
    this.#child = await this.launch();
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** A PostgreSQL backend is a process of its own that outlives a stopped or killed parent. `ps` is not on every Linux, /proc is. */
function descendants(parent: number): number[] {
  if (process.platform !== "linux") return [];
  const byParent = new Map<number, number[]>();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const ppid = parentOf(Number(entry));
    if (ppid !== undefined) byParent.set(ppid, [...(byParent.get(ppid) ?? []), Number(entry)]);
  }
  const found: number[] = [];
  collect(parent, byParent, found);
  return found;
}

function collect(pid: number, byParent: ReadonlyMap<number, number[]>, found: number[]): void {
  for (const child of byParent.get(pid) ?? []) {
    found.push(child);
    collect(child, byParent, found);
  }
}

function parentOf(pid: number): number | undefined {
  const fields = stat(pid);
  return fields === undefined ? undefined : Number(fields[1]);
}

function isAlive(pid: number): boolean {
  return ![undefined, "Z"].includes(stat(pid)?.[0]);
}

/** The fields after the name, which may hold spaces: state, parent, … (proc_pid_stat(5)). */
function stat(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined;
  }
}

export function systemUser(name: string): User {
  for (const wanted of [name, "nobody"]) {
    const line = readFileSync("/etc/passwd", "utf8")
      .split("\n")
      .find((entry) => entry.startsWith(`${wanted}:`));
    if (line !== undefined) return { uid: Number(line.split(":")[2]), gid: Number(line.split(":")[3]) };
  }
  throw new Error(
    `${name} must not run as root, and there is no user "${name}" or "nobody" to run it as. Run the tests as an ordinary user.`,
  );
}
