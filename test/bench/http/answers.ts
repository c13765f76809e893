import { request, type IncomingHttpHeaders } from "node:http";
import type { Contender } from "./contenders.js";
import { type Ask, type Credentials, limitHeaders, type Scenario } from "./scenarios.js";
import type { ServerProcess } from "./server-process.js";

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** What every answer of a secured server carries. */
export const PROTECTIVE_HEADERS = [
  "content-security-policy",
  "cross-origin-opener-policy",
  "cross-origin-resource-policy",
  "permissions-policy",
  "referrer-policy",
  "strict-transport-security",
  "x-content-type-options",
  "x-frame-options",
  "x-xss-protection",
] as const;

export function send(port: number, { method, path, headers }: Ask): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: "127.0.0.1", port, method, path, headers, agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (body += chunk));
      response.on("error", reject);
      response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
    });
    sent.on("error", reject);
    sent.end();
  });
}

/** Brings a server into the state of a scenario; gives the request to measure. */
export async function prepare(server: ServerProcess, contender: Contender, scenario: Scenario): Promise<Ask> {
  let credentials: Credentials = server.credentials;
  if (scenario.logsIn === true && contender.base !== undefined) {
    const { status, headers } = await send(server.port, { ...scenario.ask({}), method: "POST", path: "/login" });
    const cookie = headers["set-cookie"]?.map((line) => line.split(";")[0]).join("; ");
    if (status !== 204 || cookie === undefined)
      throw new Error(
        `${contender.title}: the log-in answered ${status}, ${cookie === undefined ? "without" : "with"} a cookie`,
      );
    credentials = { ...credentials, cookie };
  }
  const ask = scenario.ask(credentials);
  for (let sent = 0; sent < (scenario.before ?? 0); sent += 1) await send(server.port, ask);
  return ask;
}

/** What a server answers in a scenario: a bare one, the plain service. */
export function expectedStatus({ base }: Contender, scenario: Scenario, { method }: Ask): number {
  if (base !== undefined) return scenario.status;
  return method === "OPTIONS" ? 204 : 200;
}

/** What is wrong with an answer; a server with a fault is not measured. */
export function faults(
  contender: Contender,
  scenario: Scenario,
  ask: Ask,
  { status, headers, body }: Answer,
): string[] {
  const found: string[] = [];
  const expected = expectedStatus(contender, scenario, ask);
  if (status !== expected) found.push(`status ${status}, not ${expected}`);
  if (status === 200 && body !== JSON.stringify({ hello: ask.path === "/me" ? "ada" : "world" }))
    found.push(`unexpected body ${body}`);
  if (contender.base === undefined) return found;
  for (const name of [...PROTECTIVE_HEADERS, ...scenario.headers])
    if (headers[name] === undefined) found.push(`no ${name}`);
  if (scenario.limited && limitHeaders(headers).length === 0) found.push("no headers of the rate limit");
  if (headers["x-powered-by"] !== undefined) found.push("x-powered-by is there");
  if (scenario.status >= 400 && !/^application\/(?:problem\+)?json/.test(headers["content-type"] ?? ""))
    found.push("the refusal is not JSON");
  return found;
}
