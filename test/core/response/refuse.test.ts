import { describe, expect, it } from "vitest";
import type { SecurityEvent } from "../../../src/core/events.js";
import { type OnRefusal, REFUSALS, type Refusal, type RefusalCode } from "../../../src/core/response/problem.js";
import { refuse } from "../../../src/core/response/refuse.js";
import { beginState } from "../../../src/core/request-state.js";
import { createRuntime, type Runtime } from "../../../src/core/runtime.js";
import { EXPRESS } from "../../support/express-versions.js";
import { serve } from "../../support/serve.js";

describe.each(EXPRESS)("refuse on $name", ({ express }) => {
  async function answerTo(refusal: Refusal, overrides: Partial<Runtime> = {}, mode: "enforce" | "report" = "enforce") {
    const runtime = createRuntime(overrides);
    const events: SecurityEvent[] = [];
    runtime.events.on("*", (event) => events.push(event));
    const app = express();
    app.use((req, res, next) => {
      beginState(req, runtime);
      if (!refuse(req, res, "test", refusal, mode)) next();
    });
    app.use((_req, res) => void res.send("reached"));
    const server = await serve(app);
    const answer = await server.send("/a/b%0d%0a?token=hunter2", { headers: { "x-secret": "hunter2" } });
    await server.close();
    return { answer, events };
  }

  it.each(Object.keys(REFUSALS) as RefusalCode[])(
    "%s is problem+json with its status, and echoes nothing",
    async (code) => {
      const { answer, events } = await answerTo({ code, reason: "why" });
      expect(answer.status).toBe(REFUSALS[code].status);
      expect(answer.headers["content-type"]).toBe("application/problem+json; charset=utf-8");
      expect(answer.headers["cache-control"]).toBe("no-store");
      expect(answer.json()).toEqual({
        type: `urn:problem-type:portcullis:${code}`,
        title: REFUSALS[code].title,
        status: REFUSALS[code].status,
        detail: REFUSALS[code].detail,
        code,
      });
      expect(JSON.stringify(events)).not.toContain("hunter2");
      expect(events).toHaveLength(1);
      expect(events[0]).toMatchObject({
        event: REFUSALS[code].event,
        source: "test",
        reason: "why",
        code,
        path: "/a/b%0d%0a",
        method: "GET",
        sourceIp: "127.0.0.1",
      });
    },
  );

  it("reports missing credentials as INFO and a missing scope as CRITICAL", async () => {
    expect((await answerTo({ code: "missing-credentials", reason: "none" })).events[0]).toMatchObject({
      event: "authz_fail",
      level: "INFO",
    });
    expect((await answerTo({ code: "insufficient-scope", reason: "scope" })).events[0]).toMatchObject({
      event: "authz_fail",
      level: "CRITICAL",
    });
  });

  it("sends the headers of the refusal", async () => {
    const { answer } = await answerTo({ code: "rate-limited", reason: "x", headers: { "Retry-After": "7" } });
    expect(answer.headers["retry-after"]).toBe("7");
  });

  it("in report mode announces the event and lets the request pass", async () => {
    const { answer, events } = await answerTo({ code: "untrusted-host", reason: "x" }, {}, "report");
    expect(answer.text).toBe("reached");
    expect(events[0]).toMatchObject({ mode: "report" });
  });

  it("lets the app replace the body but not the status", async () => {
    const { answer } = await answerTo(
      { code: "untrusted-host", reason: "x" },
      { onRefusal: ({ code }) => ({ contentType: "text/plain", body: `no: ${code}` }) },
    );
    expect([answer.status, answer.headers["content-type"], answer.text]).toEqual([
      400,
      "text/plain",
      "no: untrusted-host",
    ]);
  });

  it("sends the default body when onRefusal throws", async () => {
    const { answer } = await answerTo(
      { code: "untrusted-host", reason: "x" },
      {
        onRefusal: () => {
          throw new Error("bug");
        },
      },
    );
    expect(answer.json()).toMatchObject({ code: "untrusted-host" });
  });

  it.each<[string, () => unknown]>([
    ["a promise that rejects", async () => Promise.reject(new Error("late bug"))],
    ["a header that cannot be sent", () => ({ contentType: "text/plain\r\nX: y", body: "x" })],
    ["a body that cannot be sent", () => ({ contentType: "text/plain", body: { a: 1 } })],
    ["no body", () => ({ contentType: "text/plain" })],
    ["text alone", () => "no"],
    ["null", () => null],
  ])("sends the default body when onRefusal returns %s", async (_name, onRefusal) => {
    const { answer } = await answerTo({ code: "untrusted-host", reason: "x" }, { onRefusal: onRefusal as OnRefusal });
    expect([answer.status, answer.headers["content-type"]]).toEqual([400, "application/problem+json; charset=utf-8"]);
    expect(answer.json()).toMatchObject({ code: "untrusted-host" });
  });
});
