import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { CreatedApiKey } from "../../src/api-key/types.js";
import { type CommitProxy, startCommitProxy } from "../support/commit-proxy.js";
import { sharedRedis, uniqueName } from "../support/servers.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";
import { FAULT_TEST_MS, type Fault, outage } from "./outage.js";
import { type StackApp, stackApp } from "./stack-app.js";
import type { FaultyDatabase } from "./stack-database.js";

/** A caller that goes on without a pause while the fault lasts. */
class Caller {
  readonly outcomes: string[] = [];
  #isStopped = false;
  #work: Promise<void> | undefined;

  /** @param turn one call, and how it ended: "done", or the code of its refusal */
  constructor(readonly turn: () => Promise<string>) {}

  begin(): void {
    this.#work = (async () => {
      while (!this.#isStopped) {
        this.outcomes.push(await this.turn());
        await sleep(5);
      }
    })();
  }

  async end(): Promise<void> {
    this.#isStopped = true;
    await this.#work;
  }

  /** Each outcome there was, once. */
  get kinds(): string[] {
    return [...new Set(this.outcomes)].sort();
  }
}

const codeOf = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => "done",
    (error: { code?: string }) => error.code ?? "no code",
  );

/**
 * What one caller brings or meets is that caller's answer: under load every other one is served as before, and no outage is
 * announced. The same for every server database.
 */
