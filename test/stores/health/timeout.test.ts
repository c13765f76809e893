import { once } from "node:events";
import { connect, createServer, type AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { callWithoutCircuit, StoreUnavailableError } from "../../../src/stores/health/store-unavailable.js";
import { LateAnswerError, withTimeout } from "../../../src/stores/health/timeout.js";

const unhandled: unknown[] = [];
const onUnhandled = (reason: unknown): void => void unhandled.push(reason);
process.on("unhandledRejection", onUnhandled);
afterEach(() => expect(unhandled).toEqual([]));

const failsAfter = async (ms: number): Promise<never> => {
  await sleep(ms);
  throw new Error("late failure");
};

/** Work that ends when the test says so. */
function pendingWork() {
  let resolve: (value: string) => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const work = new Promise<string>((...both) => ([resolve, reject] = both));
  return { work, resolve, reject };
}

describe("withTimeout", () => {
  it("settles as the work does, when that is in time", async () => {
    await expect(withTimeout(sleep(5, "done"), 500)).resolves.toBe("done");
    await expect(withTimeout(failsAfter(5), 500)).rejects.toThrow("late failure");
  });

  it("rejects with a LateAnswerError when the time is over, and drops the late result", async () => {
    const work = sleep(600, "late");
    const began = performance.now();
    await expect(withTimeout(work, 20)).rejects.toMatchObject({
      name: "LateAnswerError",
      code: "ETIMEDOUT",
      message: "no response within 20 ms",
    });
    expect(performance.now() - began).toBeLessThan(550);
    await expect(work).resolves.toBe("late");
  });

  it("passes a late result to onLate, and a result in time to the caller only", async () => {
    const late: string[] = [];
    const onLate = (value: string): void => void late.push(value);
    const { work, resolve } = pendingWork();
    await expect(withTimeout(work, 10, { onLate })).rejects.toBeInstanceOf(LateAnswerError);
    resolve("first");
    await expect(withTimeout(sleep(5, "second"), 30_000, { onLate })).resolves.toBe("second");
    expect(late).toEqual(["first"]);
  });

  it("ignores a late rejection, which no handler else would see", async () => {
    const { work, reject } = pendingWork();
    await expect(withTimeout(work, 10)).rejects.toBeInstanceOf(LateAnswerError);
    reject(new Error("late failure"));
    await sleep(20);
    expect(unhandled).toEqual([]);
  });

  it("rejects with the error of onTimeout", async () => {
    const onTimeout = (): Error => new RangeError("own");
    await expect(withTimeout(pendingWork().work, 10, { onTimeout })).rejects.toThrow(RangeError);
  });

  it("waits as much longer as onTimeout says, and then asks it again", async () => {
    const more: (number | Error)[] = [20, 20, new RangeError("enough")];
    const onTimeout = (): number | Error => more.shift() ?? new Error("asked too often");
    const began = performance.now();
    await expect(withTimeout(pendingWork().work, 20, { onTimeout })).rejects.toThrow("enough");
    expect(performance.now() - began).toBeGreaterThan(55);
    await expect(withTimeout(sleep(60, "done"), 20, { onTimeout: () => 500 })).resolves.toBe("done");
  });

  it("does not blame the work for a process that was busy: an answer that was there in time counts", async () => {
    const server = createServer((socket) => socket.end("answer")).listen(0, "127.0.0.1");
    await once(server, "listening");
    const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
    await once(socket, "connect");
    const answer = withTimeout(
      once(socket, "data").then(([data]) => String(data)),
      100,
    );
    await sleep(0);
    const until = performance.now() + 150;
    while (performance.now() < until);
    await expect(answer).resolves.toBe("answer");
    server.close();
  });

  it.each([
    [{}, 1],
    [{ keepsAlive: false }, 0],
  ])("keeps the process alive as the settings say: %j", async (settings, timers) => {
    const alive = (): number => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const before = alive();
    let finish = (): void => undefined;
    const work = withTimeout(new Promise<void>((resolve) => (finish = resolve)), 1000, settings);
    expect(alive() - before).toBe(timers);
    finish();
    await work;
    expect(alive()).toBe(before);
  });
});

describe("callWithoutCircuit", () => {
  it("rejects with a StoreUnavailableError, whatever failed, and never twice wrapped", async () => {
    const never = (): Promise<never> => new Promise(() => undefined);
    await expect(callWithoutCircuit("two", 20, never)).rejects.toMatchObject({
      code: "PORTCULLIS_STORE_UNAVAILABLE",
      cause: { code: "ETIMEDOUT" },
    });
    const failed = Object.assign(new Error("x"), { code: "OOM" });
    await expect(callWithoutCircuit("two", 20, () => Promise.reject(failed))).rejects.toMatchObject({
      code: "PORTCULLIS_STORE_UNAVAILABLE",
      cause: failed,
    });
    const throwing = (): Promise<never> => {
      throw failed;
    };
    await expect(callWithoutCircuit("two", 20, throwing)).rejects.toBeInstanceOf(StoreUnavailableError);
    const wrapped = new StoreUnavailableError("one");
    await expect(callWithoutCircuit("two", 20, () => Promise.reject(wrapped))).rejects.toBe(wrapped);
    await expect(callWithoutCircuit("two", 20, () => Promise.resolve(1))).resolves.toBe(1);
  });
});
