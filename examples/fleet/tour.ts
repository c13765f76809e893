import { setTimeout as sleep } from "node:timers/promises";
import { call, type Call, type Reply } from "../quickstart/http.js";
import type { Fleet } from "./fleet.js";
import { stops } from "./tour-stops.js";

/** What later stops need of earlier ones. */
export interface Memory {
  cookie: string;
  /** The process the session was begun at. */
  begunAt: string;
  accessToken: string;
  apiKey: string;
  revokedKey: string;
}

export interface Answer extends Reply {
  /** The process that answered, as the proxy says. */
  readonly servedBy: string;
  readonly ms: number;
}

export interface Stop {
  readonly title: string;
  run(guide: Guide): Promise<void>;
}

/** Sends the client's requests, prints what came of them, and keeps count of the promises. */
export class Guide {
  readonly memory: Memory = { cookie: "", begunAt: "", accessToken: "", apiKey: "", revokedKey: "" };
  isAsPromised = true;

  constructor(readonly fleet: Fleet) {}

  /** Sends one request and prints it with its answer. `show` names the headers to print. */
  async send(request: Call, show: readonly string[] = []): Promise<Answer> {
    const answer = await this.ask(request);
    const { method = "GET", path, headers = {}, body = "" } = request;
    const sent = [
      `${method} ${path}`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${shorten(String(value), 28)}`),
      body,
    ].filter((part) => part !== "");
    console.log(`   > ${sent.join("  ")}`);
    console.log(`   < ${answer.status} from ${answer.servedBy}, ${answer.ms.toFixed(0)} ms  ${said(answer)}`);
    for (const name of show)
      console.log(`     ${name}: ${shorten(String(answer.headers[name.toLowerCase()] ?? "(none)"), 110)}`);
    return answer;
  }

  /** Sends one request and prints nothing. */
  async ask(request: Call): Promise<Answer> {
    const began = performance.now();
    const reply = await call(this.fleet.origin, request);
    return Object.assign(reply, { servedBy: String(reply.headers["x-served-by"]), ms: performance.now() - began });
  }

  /** Sends and prints a request until each process has answered it: the proxy gives them in turn. */
  async sendToBoth(request: Call, show: readonly string[] = []): Promise<Answer[]> {
    const answers: Answer[] = [];
    while (answers.length < 2 || (answers.length < 6 && new Set(answers.map(({ servedBy }) => servedBy)).size < 2))
      answers.push(await this.send(request, show));
    return answers;
  }

  says(text: string): void {
    console.log(`   ${text}`);
  }

  promise(what: string, isKept: boolean): void {
    if (!isKept) this.isAsPromised = false;
    console.log(`   ${isKept ? "as promised" : "NOT AS PROMISED"}: ${what}`);
  }

  promiseStatus(what: string, status: number, ...answers: readonly Answer[]): void {
    this.promise(what, answers.length > 0 && answers.every((answer) => answer.status === status));
  }

  /** Until it is so, at most ten seconds. @returns whether it became so, and how long that took in milliseconds */
  async until(isSo: () => boolean | Promise<boolean>, everyMs = 20): Promise<{ isSo: boolean; ms: number }> {
    const began = performance.now();
    for (;;) {
      if (await isSo()) return { isSo: true, ms: performance.now() - began };
      if (performance.now() - began > 10_000) return { isSo: false, ms: performance.now() - began };
      await sleep(everyMs);
    }
  }
}

/**
 * Shows what a client sees while processes and Redis come and go.
 *
 * @returns at how many stops the outcome was another than promised
 */
export async function tour(fleet: Fleet): Promise<number> {
  const guide = new Guide(fleet);
  console.log(
    `The fleet: ${fleet.members.map(({ name, pid }) => `${name} (pid ${pid})`).join(" and ")} behind a proxy on ${fleet.origin}.`,
  );
  console.log(`Redis: ${fleet.redis.what}. PostgreSQL: ${fleet.database.what}.`);
  console.log('"> " is what the client sent, "< " what it saw, and "[app-1] " a line that process printed.');
  let failures = 0;
  for (const [index, stop] of stops.entries()) {
    console.log(`\n== ${index + 1}. ${stop.title} ==`);
    guide.isAsPromised = true;
    try {
      await stop.run(guide);
    } catch (error) {
      guide.promise(
        `the stop ends without an error (${error instanceof Error ? error.message : String(error)})`,
        false,
      );
    }
    if (!guide.isAsPromised) failures += 1;
  }
  console.log(`\nfleet tour: ${stops.length} stops, ${failures} with another outcome than promised`);
  return failures;
}

/** The body; of a refusal its code and what it says to people. */
function said({ headers, text }: Reply): string {
  if (!String(headers["content-type"]).startsWith("application/problem+json")) return shorten(text, 110);
  const { code, title, detail } = JSON.parse(text) as { code?: string; title: string; detail?: string };
  return `${code ?? title}: ${shorten(detail ?? "", 110)}`;
}

function shorten(text: string, most: number): string {
  const line = text.replace(/\s+/g, " ");
  return line.length <= most ? line : `${line.slice(0, most)}…`;
}
