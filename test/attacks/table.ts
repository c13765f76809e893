import type { Attack, Group, Outcome } from "./attack.js";
import { REFUSALS } from "../../src/core/response/problem.js";
import { accountBodies } from "./account-bodies.js";
import { accountFactors } from "./account-factors.js";
import { accountGuessing } from "./account-guessing.js";
import { accountLinks } from "./account-links.js";
import { accountStepUp } from "./account-step-up.js";
import { addresses } from "./addresses.js";
import { apiKeys } from "./api-keys.js";
import { bodies } from "./bodies.js";
import { framing } from "./framing.js";
import { hosts } from "./hosts.js";
import { keyRoutes } from "./key-routes.js";
import { origins } from "./origins.js";
import { parsers } from "./parsers.js";
import { refreshes } from "./refreshes.js";
import { sessions } from "./sessions.js";
import { tokens } from "./tokens.js";

/** All there are, in the order of the pipeline. */
export const GROUPS: readonly Group[] = [
  hosts,
  origins,
  addresses,
  framing,
  sessions,
  apiKeys,
  keyRoutes,
  tokens,
  refreshes,
  bodies,
  parsers,
  accountGuessing,
  accountFactors,
  accountStepUp,
  accountLinks,
  accountBodies,
];

/** An outcome in the words of the table. */
export function wordsOf(outcome: Outcome): string {
  if ("refused" in outcome) return `${REFUSALS[outcome.refused].status} \`${outcome.refused}\``;
  if ("node" in outcome)
    return outcome.node === "closed" ? "Node closes the connection" : `${outcome.node} by Node itself`;
  return "served" in outcome ? String(outcome.served) : outcome.holds;
}

function row({ name, reference, outcome }: Attack): string {
  return `| ${name} | ${reference} | ${wordsOf(outcome)} |`;
}

/** The tables of README.md. A test holds that file against them. */
export function tables(): string {
  return GROUPS.map(({ title, attacks }) =>
    [
      `### ${title} (${attacks.length})`,
      "",
      "| attack | reference | outcome |",
      "|---|---|---|",
      ...attacks.map(row),
    ].join("\n"),
  ).join("\n\n");
}
