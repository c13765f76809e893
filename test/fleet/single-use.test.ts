import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, describe, expect, test } from "vitest";
import { createRuntime } from "../../src/core/runtime.js";
import { Secret } from "../../src/core/secret.js";
import { openStores } from "../../src/stores/open.js";
import { recordId, sampleCredential, sampleRecord } from "../../src/testing/credential-samples.js";
import { program } from "../support/programs.js";
import { mariaDbDatabase, postgresDatabase, sharedRedis, uniqueName } from "../support/servers.js";

const folder = mkdtempSync(join(tmpdir(), "portcullis-single-use-"));
afterAll(() => rmSync(folder, { recursive: true }));

const ROUNDS = ["r1", "r2", "r3"];

interface Settings {
  readonly database: string;
  readonly redis?: string;
  readonly redisPrefix?: string;
}

interface Won {
  readonly take: number;
  readonly remove: number;
  readonly update: number;
  readonly advance: number;
  readonly failures: readonly number[];
}

class Player {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly ended: Promise<number | null>;
  #errors = "";

  constructor(script: string, settings: Settings) {
    const flags = ["--disable-warning=ExperimentalWarning", script, JSON.stringify(settings)];
    const child = spawn(process.execPath, flags, { stdio: ["pipe", "pipe", "pipe"] });
    child.stderr.setEncoding("utf8").on("data", (text: string) => (this.#errors += text));
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    this.ended = new Promise((resolve) => child.on("close", resolve));
  }

  async says(): Promise<unknown> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`a process ended: ${this.#errors}`);
    return JSON.parse(String(value));
  }

  play(round: string): Promise<Won> {
    this.#child.stdin?.write(`${round}\n`);
    return this.says() as Promise<Won>;
  }

  end(): Promise<number | null> {
    this.#child.stdin?.end();
    return this.ended;
  }
}

const FLEETS: readonly (readonly [string, object, () => Promise<Settings>])[] = [
  [
    "one SQLite file",
    { credentials: "sqlite", singleUse: "sqlite" },
    async () => ({ database: `sqlite:${join(folder, "shared.db")}` }),
  ],
  [
    "PostgreSQL",
    { credentials: "postgres", singleUse: "postgres" },
    async () => ({ database: await postgresDatabase() }),
  ],
  ["MariaDB", { credentials: "mysql", singleUse: "mysql" }, async () => ({ database: await mariaDbDatabase() })],
  [
    "PostgreSQL and Redis",
    { credentials: "postgres", singleUse: "redis" },
    async () => ({
      database: await postgresDatabase(),
      redis: (await sharedRedis()).url,
      redisPrefix: `${uniqueName()}:`,
    }),
  ],
];

describe.each(FLEETS)("two processes on %s", (_name, places, settingsOf) => {
  test("of two hundred uses of one record, code or version exactly one succeeds, and each failure counts", async () => {
    const settings = await settingsOf();
    const { redis, ...others } = settings;
    const stores = openStores(
      {
        ...others,
        database: new Secret(settings.database),
        databaseTimeoutMs: 10_000,
        ...(redis === undefined ? {} : { redis: new Secret(redis) }),
      },
      createRuntime(),
    );
    const { credentials, singleUse } = stores.accounts();
    await stores.ready();
    for (const round of ROUNDS) {
      const ownerId = `owner-${round}`;
      const own = ["removed", "kept", "failing"].map((what) =>
        sampleCredential({ id: `${what}-${round}`, ownerId, failures: 0 }),
      );
      await credentials?.change(ownerId, { insert: own });
      await singleUse?.put(sampleRecord(round, { ownerId, id: recordId(round) }));
    }
    const script = await program("fleet/single-use-member");
    const players = [new Player(script, settings), new Player(script, settings)];
    expect(await Promise.all(players.map((player) => player.says()))).toEqual([places, places]);
    for (const round of ROUNDS) {
      const won = await Promise.all(players.map((player) => player.play(round)));
      const sum = (what: "take" | "remove" | "update" | "advance") => won.reduce((all, each) => all + each[what], 0);
      expect([sum("take"), sum("remove"), sum("update"), sum("advance")]).toEqual([1, 1, 1, 1]);
      expect(won.flatMap(({ failures }) => failures).sort((a, b) => a - b)).toEqual(
        Array.from({ length: 200 }, (_, n) => n + 1),
      );
      const kept = (await credentials?.listOf(`owner-${round}`))?.filter(({ kind }) => kind === "made");
      expect(kept).toHaveLength(1);
    }
    expect(await Promise.all(players.map((player) => player.end()))).toEqual([0, 0]);
    await stores.close();
  }, 120_000);
});
