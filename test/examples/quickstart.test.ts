import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "../support/code-blocks.js";

function demo(args: string[], env: Record<string, string> = {}) {
  const child = spawn(
    process.execPath,
    ["--import", import.meta.resolve("tsx"), "examples/quickstart/main.ts", ...args],
    { cwd: ROOT, env: { ...process.env, ...env } },
  );
  const seen = { output: "" };
  child.stdout.on("data", (chunk: Buffer) => (seen.output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (seen.output += chunk.toString()));
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  return { child, seen, ended };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe("the quickstart", () => {
  it("gives every outcome that its tour announces", { timeout: 60_000 }, async () => {
    const { seen, ended } = demo(["--tour"]);
    expect(await ended, seen.output).toBe(0);
    expect(seen.output).toMatch(/\d+ requests, 0 with another outcome than promised/);
    expect(seen.output).not.toContain("NOT AS PROMISED");
  });

  it("prints requests that work, keeps its keys over a restart, and ends at SIGTERM", { timeout: 60_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), "portcullis-demo-"));
    const env = { PORT: String(await freePort()), DATABASE_URL: `sqlite:${join(folder, "demo.db")}` };
    const start = async () => {
      const run = demo([], env);
      const deadline = Date.now() + 20_000;
      while (!run.seen.output.includes("--tour")) {
        if (Date.now() > deadline) throw new Error(`the demo did not start: ${run.seen.output}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return run;
    };
    try {
      const first = await start();
      const key = /X-API-Key: ([^']+)'/.exec(first.seen.output)?.[1] ?? "";
      const ask = async () =>
        (await fetch(`http://127.0.0.1:${env.PORT}/protected`, { headers: { "X-API-Key": key } })).text();
      expect(await ask()).toBe('{"message":"Hello, demo-service!"}');
      first.child.kill("SIGTERM");
      expect(await first.ended).toBe(0);
      const second = await start();
      expect(await ask()).toBe('{"message":"Hello, demo-service!"}');
      second.child.kill("SIGTERM");
      expect(await second.ended).toBe(0);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
