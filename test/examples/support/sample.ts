import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type IncomingHttpHeaders, request } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import ts from "typescript";
import { codeBlocks, ROOT } from "../../support/code-blocks.js";
import { freePort } from "../../support/servers/process.js";

/** The one code block of a page whose code has a text in it. */
export function blockWith(page: string, kind: string, text: string): string {
  const found = codeBlocks(page).filter(({ info, code }) => info === kind && code.includes(text));
  const [block] = found;
  if (block === undefined || found.length > 1)
    throw new Error(`${page} has ${found.length} ${kind} blocks with ${text}; this needs one.`);
  return block.code;
}

/** TypeScript of a page as JavaScript. */
export function asJavaScript(code: string): string {
  const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 };
  return ts.transpileModule(code, { compilerOptions }).outputText;
}

export interface Sent {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** What the answer set, as a Cookie header sends it back. */
  readonly cookie: string;
}

/** The app of a page, in a process of its own. */
export class Sample {
  #output = "";
  /** The exit code; null after a signal. */
  readonly ended: Promise<number | null>;

  private constructor(
    readonly port: number,
    /** Where the file is: inside the repository, so that `portcullis` is the built package. */
    readonly folder: string,
    readonly child: ChildProcess,
  ) {
    for (const stream of [child.stdout, child.stderr])
      stream?.on("data", (chunk: Buffer) => (this.#output += chunk.toString()));
    this.ended = once(child, "exit").then(([code]) => code as number | null);
  }

  /** Starts code that listens on port 3000, on a free port. */
  static async start(code: string, env: Readonly<Record<string, string>> = {}): Promise<Sample> {
    const folder = mkdtempSync(join(ROOT, "test/examples/sample-"));
    const port = await freePort();
    const file = join(folder, "app.mjs");
    writeFileSync(file, asJavaScript(code).replace(/listen\(3000(?:, "127\.0\.0\.1")?/, `listen(${port}, "127.0.0.1"`));
    const variables = {
      ...process.env,
      NODE_ENV: "production",
      SECRET_KEY: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E",
      ...env,
    };
    const sample = new Sample(port, folder, spawn(process.execPath, [file], { cwd: folder, env: variables }));
    try {
      await sample.#listens();
    } catch (error) {
      await sample.close();
      throw error;
    }
    return sample;
  }

  /** What it has printed. */
  get output(): string {
    return this.#output;
  }

  /** One request over a connection of its own. */
  send(host: string, path: string, { method = "GET", headers = {}, body }: Sent = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const options = { host: "127.0.0.1", port: this.port, path, method, agent: false };
      const outgoing = request({ ...options, headers: { Host: host, ...headers } }, (answer) => {
        let text = "";
        answer.on("data", (chunk: Buffer) => (text += chunk.toString()));
        answer.on("error", reject);
        answer.on("end", () => {
          const cookie = (answer.headers["set-cookie"] ?? []).map((line) => line.split(";")[0]).join("; ");
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text, cookie });
        });
      });
      outgoing.on("error", reject);
      outgoing.end(body);
    });
  }

  /** Ends it at once and removes its folder. */
  async close(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.ended;
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #listens(): Promise<void> {
    const deadline = Date.now() + 60_000;
    while (Date.now() < deadline && this.child.exitCode === null) {
      try {
        return await reachable(this.port);
      } catch {
        await sleep(50);
      }
    }
    throw new Error(`The sample does not listen: ${this.#output}`);
  }
}

/** Rejects while nothing listens on the port. */
export async function reachable(port: number): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  socket.destroy();
}
