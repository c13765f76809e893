import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { pack, Project } from "../packaging/support/project.js";
import { codeBlocks, type CodeBlock } from "../support/code-blocks.js";

const run = promisify(execFile);
const blocks = codeBlocks("README.md");
/** An empty folder, as in the README. */
const project = new Project("module");
rmSync(join(project.folder, "package.json"));

/** The first blocks of the two samples. */
const first = blocks.findIndex(({ code }) => code.startsWith("npm install portcullis"));
const second = blocks.findIndex(({ code }) => code.includes("trustProxy: 1"));

function block(from: number, offset: number, info: string): CodeBlock {
  const found = blocks[from + offset];
  if (from < 0 || found?.info !== info) throw new Error(`README.md has no ${info} block there.`);
  return found;
}

/** A shell in the folder, whose npm installs the packed tarball for the name of the package. */
async function shell(script: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const { stdout } = await run("sh", ["-ec", script], { cwd: project.folder, env: { ...clean(), ...env } });
  return stdout;
}

/** The variables of this process without those of the test runner and of a configured app. */
function clean(): NodeJS.ProcessEnv {
  const own = /^(?:NODE_ENV|NODE_OPTIONS|VITEST.*|DEBUG|SECRET_KEY|PORTCULLIS_.*|REDIS_URL|DATABASE_URL)$/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !own.test(name)));
}

const installed = (script: string): string =>
  script.replace(/\bportcullis\b/, pack().tarball).replaceAll("npm install", "npm install --prefer-offline --no-audit");

interface Served {
  /** The port of the README, or another one while something else of this machine has it. */
  readonly port: number;
  stop(): Promise<{ code: number | null; output: string }>;
}

/** Runs a shell line that starts a server, and waits until it listens. */
async function serve(script: string, file: string, code: string): Promise<Served> {
  const ports = [...((await answers(3000)) ? [] : [3000]), await freePort()];
  for (const port of ports) {
    project.write(file, code.replace("listen(3000)", `listen(${port})`));
    // exec: the signal must reach the server, not the shell.
    const line = script.replace(/\bnode (?=\S+\.mjs\s*$)/, "exec node ");
    const child = spawn("sh", ["-ec", line], { cwd: project.folder, env: clean() });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
    const ended = once(child, "exit").then(([code]) => code as number | null);
    onTestFinished(() => void child.kill("SIGKILL"));
    const isUp = await Promise.race([listens(port, child), ended.then(() => false)]);
    if (isUp)
      return {
        port,
        stop: async () => {
          child.kill("SIGTERM");
          return { code: await ended, output };
        },
      };
    if (!output.includes("EADDRINUSE")) throw new Error(`${file} did not start: ${output}`);
  }
  throw new Error("No port is free.");
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** Whether anything listens on a port. */
function answers(port: number): Promise<boolean> {
  const socket = connect(port, "localhost");
  return new Promise<boolean>((resolve) => {
    socket.once("connect", () => resolve(true));
    socket.once("error", () => resolve(false));
  }).finally(() => socket.destroy());
}

/** Resolves when the port answers, to whether the child still runs then: it ends when another server has taken the port. */
async function listens(port: number, child: ChildProcess): Promise<boolean> {
  const deadline = Date.now() + 120_000;
  while (Date.now() < deadline && child.exitCode === null) {
    await sleep(50);
    if (!(await answers(port))) continue;
    await sleep(300);
    return child.exitCode === null;
  }
  throw new Error("The sample does not listen.");
}

/** The curl lines of a block: the command, and the answer that the comment behind it states. */
function requestsOf({ code }: CodeBlock): { command: string; answer: string }[] {
  return code
    .trim()
    .split("\n")
    .map((line) => {
      const [, command = "", answer = ""] = /^(curl .+?) +# (\d{3}.*)$/.exec(line) ?? [];
      if (command === "") throw new Error(`Not a request with its answer: ${line}`);
      return { command, answer };
    });
}

/** An answer as the README writes it: the status, then what kind of answer it is. */
function shown(raw: string): string {
  const [head = "", body = ""] = raw.split("\r\n\r\n");
  const status = /^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? "";
  const isProblem = /^content-type: application\/problem\+json/im.test(head);
  const hasCookie = /^set-cookie: [\w-]+session=/im.test(head);
  const said = isProblem ? (JSON.parse(body) as { code: string }).code : hasCookie ? "and a session cookie" : body;
  return said === "" ? status : `${status} ${said}`;
}

async function expectAnswers(block: CodeBlock, port: number): Promise<void> {
  const requests = requestsOf(block);
  const given: string[] = [];
  for (const { command } of requests)
    given.push(shown(await shell(command.replace("curl", "curl -sS").replaceAll(":3000", `:${port}`))));
  expect(given).toEqual(requests.map(({ answer }) => answer));
  expect(given.length).toBeGreaterThan(2);
}

describe("README.md, pasted into an empty folder", () => {
  beforeAll(async () => {
    await shell(installed(block(first, 0, "sh").code));
  }, 300_000);
  afterAll(() => project.remove());

  it("has a first sample that starts and gives the printed answers", { timeout: 120_000 }, async () => {
    const server = await serve(block(first, 2, "sh").code, "app.mjs", block(first, 1, "ts").code);
    await expectAnswers(block(first, 3, "sh"), server.port);
    const { output } = await server.stop();
    expect(output).toBe("");
  });

  it(
    "has a sample for production that starts, gives the printed answers and ends by itself",
    { timeout: 300_000 },
    async () => {
      project.write("make-key.mjs", block(second, 1, "ts").code);
      const server = await serve(installed(block(second, 2, "sh").code), "server.mjs", block(second, 0, "ts").code);
      await expectAnswers(block(second, 3, "sh"), server.port);
      const { code, output } = await server.stop();
      expect([code, output.match(/Error/)]).toEqual([0, null]);
    },
  );
});
