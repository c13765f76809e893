import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { ROOT } from "../support/code-blocks.js";
import { program } from "../support/programs.js";

/** As `npm run demo:fleet` runs it. */
const COMMAND = ["--import", import.meta.resolve("tsx"), "examples/fleet/main.ts"];
/** The same program, which starts in a fraction of the time. */
const compiled = async (): Promise<string[]> => [await program("fleet-example/main")];

/** The example with a temporary folder of its own, by which everything it started can be found. */
function fleet(command: string[], env: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), "portcullis-fleet-demo-"));
  chmodSync(folder, 0o755); // PostgreSQL runs as another user when this one is root
  // Other suites have the same two cores: a store that is slow for that reason is not one that is away.
  const child = spawn(process.execPath, command, {
    cwd: ROOT,
    env: { ...process.env, STORE_TIMEOUT_MS: "3000", ...env, TMPDIR: folder },
  });
  const seen = { output: "" };
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => (seen.output += chunk.toString()));
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await ended;
    await expect.poll(() => leftRunning(folder), { timeout: 10_000 }).toEqual([]);
    rmSync(folder, { recursive: true, force: true });
  });
  return { child, folder, seen, ended };
}

/** Processes that know the folder: by their environment, their arguments or their working directory. The main process is one of them. */
function leftRunning(folder: string): string[] {
  if (!existsSync("/proc/self/environ")) return [];
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return ["environ", "cmdline"].some((file) => readFileSync(`/proc/${pid}/${file}`, "utf8").includes(folder));
    } catch {
      return false; // gone meanwhile, or somebody else's
    }
  });
}

describe("the fleet", () => {
  it("gives every outcome that its tour announces, and leaves no process running", { timeout: 180_000 }, async () => {
    const { folder, seen, ended } = fleet([...COMMAND, "--tour"]);
    expect(await ended, seen.output).toBe(0);
    expect(seen.output.trimEnd().split("\n").at(-1)).toBe("fleet tour: 13 stops, 0 with another outcome than promised");
    expect(seen.output).not.toContain("NOT AS PROMISED");
    await expect.poll(() => leftRunning(folder), { timeout: 5000 }).toEqual([]);
  });

  it(
    "serves without the tour, restarts a killed process, and ends with every process it started",
    { timeout: 120_000 },
    async () => {
      const { child, folder, seen, ended } = fleet(await compiled(), { PORT: "0" });
      await expect.poll(() => seen.output, { timeout: 60_000 }).toContain("--tour");
      const origin = /fleet on (\S+)/.exec(seen.output)?.[1] ?? "";
      const answeredBy = async (): Promise<unknown> =>
        ((await (await fetch(origin)).json()) as { answeredBy: string }).answeredBy;
      expect([await answeredBy(), await answeredBy()].sort()).toEqual(["app-1", "app-2"]);
      expect(leftRunning(folder).length).toBeGreaterThanOrEqual(3);

      process.kill(Number(/app-1 on port \d+, pid (\d+)/.exec(seen.output)?.[1]), "SIGKILL");
      expect([await answeredBy(), await answeredBy()]).toEqual(["app-2", "app-2"]);
      await expect.poll(() => seen.output, { timeout: 30_000 }).toContain("[app-1] serves again");
      await expect.poll(answeredBy, { timeout: 5000 }).toBe("app-1");

      child.kill("SIGINT");
      expect(await ended, seen.output).toBe(0);
      await expect.poll(() => leftRunning(folder), { timeout: 5000 }).toEqual([]);
    },
  );

  it("leaves no process behind when it is killed itself", { timeout: 120_000 }, async () => {
    const { child, folder, seen } = fleet(await compiled(), { PORT: "0" });
    await expect.poll(() => seen.output, { timeout: 60_000 }).toContain("--tour");
    child.kill("SIGKILL");
    await expect.poll(() => leftRunning(folder), { timeout: 15_000 }).toEqual([]);
  });
});
