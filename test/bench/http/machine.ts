import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem, type } from "node:os";
import { fileURLToPath } from "node:url";

const PACKAGES =
  "express helmet cors express-rate-limit express-session jsonwebtoken fastify @fastify/helmet @fastify/cors @fastify/rate-limit @fastify/cookie @fastify/session fast-jwt hono @hono/node-server hono-rate-limiter hono-sessions".split(
    " ",
  );

/** What the numbers depend on. */
export interface Machine {
  readonly node: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly loadAverage: number;
  readonly load: string;
  readonly packages: Readonly<Record<string, string>>;
}

/** @param node the one that runs the servers */
export function describeMachine(node: string, load: string): Machine {
  return {
    node: execFileSync(node, ["-p", "`${process.versions.node}, V8 ${process.versions.v8}`"], {
      encoding: "utf8",
    }).trim(),
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    loadAverage: loadavg()[0] ?? NaN,
    load,
    packages: Object.fromEntries(PACKAGES.map((name) => [name, versionOf(name)])),
  };
}

function versionOf(name: string): string {
  const manifest = fileURLToPath(new URL(`../../../node_modules/${name}/package.json`, import.meta.url));
  return (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version;
}

export function machineLines({ node, cpu, cores, memoryGiB, system, loadAverage, load, packages }: Machine): string {
  const versions = Object.entries(packages).map(([name, version]) => `${name} ${version}`);
  return [
    `Node ${node}; ${load}; ${cpu}, ${cores} cores, ${memoryGiB} GiB, ${system}; load average at the start ${loadAverage.toFixed(2)}`,
    versions.join(", "),
  ].join("\n\n");
}
