import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished } from "vitest";
import type { ApiKeyService, JwtManager } from "../../src/index.js";
import type { TestServer } from "../support/serve.js";
import type { StackApp } from "./stack-app.js";

/**
 * Writes without pause through the services of an app, and remembers what was acknowledged. The writes end with the test
 * at the latest, also when it fails: they would disturb the tests after it.
 */
export class Writers {
  readonly keys: string[] = [];
  readonly revokedKeys: string[] = [];
  readonly refreshTokens: string[] = [];
  readonly revokedTokens: string[] = [];
  /** Cookies of sessions that were logged out. */
  readonly endedSessions: string[] = [];
  refused = 0;
  /** Statuses of log-ins and log-outs that are neither success nor "try again". */
  readonly failures: number[] = [];
  /** The slowest answer, in milliseconds, refusals included. */
  slowestMs = 0;
  #isStopped = false;
  #turn = 0;
  readonly #work: Promise<void>[];

  constructor({ apiKeys, jwt, server }: StackApp) {
    this.#work = [
      this.#repeat(() => this.#writeKey(apiKeys)),
      this.#repeat(() => this.#writeToken(jwt)),
      this.#repeat(() => this.#endSession(server)),
    ];
    onTestFinished(() => this.stop());
  }

  async #writeKey(apiKeys: ApiKeyService): Promise<void> {
    const { key, record } = await this.#timed(() => apiKeys.create({ ownerId: "ada", name: "written" }));
    if ((this.#turn += 1) % 2 === 0) {
      this.keys.push(key);
      return;
    }
    await this.#timed(() => apiKeys.revoke(record.id, { reason: "test" }));
    this.revokedKeys.push(key);
  }

  async #writeToken(jwt: JwtManager): Promise<void> {
    const issued = await this.#timed(() => jwt.issue("bob"));
    this.refreshTokens.push(issued.refreshToken ?? "");
    const { jti } = await jwt.verifyAccessToken(issued.accessToken);
    await this.#timed(() => jwt.revokeToken(jti ?? ""));
    this.revokedTokens.push(issued.accessToken);
  }

  async #endSession(server: TestServer): Promise<void> {
    const post = async (path: string, cookie?: string): Promise<string> => {
      const { status, headers } = await this.#timed(() =>
        server.send(path, {
          method: "POST",
          headers: { "sec-fetch-site": "same-origin", ...(cookie === undefined ? {} : { cookie }) },
        }),
      );
      if (status >= 500 && status !== 503) this.failures.push(status);
      if (status !== 200) throw new Error(String(status));
      return (headers["set-cookie"] ?? []).map((line) => line.split(";")[0]).join("; ");
    };
    const cookie = await post("/log-in");
    await post("/log-out", cookie);
    this.endedSessions.push(cookie);
  }

  async #timed<T>(write: () => Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await write();
    } finally {
      this.slowestMs = Math.max(this.slowestMs, performance.now() - start);
    }
  }

  async #repeat(write: () => Promise<void>): Promise<void> {
    while (!this.#isStopped) {
      try {
        await write();
      } catch {
        this.refused += 1;
      }
      await sleep(5);
    }
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#work);
  }
}

/** Asks another process' worth of app, which remembers nothing: each write that was acknowledged holds. */
export async function expectKept(writers: Writers, other: StackApp): Promise<void> {
  const { keys, revokedKeys, refreshTokens, revokedTokens, endedSessions } = writers;
  process.stdout.write(
    `writes | ${keys.length} keys, ${revokedKeys.length} keys revoked, ${revokedTokens.length} tokens revoked, ${endedSessions.length} sessions ended, ${writers.refused} refused, slowest ${writers.slowestMs.toFixed(0)} ms\n`,
  );
  expect(Math.min(keys.length, revokedKeys.length, revokedTokens.length, endedSessions.length)).toBeGreaterThan(0);
  expect(writers.failures).toEqual([]);
  for (const key of keys) expect((await other.apiKeys.verify(key)).ok).toBe(true);
  for (const key of revokedKeys) expect((await other.apiKeys.verify(key)).ok).toBe(false);
  for (const token of revokedTokens)
    await expect(other.jwt.verifyAccessToken(token)).rejects.toMatchObject({ code: "revoked" });
  for (const token of refreshTokens) expect((await other.jwt.refresh(token)).refreshToken).not.toBe(token);
  for (const cookie of endedSessions)
    expect((await other.server.send("/session", { headers: { cookie } })).status).toBe(401);
}
