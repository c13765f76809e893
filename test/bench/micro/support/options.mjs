// The command line, read in the same way by run.mjs and by each subject, which runs in a process of its own.
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("../../../../", import.meta.url));

const { values } = parseArgs({
  options: {
    /** The Node to run under. */
    node: { type: "string", default: process.execPath },
    /** Names of subjects, separated by commas; all when absent. */
    only: { type: "string" },
    /** Interleaved rounds, not counting the one that warms up. */
    rounds: { type: "string" },
    /** Milliseconds each row is measured for in each round. */
    ms: { type: "string" },
    /** A short run, to see that everything works: the numbers mean little. */
    quick: { type: "boolean", default: false },
    /** Folder of the source, to measure that of another checkout beside this one. */
    src: { type: "string", default: `${root}src` },
  },
});

function count(text, usual) {
  const number = text === undefined ? usual : Number(text);
  if (!Number.isInteger(number) || number < 1)
    throw new RangeError("--rounds and --ms are whole numbers of at least 1");
  return number;
}

export const options = Object.freeze({
  node: values.node,
  only: values.only?.split(","),
  quick: values.quick,
  src: resolve(values.src),
  rounds: count(values.rounds, values.quick ? 2 : 5),
  ms: count(values.ms, values.quick ? 20 : 100),
});

/** The options as arguments for a child. */
export const childArguments = [
  ...["--rounds", String(options.rounds), "--ms", String(options.ms), "--src", options.src],
  ...(options.quick ? ["--quick"] : []),
];

/** A size, or its hundredth in a short run. */
export function size(full) {
  return options.quick ? Math.max(1, Math.round(full / 100)) : full;
}
