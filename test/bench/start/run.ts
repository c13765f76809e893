/**
 * `npm run bench:start`: what a start costs beside importing Express alone. Seven starts of each, by turns, in new
 * processes; the table has medians, and the last line says which target is missed (exit status 1).
 *
 *     npm run bench:start [-- --starts 7]
 */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { median } from "../median.js";

interface Start {
  readonly cpuMs: number;
  readonly ms: number;
  readonly residentMb: number;
}

const CHILD = fileURLToPath(new URL("child.mjs", import.meta.url));
const CONTENDERS = {
  express: "Express alone",
  peers: "helmet, cors, express-rate-limit, express-session, jsonwebtoken, argon2",
  hosts: "applySecurity(app, { trustedHosts })",
  seven: "applySecurity, all seven protections",
  ready: "the same, and await security.ready()",
} as const;
type Contender = keyof typeof CONTENDERS;
const NAMES = Object.keys(CONTENDERS) as Contender[];

/** CPU time by that of importing Express, and resident memory over it in MB. */
const TARGETS = { hosts: { times: 1.5 }, seven: { times: 2.2 }, memoryMb: 20 } as const;

const { values } = parseArgs({ options: { starts: { type: "string", default: "7" } } });
const starts = Number(values.starts);
if (!Number.isInteger(starts) || starts < 1) throw new RangeError("--starts is a whole number of at least 1");

const write = (line: string): void => void process.stdout.write(`${line}\n`);
const start = (contender: Contender, format: string): Start =>
  JSON.parse(
    execFileSync(process.execPath, ["--no-warnings", CHILD, contender, format], { encoding: "utf8" }),
  ) as Start;

const missed: string[] = [];
for (const format of ["esm", "cjs"]) {
  const found = new Map<Contender, Start[]>(NAMES.map((name) => [name, []]));
  for (let turn = 0; turn < starts; turn += 1) for (const name of NAMES) found.get(name)?.push(start(name, format));
  const of = (name: Contender, fact: keyof Start): number => median((found.get(name) ?? []).map((one) => one[fact]));
  write(`\nNode ${process.versions.node}, ${format}, medians of ${starts} starts`);
  write("  CPU ms  by Express   wall ms  resident MB");
  for (const name of NAMES) {
    const times = of(name, "cpuMs") / of("express", "cpuMs");
    const columns = [
      of(name, "cpuMs").toFixed(0),
      times.toFixed(2),
      of(name, "ms").toFixed(0),
      of(name, "residentMb").toFixed(1),
    ];
    write(`  ${columns.map((column) => column.padStart(9)).join("")}  ${CONTENDERS[name]}`);
    if (name !== "hosts" && name !== "seven") continue;
    if (times > TARGETS[name].times)
      missed.push(
        `${format}: ${CONTENDERS[name]} starts in ${times.toFixed(2)} times Express, target ${TARGETS[name].times}`,
      );
    const more = of(name, "residentMb") - of("express", "residentMb");
    if (more > TARGETS.memoryMb)
      missed.push(`${format}: ${CONTENDERS[name]} needs ${more.toFixed(1)} MB more, target ${TARGETS.memoryMb}`);
  }
}
write(missed.length === 0 ? "\nAll targets are met." : `\nMissed:\n${missed.join("\n")}`);
process.exitCode = missed.length === 0 ? 0 : 1;
