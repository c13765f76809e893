import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { Load, type Target } from "./load.js";
import type { AppProcess } from "./processes.js";
import type { Answer, Guide, Stop } from "./tour.js";
import { fromBoth, me, ordersByKey, ordersByToken, stop } from "./tour-parts.js";

/** What an answer may take beside `storeTimeoutMs`, in milliseconds. */
const EVERYTHING_ELSE_MS = 50;

const PUBLIC = "GET /                   ";
const SESSION = "GET /me by session      ";
const KEY = "GET /orders by API key  ";
const TOKEN = "GET /orders by token    ";

/** One client of each kind. */
function clients(guide: Guide): Load {
  const targets: Target[] = [
    { name: PUBLIC, path: "/" },
    { name: SESSION, ...me(guide) },
    { name: KEY, ...ordersByKey(guide.memory.apiKey) },
    { name: TOKEN, ...ordersByToken(guide) },
  ];
  return new Load(guide.fleet.origin, targets);
}

function report(guide: Guide, load: Load, since: number): void {
  for (const { name } of load.targets) guide.says(`  ${name} ${load.seen(name, since)}`);
}

const only200 = (load: Load, since: number, name?: string): boolean => load.statuses(name, since).join() === "200";
const times = (member: AppProcess, event: string): number =>
  member.storeEvents.filter((line) => line.startsWith(event)).length;
const DOWN = "portcullis_store_unavailable source=redis";
const UP = "portcullis_store_recovered source=redis";

/** Each process has said once that Redis is down, and so often that it is up again, and nothing else of its stores. */
function announced(guide: Guide, up: number): boolean {
  return guide.fleet.members.every(
    (member) => times(member, DOWN) === 1 && times(member, UP) === up && member.storeEvents.length === 1 + up,
  );
}

