// Prints the table of scores of README.md from the report of the last run: node test/mutation/scores.mjs
import { readFileSync } from "node:fs";

const { files } = JSON.parse(readFileSync(new URL("../../coverage/mutation/report.json", import.meta.url), "utf8"));

function row(name, mutants) {
  const [killed, survived, timeout, unreached] = ["Killed", "Survived", "Timeout", "NoCoverage"].map(
    (status) => mutants.filter((mutant) => mutant.status === status).length,
  );
  const all = killed + survived + timeout + unreached;
  return `| ${name} | ${all} | ${killed} | ${survived} | ${timeout} | ${unreached} | ${((100 * (killed + timeout)) / all).toFixed(1)} % |`;
}

const named = Object.entries(files).sort(([one], [other]) => one.localeCompare(other));
console.log("| file | mutants | killed | survived | time-out | not reached | score |\n|---|---|---|---|---|---|---|");
for (const [file, { mutants }] of named) console.log(row(`\`${file.replace("src/", "")}\``, mutants));
console.log(
  row(
    "**all**",
    named.flatMap(([, { mutants }]) => mutants),
  ),
);
