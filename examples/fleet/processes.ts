import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { extname } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

/** In TypeScript, or compiled, as this file is. */
const MEMBER = fileURLToPath(new URL(`member${extname(import.meta.url)}`, import.meta.url));
const END_MS = 10_000;

/** One app process: started, killed, ended and started again under the same name and port. */
export class AppProcess {
  /** What it has said about its stores since its last start. */
  readonly storeEvents: string[] = [];
  #child: ChildProcess | undefined;
  #gone: Promise<number | null> = Promise.resolve(null);
  #port = 0;

  constructor(
    readonly name: string,
    private readonly env: Readonly<Record<string, string>>,
    private readonly says: (name: string, line: string) => void,
  ) {}

  get port(): number {
    return this.#port;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Resolves with the exit code, or null after a signal. */
  get gone(): Promise<number | null> {
    return this.#gone;
  }

  /** @throws Error (rejects) with what it printed when it ends before it serves */
  async start(): Promise<void> {
    const child = fork(MEMBER, {
      silent: true,
      env: { ...process.env, ...this.env, MEMBER_NAME: this.name, PORT: String(this.#port) },
    });
    this.#child = child;
    this.#gone = once(child, "exit").then(([code]) => code as number | null);
    this.storeEvents.length = 0;
    const printed: string[] = [];
    const serves = new Promise<number>((resolve) => {
      for (const stream of [child.stdout, child.stderr]) {
        if (stream === null) continue;
        createInterface({ input: stream }).on("line", (line) => {
          printed.push(line);
          if (line.startsWith("listening ")) return resolve(Number(line.slice("listening ".length)));
          if (line.startsWith("portcullis_store_")) this.storeEvents.push(line);
          this.says(this.name, line);
        });
      }
    });
    const failed = this.#gone.then((code) =>
      Promise.reject(new Error(`${this.name} ended with ${code ?? "a signal"} at its start: ${printed.join("\n")}`)),
    );
    this.#port = await Promise.race([serves, failed]);
  }

  /** SIGKILL: no warning, no tidying. Resolves when it is gone. */
  async kill(): Promise<void> {
    this.#child?.kill("SIGKILL");
    await this.#gone;
  }

  /** SIGTERM, as a deployment ends a process; SIGKILL when it is not gone after ten seconds. Resolves with its exit code. */
  async end(): Promise<number | null> {
    const late = new AbortController();
    this.#child?.kill("SIGTERM");
    void sleep(END_MS, undefined, { signal: late.signal }).then(
      () => this.#child?.kill("SIGKILL"),
      () => undefined,
    );
    const code = await this.#gone;
    late.abort();
    return code;
  }
}
