import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { program } from "../../support/programs.js";
import { type Answer, faults, prepare, PROTECTIVE_HEADERS, send } from "./answers.js";
import { CONTENDERS, type Contender } from "./contenders.js";
import { SCENARIOS, type Scenario } from "./scenarios.js";
import { type ServerProcess, startServer } from "./server-process.js";

/** Servers start a second or two at a time: two processors have work with more. */
const AT_ONCE = 4;
const LIMIT = 30;
const ALGORITHMS = ["HS256", "ES256"] as const;
const SECURED = CONTENDERS.filter(({ base }) => base !== undefined);
/** The source, not what may have been built from it. */
const SOURCE = { portcullis: pathToFileURL(await program("portcullis")).href };

const servers = new Map<string, ServerProcess>();
const nameOf = ({ id }: Contender, { settings }: Scenario): string => `${id} ${settings?.algorithm ?? "HS256"}`;

beforeAll(async () => {
  const waiting = ALGORITHMS.flatMap((algorithm) =>
    (algorithm === "HS256" ? CONTENDERS : SECURED).map((contender) => ({ contender, algorithm })),
  );
  const start = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { contender, algorithm } = next;
      const source = contender.file === "portcullis.mjs" ? SOURCE : {};
      servers.set(
        `${contender.id} ${algorithm}`,
        await startServer(contender, { settings: { ...source, algorithm, limit: LIMIT } }),
      );
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, start));
}, 120_000);

afterAll(() => Promise.all([...servers.values()].map((server) => server.stop())));

async function answerOf(contender: Contender, scenario: Scenario): Promise<{ answer: Answer; found: string[] }> {
  const server = servers.get(nameOf(contender, scenario))!;
  // One server for all scenarios: the limit is higher here, so filling it takes more.
  const ask = await prepare(
    server,
    contender,
    scenario.before === undefined ? scenario : { ...scenario, before: LIMIT },
  );
  const answer = await send(server.port, ask);
  return { answer, found: faults(contender, scenario, ask, answer) };
}

/** What a client can tell the servers apart by, in one spelling of lists. */
function shown({ id }: Scenario, { status, headers }: Answer): Record<string, unknown> {
  // Without `Origin` in the request the answer of CORS means nothing, and some give it all the same.
  const cors =
    id === "preflight"
      ? ["origin", "credentials", "methods", "headers"].map((part) => `access-control-allow-${part}`)
      : [];
  const values = [...PROTECTIVE_HEADERS, ...cors].map((name): [string, unknown] => [
    name,
    String(headers[name]).replace(/([,;])\s+/g, "$1"),
  ]);
  // A refused host is answered before CORS by some, after it by none.
  return {
    status,
    ...(id === "host" ? {} : { variesByOrigin: headers.vary?.includes("Origin") }),
    ...Object.fromEntries(values),
  };
}

describe("the servers of npm run bench do the same work", { timeout: 60_000 }, () => {
  // The scenario that fills the limit comes last.
  const scenarios = SCENARIOS.toSorted((a, b) => (a.before ?? 0) - (b.before ?? 0));

  it.each(scenarios)(
    "$title: every secured server answers alike, with the same protective headers",
    async (scenario) => {
      const answers = new Map<string, { answer: Answer; found: string[] }>();
      for (const contender of SECURED) answers.set(contender.title, await answerOf(contender, scenario));
      const problems = [...answers].flatMap(([title, { found }]) => found.map((fault) => `${title}: ${fault}`));
      expect(problems).toEqual([]);
      const ours = shown(scenario, answers.get("portcullis, everything on")!.answer);
      for (const [title, { answer }] of answers) expect(shown(scenario, answer), title).toEqual(ours);
    },
  );

  it.each(scenarios.filter(({ settings }) => settings?.algorithm === undefined))(
    "$title: every bare server serves",
    async (scenario) => {
      for (const contender of CONTENDERS.filter(({ base }) => base === undefined))
        expect((await answerOf(contender, scenario)).found, contender.title).toEqual([]);
    },
  );

  it("no server sends a cookie to a caller who did not log in", async () => {
    const anonymous = SCENARIOS[0]!;
    // The limit of this address is used up by now.
    const ask = { ...anonymous.ask({}), headers: { ...anonymous.ask({}).headers, "X-Forwarded-For": "203.0.113.250" } };
    for (const contender of SECURED) {
      const { status, headers } = await send(servers.get(nameOf(contender, anonymous))!.port, ask);
      expect([status, headers["set-cookie"]], contender.title).toEqual([200, undefined]);
    }
  });
});