export function whenOneCallerFails({ name, server, ...database }: FaultyDatabase): void {
  describe(`one caller at fault, before ${name}`, () => {
    let network: TcpProxy;
    let commits: CommitProxy;
    let app: StackApp;
    beforeAll(async () => {
      await database.prepare();
      network = await startTcpProxy(server.port);
      commits = await startCommitProxy(database.url(network.port));
      // Without the batch of uses, each COMMIT is that of a call made here.
      app = await stackApp((await sharedRedis()).url, commits.url, `${uniqueName()}:`, 0, 600);
    });
    afterAll(async () => {
      await app?.close();
      await commits?.close();
      await network?.close();
      await server.close();
    });

    const unnoticed = { limiter: [], session: [], key: [], token: [] };

    /** Lets the callers loose under the load of all others. */
    async function underLoad(
      fault: string,
      callers: readonly Caller[],
      during: Readonly<Record<string, readonly number[]>> = unnoticed,
      conditions: Partial<Fault> = {},
    ): Promise<void> {
      const whole: Fault = {
        ...conditions,
        name: `${name}: ${fault}`,
        begin: async () => {
          await conditions.begin?.();
          for (const caller of callers) caller.begin();
        },
        end: async () => {
          for (const caller of callers) await caller.end();
          await conditions.end?.();
        },
      };
      await outage(app.server.port, app.events, app.targets, whole, { during, announcedBy: [] });
    }

    test(
      "ids longer than a column: each is that call's invalid input, and the longest that fit are kept",
      async () => {
        const long = ["x".repeat(256), "x".repeat(5000), "€".repeat(256)];
        const fits = ["x".repeat(255), "€".repeat(255)];
        const refusals = new Caller(async () => {
          const codes = await Promise.all(
            long.flatMap((id) =>
              [
                app.apiKeys.create({ ownerId: id, name: "n" }),
                app.jwt.issue(id),
                app.jwt.revokeToken(id),
                app.jwt.revokeSubject(id),
              ].map(codeOf),
            ),
          );
          return [...new Set(codes)].join();
        });
        const lookUps = new Caller(async () => {
          const answers = [];
          for (const id of long) {
            const { status } = await app.server.send("/key", {
              headers: { "x-api-key": encodeURIComponent(`mcp_${id}`).slice(0, 6000) },
            });
            answers.push(
              status,
              await codeOf(app.apiKeys.list(id)),
              await app.apiKeys.revoke(id),
              await codeOf(app.jwt.refresh(`mcp_rt_${id}`)),
            );
          }
          return answers.join();
        });
        const writes = new Caller(async () => {
          const codes = [];
          for (const id of fits)
            codes.push(await codeOf(app.apiKeys.create({ ownerId: id, name: "n" })), await codeOf(app.jwt.issue(id)));
          return [...new Set(codes)].join();
        });
        await underLoad("ids longer than a column", [refusals, lookUps, writes]);
        expect(refusals.kinds).toEqual(["invalid-input"]);
        expect(lookUps.kinds).toEqual([Array.from(long, () => "401,done,false,malformed").join()]);
        // A slow disk may refuse one for now; the value is never at fault.
        expect(writes.outcomes).toContain("done");
        expect(writes.kinds.join()).not.toContain("invalid-input");
      },
      FAULT_TEST_MS,
    );

    test(
      "statements that time out on a locked row: the caller is refused, and has the old key and the old token afterwards",
      async () => {
        const { key, record } = await app.apiKeys.create({ ownerId: "eve", name: "n" });
        const { refreshToken } = await app.jwt.issue("eve");
        const caller = new Caller(
          async () => `${await codeOf(app.apiKeys.rotate(record.id))}, ${await codeOf(app.jwt.refresh(refreshToken))}`,
        );
        const lock = await database.lockRowsOf("eve", record.id);
        await underLoad("statements that time out", [caller], unnoticed, { end: () => lock.release() });
        expect(caller.kinds).toEqual(["PORTCULLIS_STORE_UNAVAILABLE, store-unavailable"]);
        expect(await app.apiKeys.verify(key)).toMatchObject({ ok: true });
        expect(await codeOf(app.jwt.refresh(refreshToken))).toBe("done");
      },
      FAULT_TEST_MS,
    );

    test(
      "commits whose connection breaks: the caller always has a key and a token that work",
      async () => {
        let current = await app.apiKeys.create({ ownerId: "mallory", name: "n" });
        let { refreshToken } = await app.jwt.issue("mallory");
        const { lost } = commits;
        let turn = 0;
        const caller = new Caller(async () => {
          commits.loseNext((turn += 1) % 2 === 0 ? "answer" : "commit", "there");
          const isKey = turn % 4 < 2;
          return codeOf(
            isKey
              ? app.apiKeys.rotate(current.record.id).then((made) => void (current = made))
              : app.jwt.refresh(refreshToken).then((made) => void ({ refreshToken } = made)),
          );
        });
        await underLoad("commits whose connection breaks", [caller], unnoticed, { lastsMs: 2000 });
        expect(commits.lost - lost).toBeGreaterThan(3);
        expect(caller.kinds).toContain("done");
        expect(await app.apiKeys.verify(current.key)).toMatchObject({ ok: true });
        expect(await codeOf(app.jwt.refresh(refreshToken))).toBe("done");
      },
      FAULT_TEST_MS,
    );

    test(
      "a burst of 120 rotations over a slow network: each is done or has changed nothing, and the database is not down",
      async () => {
        const made: CreatedApiKey[] = [];
        for (let n = 0; n < 120; n += 1) made.push(await app.apiKeys.create({ ownerId: `burst-${n}`, name: "n" }));
        let burst: Promise<(string | undefined)[]> | undefined;
        const slow: Partial<Fault> = {
          begin: () => {
            network.latency(3);
            burst = Promise.all(
              made.map(({ record }) =>
                app.apiKeys.rotate(record.id).then(
                  ({ key }) => key,
                  () => undefined,
                ),
              ),
            );
          },
          end: async () => {
            await burst;
            await network.heal();
          },
        };
        // The pool of connections is shared: who finds it full is told to come again.
        await underLoad("120 rotations at once over a slow network", [], { ...unnoticed, key: [503] }, slow);
        const keys = (await burst) ?? [];
        expect(keys.filter((key) => key !== undefined).length).toBeGreaterThan(0);
        for (const [n, { key, record }] of made.entries()) {
          const works = keys[n] ?? key;
          expect(await app.apiKeys.verify(works), `rotation ${n}`).toMatchObject({ ok: true });
          expect((await app.apiKeys.get(record.id))?.rotatedTo === null, `rotation ${n}`).toBe(keys[n] === undefined);
        }
      },
      FAULT_TEST_MS,
    );
  });
}
