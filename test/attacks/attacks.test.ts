import { readFileSync } from "node:fs";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { REFUSALS } from "../../src/core/response/problem.js";
import { DEFAULT_SECURE, without } from "../headers/expected.js";
import { expectSecurityHeaders } from "../support/security-headers.js";
import { type Attack, changed, fieldsOf, MARK, type Outcome, type Seen } from "./attack.js";
import { Lab } from "./app.js";
import { GROUPS, tables, wordsOf } from "./table.js";

const lab = new Lab();
beforeAll(() => lab.open());
beforeEach(() => lab.begin());
afterAll(() => lab.close());

function perform(attack: Attack): Promise<unknown> {
  if ("ask" in attack) return lab.send(attack.ask);
  return "wire" in attack ? lab.wire(attack.wire, attack.impatient) : attack.sequence(lab, false);
}

function performTwin(attack: Attack): Promise<unknown> {
  if ("ask" in attack) return lab.send(changed(attack.ask, attack.twin ?? {}));
  return "wire" in attack
    ? lab.wire(attack.wire.replace(attack.twin?.[0] ?? "", attack.twin?.[1] ?? ""), attack.impatient)
    : attack.sequence(lab, true);
}

function outcomeOfTwin(attack: Attack): Outcome {
  if ("sequence" in attack) return attack.twin?.outcome ?? attack.outcome;
  return { served: attack.served ?? 200, ...("answers" in attack ? { answers: attack.answers } : {}) };
}

/** What every outcome has to be; a refusal is held to everything the library promises of one. */
function judge(outcome: Outcome, result: unknown): void {
  if ("holds" in outcome) {
    expect(result).toEqual(outcome.evidence);
    return;
  }
  const seen = result as Seen;
  if ("node" in outcome) judgeNode(outcome.node, seen);
  else if ("served" in outcome) expect([seen.status, seen.responses]).toEqual([outcome.served, outcome.answers ?? 1]);
  else {
    const { status } = REFUSALS[outcome.refused];
    expect([seen.status, seen.text]).toEqual([status, expect.stringContaining(`"code":"${outcome.refused}"`)]);
    expect(seen.headers["content-type"]).toBe("application/problem+json; charset=utf-8");
    expect(seen.headers["cache-control"]).toBe("no-store");
    // Over a connection that says it is plain there is no Strict-Transport-Security (RFC 6797 section 7.2).
    expectSecurityHeaders(
      seen,
      outcome.over === "http" ? without(DEFAULT_SECURE, "Strict-Transport-Security") : DEFAULT_SECURE,
    );
    expect(JSON.stringify([seen.rawHeaders, seen.text])).not.toContain(MARK);
    // Two cookies of one name are taken back; no other cookie is set.
    const cookies = [seen.headers["set-cookie"] ?? []].flat();
    const kept = cookies.filter((line) => !line.startsWith("__Host-mcp_session=; Max-Age=0; "));
    expect([seen.reached, seen.responses, kept]).toEqual([[], 1, []]);
  }
}

/** Node's parser: no middleware has run, so there is a status, what frames an empty body, and no header of ours. */
const OF_NODE = new Set(["connection", "date", "transfer-encoding"]);

function judgeNode(status: number | "closed", seen: Seen): void {
  expect([seen.status, seen.responses, seen.reached]).toEqual(status === "closed" ? [0, 0, []] : [status, 1, []]);
  expect(Object.keys(seen.headers).filter((name) => !OF_NODE.has(name))).toEqual([]);
}

describe.each(GROUPS)("$title", ({ attacks }) => {
  it.each(
    attacks.map((attack) => [`${attack.name} (${attack.reference}): ${wordsOf(attack.outcome)}`, attack] as const),
  )("%s", async (_title, attack) => {
    judge(attack.outcome, await perform(attack));
  });

  it.each(attacks.flatMap((attack) => (attack.twin === undefined ? [] : [[attack.name, attack] as const])))(
    "the twin of: %s",
    async (_name, attack) => {
      judge(outcomeOfTwin(attack), await performTwin(attack));
    },
  );
});

describe("after all attacks", () => {
  it("no error reached the app, no prototype was changed, and no event repeats more than the path", () => {
    expect(lab.errors).toEqual([]);
    expect(Object.keys(Object.prototype)).toEqual([]);
    expect(lab.events.length).toBeGreaterThan(200);
    expect(lab.events.filter((event) => event.includes(MARK) && !event.includes('"path":"/api-keys/'))).toEqual([]);
    const { errors, events } = lab.accounts;
    expect(errors).toEqual([]);
    expect(events.length).toBeGreaterThan(200);
    // Names of people, passwords and codes have the mark in them.
    expect(events.filter((event) => event.toLowerCase().includes(MARK.toLowerCase()))).toEqual([]);
  });
});

describe("the list of attacks", () => {
  const all = GROUPS.flatMap(({ attacks }) => attacks);

  it("has at least sixty attacks, each named once in its group and with a reference", () => {
    expect(all.length).toBeGreaterThanOrEqual(60);
    for (const { attacks } of GROUPS) expect(new Set(attacks.map(({ name }) => name)).size).toBe(attacks.length);
    for (const { reference } of all)
      expect(reference).toMatch(
        /^(CWE-\d+|CVE-\d{4}-\d+|GHSA-[\w-]+|RFC \d+ [\d.]+|V\d+\.\d+\.\d+|[\w-]+\/[\w.-]+#\d+)$/,
      );
  });

  it("has a twin for nearly every attack, which differs in one thing and is served", () => {
    for (const { title, attacks } of GROUPS)
      expect([title, attacks.filter(({ twin }) => twin !== undefined).length > attacks.length / 2]).toEqual([
        title,
        true,
      ]);
    for (const attack of all) {
      if ("ask" in attack && attack.twin !== undefined)
        expect([attack.name, fieldsOf(attack.twin).length]).toEqual([attack.name, 1]);
      if ("wire" in attack && attack.twin !== undefined)
        expect([attack.name, attack.wire.includes(attack.twin[0])]).toEqual([attack.name, true]);
      if ("sequence" in attack && attack.twin !== undefined) expect("refused" in attack.twin.outcome).toBe(false);
    }
  });

  it("has the numbers that README.md gives", () => {
    const readme = readFileSync(new URL("README.md", import.meta.url), "utf8");
    expect(readme.slice(readme.indexOf("### "))).toBe(`${tables()}\n`);
    expect(readme).toContain(`${all.length} attacks`);
  });
});
