import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { program } from "../support/programs.js";

export interface Reply {
  readonly status: number;
  readonly body: unknown;
  /** `name=value` of the session cookie it set. */
  readonly cookie: string | undefined;
  /** What a browser sends back of all cookies that it set. */
  readonly cookies: string;
}

/** One process of a fleet. */
export interface Member {
  readonly pid: number;
  /** @param json the body */
  send(method: "GET" | "POST", path: string, headers?: Record<string, string>, json?: object): Promise<Reply>;
  /** Resolves at the next line it prints that says so. */
  says(line: string): Promise<void>;
  /** Ends it as an app ends: resolves to its exit code, and rejects when it has not ended by itself in ten seconds. */
  end(): Promise<number | null>;
}

/** Starts a process with these settings and waits until it serves. */
export async function startMember(
  settings: object,
  script: "fleet/member" | "fleet/accounts-member" = "fleet/member",
): Promise<Member> {
  const child = spawn(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", await program(script), JSON.stringify(settings)],
    { stdio: ["pipe", "pipe", "pipe"] },
  );
  let err = "";
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => (err += chunk));
  const waiting = new Map<string, () => void>();
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  const port = await new Promise<number>((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (line.startsWith("port ")) resolve(Number(line.slice(5)));
      waiting.get(line)?.();
    });
    void ended.then((code) => reject(new Error(`a member ended with ${code}: ${err}`)));
  });
  return {
    pid: child.pid ?? 0,
    async send(method, path, headers = {}, json) {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
        method,
        headers: json === undefined ? headers : { "content-type": "application/json", ...headers },
        ...(json === undefined ? {} : { body: JSON.stringify(json) }),
      });
      const set = answer.headers.getSetCookie();
      const cookie = set.find((line) => /^mcp_session=s/.test(line));
      return {
        status: answer.status,
        body: JSON.parse((await answer.text()) || "null") as unknown,
        cookie: cookie?.slice(0, cookie.indexOf(";")),
        cookies: set.map((line) => line.slice(0, line.indexOf(";"))).join("; "),
      };
    },
    says: (line) => new Promise((resolve) => waiting.set(line, resolve)),
    async end() {
      child.stdin.end();
      const late = new AbortController();
      try {
        return await Promise.race([
          ended,
          sleep(10_000, undefined, { signal: late.signal }).then(() => {
            child.kill("SIGKILL");
            throw new Error(`a member did not end by itself: ${err}`);
          }),
        ]);
      } finally {
        late.abort();
      }
    },
  };
}

/** Asks until it is so; how long that took in milliseconds. Rejects after `withinMs`. */
export async function until(isSo: () => Promise<boolean>, withinMs: number): Promise<number> {
  const began = performance.now();
  for (;;) {
    if (await isSo()) return performance.now() - began;
    if (performance.now() - began > withinMs) throw new Error(`not so within ${withinMs} ms`);
    await sleep(5);
  }
}
