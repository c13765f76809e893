import { Agent, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { type Child, runChild } from "../stores/children.js";
import { sharedRedis, uniqueName } from "../support/servers.js";
import { program } from "../support/programs.js";

const PROCESSES = 4;
const SCRIPT = await program("fleet/limited-server");

interface Hit {
  readonly status: number;
  readonly from: number;
  readonly to: number;
}

const children: Child[] = [];
const agent = new Agent({ keepAlive: true, maxSockets: 32 });
afterEach(async () => {
  for (const { process: child } of children) child.kill("SIGTERM");
  for (const { ended } of children.splice(0)) expect(await ended).toMatchObject({ code: 0, err: "" });
});

/** The ports of so many processes of the app. */
async function startFleet(limit: number, windowSeconds: number): Promise<number[]> {
  const { url } = await sharedRedis();
  const prefix = `${uniqueName()}:`;
  return Promise.all(
    Array.from({ length: PROCESSES }, () => {
      let said: (port: number) => void;
      const port = new Promise<number>((resolve) => (said = resolve));
      const child = runChild(SCRIPT, [url, prefix, String(limit), String(windowSeconds)], {
        onLine: (line) => said(Number(line.replace("port ", ""))),
      });
      children.push(child);
      return Promise.race([port, child.ended.then(({ err }) => Promise.reject(new Error(err)))]);
    }),
  );
}

function hit(port: number, address: string): Promise<Hit> {
  const from = performance.now();
  return new Promise((resolve, reject) => {
    request({ port, host: "127.0.0.1", agent, headers: { "x-forwarded-for": address } }, (res) => {
      res.resume().on("end", () => resolve({ status: res.statusCode ?? 0, from, to: performance.now() }));
    })
      .on("error", reject)
      .end();
  });
}

function addresses(count: number): string[] {
  return Array.from({ length: count }, (_, index) =>
    index % 2 === 0 ? `203.0.113.${index}` : `2001:db8:${index}00::7`,
  );
}

/** Most of these that are sure to lie within one window: it is only known that each was decided between two times. */
function mostWithin(hits: readonly Hit[], windowMs: number): number {
  return Math.max(
    0,
    ...hits.map(({ from }) => hits.filter((other) => other.from >= from && other.to < from + windowMs).length),
  );
}

describe("four server processes on one Redis", () => {
  it("accept each client exactly as often as the limit says", async () => {
    const limit = 15;
    const ports = await startFleet(limit, 60);
    const clients = addresses(40);
    // Every client at every process, all at the same time: 40 requests of each, round after round.
    const rounds = Array.from({ length: 10 }, () =>
      ports.flatMap((port) => clients.map((address) => ({ port, address }))),
    );
    const answers = await Promise.all(
      rounds.flat().map(async ({ port, address }) => ({ address, ...(await hit(port, address)) })),
    );
    expect(answers).toHaveLength(1600);
    const accepted = clients.map(
      (address) => answers.filter((answer) => answer.address === address && answer.status === 200).length,
    );
    expect(accepted).toEqual(clients.map(() => limit));
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(1600 - clients.length * limit);
  });

  it("accept at most the limit in any window, and the limit again when a window has passed", async () => {
    const limit = 10;
    const windowMs = 2000;
    const ports = await startFleet(limit, windowMs / 1000);
    const clients = addresses(8);
    const accepted = new Map<string, Hit[]>(clients.map((address) => [address, []]));
    const end = performance.now() + 7000;
    await Promise.all(
      clients.flatMap((address) =>
        ports.map(async (port) => {
          while (performance.now() < end) {
            const answer = await hit(port, address);
            expect([200, 429]).toContain(answer.status);
            if (answer.status === 200) accepted.get(address)?.push(answer);
            await sleep(10);
          }
        }),
      ),
    );
    for (const hits of accepted.values()) {
      expect(mostWithin(hits, windowMs)).toBeLessThanOrEqual(limit);
      // At 0, 2, 4 and 6 s; a slow machine may miss the last.
      expect(hits.length).toBeGreaterThanOrEqual(3 * limit);
    }
  });
});
