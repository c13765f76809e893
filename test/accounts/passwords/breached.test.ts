import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { ManualClock } from "portcullis/testing";
import { describe, expect, onTestFinished, test } from "vitest";
import { BreachedPasswords } from "../../../src/accounts/passwords/breached.js";
import { createRuntime } from "../../../src/core/runtime.js";
import type { SecurityEvent } from "../../../src/core/events.js";
import { serve } from "../../support/serve.js";

const LEAKED = "correct horse battery staple";
const hash = createHash("sha1").update(LEAKED).digest("hex").toUpperCase();
const PADDING = `${"0".repeat(35)}:0\r\n${"F".repeat(35)}:0`;

type Handler = (req: IncomingMessage, res: ServerResponse) => void;

async function service(handler: Handler) {
  const clock = new ManualClock();
  const runtime = createRuntime({ clock, events: undefined, onRefusal: undefined, debug: false });
  const events: SecurityEvent[] = [];
  runtime.events.on("*", (event) => void events.push(event));
  const requests: IncomingMessage[] = [];
  const state = { handler };
  const server = await serve((req, res) => {
    requests.push(req);
    state.handler(req, res);
  });
  onTestFinished(() => server.close());
  const passwords = new BreachedPasswords(runtime, `${server.origin}/range/`);
  return { passwords, clock, events, requests, state, server };
}

const answers =
  (body: string, status = 200, headers: Record<string, string> = {}): Handler =>
  (_req, res) => {
    res.writeHead(status, headers);
    res.end(body);
  };

describe("the range API", () => {
  test("gets five characters of the hash and asks for padding; nothing else of the password leaves", async () => {
    const { passwords, requests } = await service(answers(`${PADDING}\r\n${hash.slice(5)}:12\r\n`));
    expect(await passwords.check(LEAKED)).toBe("found");
    expect(requests).toHaveLength(1);
    expect(requests[0]?.url).toBe(`/range/${hash.slice(0, 5)}`);
    expect(requests[0]?.headers["add-padding"]).toBe("true");
    expect(JSON.stringify(requests[0]?.rawHeaders)).not.toContain("correct");
  });

  test.each([
    ["it is listed", `${PADDING}\r\n${hash.slice(5)}:1`, "found"],
    ["in lower case", `${hash.slice(5).toLowerCase()}:1\n`, "found"],
    ["it is padding", `${PADDING}\r\n${hash.slice(5)}:0`, "clean"],
    ["it is not listed", PADDING, "clean"],
    ["the answer is empty", "", "not-checked"],
    ["the answer is a page", "<html>Welcome</html>", "not-checked"],
    ["a line is cut off", `${PADDING}\r\n${hash.slice(5, 20)}`, "not-checked"],
  ])("%s", async (_what, body, expected) => {
    const { passwords } = await service(answers(body));
    expect(await passwords.check(LEAKED)).toBe(expected);
  });

  test.each([
    ["an error", answers("", 503), "status-503"],
    ["a redirect, which is not followed", answers("", 302, { location: "/range/elsewhere" }), "redirect"],
    ["too much", answers(`${PADDING}\r\n`.repeat(10_000)), "too-large"],
    ["a compressed answer", answers("x", 200, { "content-encoding": "gzip" }), "compressed"],
    ["a connection that breaks", (_req: IncomingMessage, res: ServerResponse) => res.destroy(), "ECONNRESET"],
    [
      "an answer that breaks off",
      (_req: IncomingMessage, res: ServerResponse) => {
        res.writeHead(200, { "content-length": "1000" });
        res.write(PADDING, () => res.destroy());
      },
      "ECONNRESET",
    ],
  ] as const)("%s is not checked, and is one event", async (_what, handler, reason) => {
    const { passwords, requests, events } = await service(handler);
    expect(await passwords.check(LEAKED)).toBe("not-checked");
    expect(requests).toHaveLength(1);
    expect(events).toMatchObject([{ event: "portcullis_layer_failed", reason: `breached-passwords-${reason}` }]);
    expect(JSON.stringify(events)).not.toContain("correct");
  });

  test("an answer that does not come is given up after two seconds", async () => {
    const { passwords, events } = await service(() => undefined);
    const began = performance.now();
    expect(await passwords.check(LEAKED)).toBe("not-checked");
    expect(performance.now() - began).toBeGreaterThan(1900);
    expect(performance.now() - began).toBeLessThan(5000);
    expect(events).toMatchObject([{ reason: "breached-passwords-timeout" }]);
  });

  test("an outage is one event, and is not asked about for half a minute; then it is over", async () => {
    const { passwords, clock, events, requests, state } = await service(answers("", 500));
    for (let i = 0; i < 5; i += 1) expect(await passwords.check(LEAKED)).toBe("not-checked");
    expect([requests.length, events.length]).toEqual([1, 1]);
    clock.advance(30_000);
    expect(await passwords.check(LEAKED)).toBe("not-checked");
    expect([requests.length, events.length]).toEqual([2, 1]);
    clock.advance(30_000);
    state.handler = answers(PADDING);
    expect(await passwords.check(LEAKED)).toBe("clean");
    state.handler = answers("", 500);
    expect(await passwords.check(LEAKED)).toBe("not-checked");
    expect(events).toHaveLength(2);
  });

  test("asks four questions at once, and the others wait", async () => {
    let open = 0;
    let most = 0;
    const { passwords, requests } = await service((_req, res) => {
      open += 1;
      most = Math.max(most, open);
      setTimeout(() => {
        open -= 1;
        res.end(PADDING);
      }, 20);
    });
    const results = await Promise.all(Array.from({ length: 40 }, () => passwords.check(LEAKED)));
    expect(new Set(results)).toEqual(new Set(["clean"]));
    expect([requests.length, most]).toEqual([40, 4]);
  });
});