export const outages: readonly Stop[] = [
  stop("One process is killed (SIGKILL) under load", async (guide) => {
    const victim = guide.fleet.member(guide.memory.begunAt);
    guide.says("> POST /orders, twice at once: an order takes 700 ms, so each process has one in it");
    const order = { method: "POST", path: "/orders", headers: { "X-API-Key": guide.memory.apiKey }, body: "{}" };
    const orders = Promise.all([guide.ask(order), guide.ask(order)]);
    await sleep(50);
    const load = clients(guide);
    const began = performance.now();
    await sleep(250);
    await victim.kill();
    const killed = performance.now();
    guide.says(`-- ${victim.name}, at which ada's session was begun, is gone`);
    await sleep(800);
    await load.stop();
    guide.says("> four clients kept asking before, during and after");
    guide.says(`< of ${load.count(began)} requests:`);
    report(guide, load, began);
    guide.promise(
      `they notice nothing (slowest answer ${load.slowestMs(began).toFixed(0)} ms): the proxy sends a GET that got no answer to the other process`,
      only200(load, began),
    );
    guide.promise(
      `the session, the key and the token go on at ${load.servers(killed).join(" and ")}`,
      only200(load, killed) && !load.servers(killed).includes(victim.name),
    );
    const answers = await orders;
    for (const { status, servedBy, text } of answers)
      guide.says(`< ${status} for the order inside ${servedBy}  ${text}`);
    guide.promise(
      "the order inside the killed process gets 502, since nobody knows how far it got; the other one is done",
      answers.every(({ status, servedBy }) => status === (servedBy === victim.name ? 502 : 201)) && fromBoth(answers),
    );
  }),
  stop("The process is started again", async (guide) => {
    const again = guide.fleet.member(guide.memory.begunAt);
    const began = performance.now();
    await again.start();
    guide.says(
      `-- ${again.name} is back after ${(performance.now() - began).toFixed(0)} ms, pid ${again.pid}; nobody told the proxy`,
    );
    const { isSo, ms } = await guide.until(async () => (await guide.ask({ path: "/" })).servedBy === again.name);
    guide.promise(`the proxy finds it by trying, ${ms.toFixed(0)} ms later`, isSo);
    const known = [
      ...(await guide.sendToBoth(me(guide))),
      ...(await guide.sendToBoth(ordersByKey(guide.memory.apiKey))),
    ];
    guide.promise(
      "it knows the session and the key from before",
      fromBoth(known) && known.every(({ status }) => status === 200),
    );
    const revoked = await guide.sendToBoth(ordersByKey(guide.memory.revokedKey));
    guide.promise(
      "and that the other key was revoked",
      fromBoth(revoked) && revoked.every(({ status }) => status === 401),
    );
  }),
  stop("Redis is taken away", async (guide) => {
    const stall = monitorEventLoopDelay({ resolution: 5 });
    stall.enable();
    const load = clients(guide);
    await sleep(200);
    const began = performance.now();
    await guide.fleet.redis.kill();
    const gone = performance.now();
    guide.says(`-- Redis is gone (${guide.fleet.redis.killedBy})`);
    await sleep(1800);
    await load.stop();
    stall.disable();
    guide.says(`> four clients kept asking for ${((performance.now() - began) / 1000).toFixed(1)} s`);
    guide.says(`< of ${load.count(began)} requests:`);
    report(guide, load, began);
    // A machine that is busy with other things stops this process too; that time is not the fleet's.
    const stoodStillMs = stall.max / 1e6;
    const within =
      guide.fleet.storeTimeoutMs + EVERYTHING_ELSE_MS + (stoodStillMs > EVERYTHING_ELSE_MS ? stoodStillMs : 0);
    const busy =
      stoodStillMs > EVERYTHING_ELSE_MS
        ? `, and ${stoodStillMs.toFixed(0)} ms in which this busy machine stood still`
        : "";
    guide.promise(
      `every answer comes within ${guide.fleet.storeTimeoutMs} ms (storeTimeoutMs) and ${EVERYTHING_ELSE_MS} for the rest${busy}; the slowest took ${load.slowestMs(began).toFixed(0)} ms`,
      load.slowestMs(began) < within,
    );
    guide.promise(
      "no 500, no broken connection",
      load.statuses(undefined, began).every((status) => status === 200 || status === 503),
    );
    guide.promise("public routes go on: each process counts by itself", only200(load, began, PUBLIC));
    guide.promise("API keys go on: they are in PostgreSQL", only200(load, began, KEY));
    guide.promise(
      "tokens go on for a second, then 503: whether one was revoked elsewhere is not known any more",
      load.statuses(TOKEN, gone + 1300).join() === "503",
    );

    const session = await guide.sendToBoth(me(guide), ["Content-Type"]);
    const isRefusal = ({ status, headers, text }: Answer): boolean =>
      status === 503 &&
      String(headers["content-type"]).startsWith("application/problem+json") &&
      text.includes('"store-unavailable"');
    guide.promise(
      "sessions get 503 store-unavailable, from the first request on",
      session.every(isRefusal) && load.statuses(SESSION, gone).join() === "503",
    );
    const logIn = await guide.send({ method: "POST", path: "/log-in", body: '{"username":"ada"}' });
    guide.promiseStatus("nobody can log in", 503, logIn);
    const known = await guide.until(() => announced(guide, 0));
    guide.promise("each process announced it once, not with every request", known.isSo);
  }),
  stop("What the limit is worth without Redis", async (guide) => {
    const burst = await Promise.all(Array.from({ length: 60 }, () => guide.ask({ path: "/greeting" })));
    const accepted = burst.filter(({ status }) => status === 200).length;
    guide.says("> GET /greeting, 60 times at once");
    guide.says(`< 200 ×${accepted}, 429 ×${burst.filter(({ status }) => status === 429).length}`);
    guide.promise(
      'each process lets its own 20 in, since onStoreError is "local"; "deny" would refuse all with 503',
      accepted === 40 && burst.every(({ status }) => status === 200 || status === 429),
    );
  }),
  stop("Redis is back", async (guide) => {
    await guide.fleet.redis.restart();
    const began = performance.now();
    guide.says("-- Redis answers again; no process is restarted");
    const load = clients(guide);
    const { isSo } = await guide.until(() => announced(guide, 1));
    const back = await guide.until(() => load.isSteady(3));
    const ms = load.lastTroubleAt(began) - began;
    await sleep(400);
    await load.stop();
    guide.says("> four clients asked meanwhile");
    report(guide, load, began);
    guide.promise(
      `the last 503 was given ${ms.toFixed(0)} ms after Redis came back; all is as before, and stays so`,
      back.isSo && load.isSteady(3) && load.lastTroubleAt(began) - began === ms,
    );
    const session = await guide.sendToBoth(me(guide));
    guide.promise(
      "ada is still logged in, with the cookie from before",
      fromBoth(session) && session.every(({ status }) => status === 200),
    );
    const revoked = await guide.sendToBoth(ordersByKey(guide.memory.revokedKey));
    guide.promise(
      "the revoked key is still revoked",
      revoked.every(({ status }) => status === 401),
    );
    guide.promise("each process announced the recovery once", isSo && announced(guide, 1));
  }),
  stop("A log-out at one is a log-out at the other", async (guide) => {
    const out = await guide.send({ method: "POST", path: "/log-out", headers: { Cookie: guide.memory.cookie } });
    guide.promiseStatus("ada is logged out", 204, out);
    const answers = await guide.sendToBoth(me(guide));
    guide.promise("at both, at once", fromBoth(answers) && answers.every(({ status }) => status === 401));
  }),
  stop("Each process is ended as a deployment does it (SIGTERM)", async (guide) => {
    for (const [index, member] of guide.fleet.members.entries()) {
      const began = performance.now();
      const code = await member.end();
      guide.promise(
        `${member.name} answers what it has, closes its stores and ends by itself: exit code ${code ?? "none"}, ${(performance.now() - began).toFixed(0)} ms`,
        code === 0,
      );
      const answer = await guide.send({ path: "/" });
      if (index === 0) guide.promiseStatus("the other one goes on", 200, answer);
      else guide.promise("nobody is left: the proxy says 502", answer.status === 502 && answer.servedBy === "proxy");
    }
  }),
];
