import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";

/** The loader by its path, so that it is found from a folder without node_modules too. */
const TSX = pathToFileURL(fileURLToPath(new URL("../../node_modules/tsx/dist/loader.mjs", import.meta.url))).href;

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  out: string;
  err: string;
}

export interface Child {
  process: ChildProcess;
  ended: Promise<Ended>;
}

/** Runs a program in a Node of its own, a TypeScript file by tsx. `onLine` is called with each line it prints. */
export function runChild(
  script: string,
  args: readonly string[],
  options: { cwd?: string; nodeFlags?: readonly string[]; onLine?: (line: string, child: ChildProcess) => void } = {},
): Child {
  // Node 22 tells on stderr that node:sqlite is experimental; what the tests look for there are errors.
  const loader = script.endsWith(".ts") ? ["--import", TSX] : [];
  const flags = ["--disable-warning=ExperimentalWarning", ...(options.nodeFlags ?? []), ...loader];
  const child = spawn(process.execPath, [...flags, script, ...args], {
    cwd: options.cwd,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => (err += chunk));
  createInterface({ input: child.stdout }).on("line", (line) => {
    out += `${line}\n`;
    options.onLine?.(line, child);
  });
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, out, err }));
  });
  return { process: child, ended };
}
