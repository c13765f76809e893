import type { Quickstart } from "./app.js";
import { call, type Call, type Reply } from "./http.js";
import { stops, type Memory } from "./tour-stops.js";

/**
 * Drives the app over real HTTP through every protection and prints request, answer and why.
 *
 * @returns how many outcomes differed from what was promised
 */
export async function tour(origin: string, apiKey: string, security: Quickstart["security"]): Promise<number> {
  const memory: Memory = {
    apiKey,
    cookie: "",
    accessToken: "",
    refreshToken: "",
    usedRefreshToken: "",
    madeKey: "",
    madeKeyId: "",
  };
  const events = new Map<string, number>();
  security.events.on("*", ({ event }) => events.set(event, (events.get(event) ?? 0) + 1));
  let chapter = "";
  let failures = 0;

  for (const stop of stops) {
    if (stop.chapter !== chapter) console.log(`\n== ${(chapter = stop.chapter)} ==`);
    const request = stop.request(memory);
    const reply = await call(origin, request);
    const differences = stop.expect(reply, memory);
    if (differences.length > 0) failures += 1;
    print(request, reply, stop.why, differences);
  }

  console.log(`\nEvents announced: ${[...events].map(([name, count]) => `${name} ×${count}`).join(", ")}`);
  console.log(`\n${stops.length} requests, ${failures} with another outcome than promised.`);
  return failures;
}

function print(request: Call, reply: Reply, why: string, differences: readonly string[]): void {
  const headers = Object.entries(request.headers ?? {})
    .map(([name, value]) => ` ${name}: ${shorten(String(value))};`)
    .join("");
  console.log(
    `\n> ${request.method ?? "GET"} ${request.path}${headers}${request.body === undefined ? "" : ` ${shorten(request.body)}`}`,
  );
  console.log(`< ${reply.status} ${shorten(reply.text.replace(/\s+/g, " "), 160)}`);
  console.log(`  ${differences.length === 0 ? "as promised" : "NOT AS PROMISED"}: ${why}`);
  for (const difference of differences) console.log(`  !! ${difference}`);
}

function shorten(text: string, most = 60): string {
  return text.length <= most ? text : `${text.slice(0, most)}…`;
}
