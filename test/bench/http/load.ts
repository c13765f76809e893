import { execFile, spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Ask } from "./scenarios.js";

const run = promisify(execFile);

/** What the load generator saw. */
export interface LoadResult {
  readonly requests: number;
  /** Answers with a status of 400 and more. */
  readonly refused: number;
  /** Connections and requests that got no answer. */
  readonly failed: number;
}

export interface LoadTool {
  readonly name: string;
  load(port: number, ask: Ask, seconds: number): Promise<LoadResult>;
}

/** wrk when it is installed, else autocannon, in a process of its own either way. */
export function findLoadTool(connections: number): LoadTool {
  const { stdout, error } = spawnSync("wrk", ["-v"], { encoding: "utf8" });
  if (error === undefined)
    return {
      name: /wrk \S+/.exec(stdout)?.[0] ?? "wrk",
      load: (port, ask, seconds) => withWrk(port, ask, seconds, connections),
    };
  return { name: "autocannon", load: (port, ask, seconds) => withAutocannon(port, ask, seconds, connections) };
}

async function withWrk(port: number, ask: Ask, seconds: number, connections: number): Promise<LoadResult> {
  const folder = await mkdtemp(join(tmpdir(), "portcullis-bench-"));
  try {
    const script = join(folder, "request.lua");
    await writeFile(script, lua(ask));
    const { stdout } = await run("wrk", [
      "-t1",
      `-c${connections}`,
      `-d${seconds}s`,
      "-s",
      script,
      `http://127.0.0.1:${port}${ask.path}`,
    ]);
    return JSON.parse(stdout.slice(stdout.lastIndexOf("{"))) as LoadResult;
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** JSON's strings are Lua's for what stands in headers: printable ASCII. */
function lua({ method, path, headers, addresses = 1 }: Ask): string {
  const fixed = [
    `wrk.method = ${JSON.stringify(method)}`,
    ...Object.entries(headers).map(
      ([name, value]) => `wrk.headers[${JSON.stringify(name)}] = ${JSON.stringify(value)}`,
    ),
  ];
  const turns = `local requests, at = {}, 0
init = function()
  for n = 1, ${addresses} do
    wrk.headers["X-Forwarded-For"] = "203.0.113." .. n
    requests[n] = wrk.format(nil, ${JSON.stringify(path)})
  end
end
request = function()
  at = at % ${addresses} + 1
  return requests[at]
end`;
  const report = `done = function(summary)
  local e = summary.errors
  io.write(string.format('\\n{"requests":%d,"refused":%d,"failed":%d}\\n', summary.requests, e.status, e.connect + e.read + e.write + e.timeout))
end`;
  return [...fixed, addresses > 1 ? turns : "", report].join("\n");
}

async function withAutocannon(port: number, ask: Ask, seconds: number, connections: number): Promise<LoadResult> {
  const script = fileURLToPath(new URL("autocannon.mjs", import.meta.url));
  const { stdout } = await run(process.execPath, [script, JSON.stringify({ port, ask, seconds, connections })]);
  return JSON.parse(stdout) as LoadResult;
}
