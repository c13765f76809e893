import { setTimeout as sleep } from "node:timers/promises";
import { Fleet } from "./fleet.js";
import type { AppProcess } from "./processes.js";
import { tour } from "./tour.js";

const touring = process.argv.includes("--tour");
const port = touring ? 0 : Number(process.env.PORT ?? 3000);
const fleet = new Fleet();

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  // `on`: npm and tsx may pass a Ctrl+C on that the terminal has sent already.
  process.on(signal, () => {
    void fleet.close().finally(() => process.exit(touring ? 1 : 0));
  });
}

try {
  await fleet.start({ port, forTour: touring, says: (name, line) => console.log(`   [${name}] ${line}`) });
  if (touring) {
    process.exitCode = (await tour(fleet)) === 0 ? 0 : 1;
    await fleet.close();
  } else {
    for (const member of fleet.members) void keepRunning(member);
    console.log(howToUse());
  }
} catch (error) {
  const taken = (error as NodeJS.ErrnoException).code === "EADDRINUSE";
  console.error(
    taken
      ? `Port ${port} is taken. Choose another: PORT=3001 npm run demo:fleet`
      : error instanceof Error
        ? error.message
        : error,
  );
  process.exitCode = 1;
  await fleet.close();
}

/** What a supervisor (systemd, a container platform) does: starts again what died. One that ended with 0 was told to. */
async function keepRunning(member: AppProcess): Promise<void> {
  for (;;) {
    const code = await member.gone;
    if (code === 0 || fleet.isClosing) return;
    console.log(`   [${member.name}] is gone; it is started again`);
    await member.start().then(
      () => console.log(`   [${member.name}] serves again, pid ${member.pid}`),
      // It does not start while a store is away; `security.ready()` says so, and it has been printed.
      () => sleep(1000),
    );
  }
}

function howToUse(): string {
  const { origin, redis, database } = fleet;
  const [first] = fleet.members;
  return `portcullis fleet on ${origin} (stop with Ctrl+C)

  ${fleet.members.map(({ name, port: at, pid }) => `${name} on port ${at}, pid ${pid}`).join("; ")}
  Redis: ${redis.what}${redis.pid === undefined ? "" : `, pid ${redis.pid}`}; PostgreSQL: ${database.what}

  One count for both; look at RateLimit and X-Served-By, and at the 21st answer:
    for n in $(seq 21); do curl -si ${origin}/greeting | grep -iE '^(HTTP|RateLimit:|X-Served-By)'; done
  A session that both know:
    curl -i -c jar -H 'Content-Type: application/json' -d '{"username":"ada"}' ${origin}/log-in
    curl -i -b jar ${origin}/me
  An API key that both know:
    KEY=$(curl -s -b jar -H 'Content-Type: application/json' -d '{"name":"cli","scopes":["orders"]}' ${origin}/api-keys | sed 's/.*"key":"\\([^"]*\\)".*/\\1/')
    curl -i -H "X-API-Key: $KEY" ${origin}/orders
  One process dies (and is started again, as a supervisor would):
    kill -9 ${first?.pid ?? ""}; curl -i -b jar ${origin}/me${
      redis.pid === undefined
        ? ""
        : `
  Redis falls silent, and comes back:
    kill -STOP ${redis.pid}; curl -i ${origin}/; curl -i -b jar ${origin}/me; curl -i -H "X-API-Key: $KEY" ${origin}/orders
    kill -CONT ${redis.pid}; sleep 1; curl -i -b jar ${origin}/me`
    }

  All of it and more, with what to expect:  npm run demo:fleet -- --tour`;
}
