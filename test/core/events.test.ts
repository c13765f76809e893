import { describe, expect, it, vi } from "vitest";
import { requireAuth, securityHeaders } from "../../src/index.js";
import { SetupError } from "../../src/core/setup-error.js";
import { SecurityEvents, type SecurityEvent } from "../../src/core/events.js";

describe("SecurityEvents", () => {
  it("does not compute the details of an event that has no listener", () => {
    const details = vi.fn(() => ({ source: "test" }));
    new SecurityEvents().emit("authn_login_fail", details);
    expect(details).not.toHaveBeenCalled();
  });

  it("refuses a listener for an unknown event, and suggests the right name", () => {
    const events = new SecurityEvents();
    for (const method of ["on", "once"] as const) {
      const listen = (name: unknown, listener: unknown) => () => events[method](name as "*", listener as () => void);
      expect(listen("authn_login_fial", () => undefined)).toThrow(/^There is no event.*"authn_login_fail"/);
      expect(listen("evnet", () => undefined)).toThrow(/"\*" or one of: authn_login_success, /);
      expect(listen("toString", () => undefined)).toThrow(TypeError);
      expect(listen("*", undefined)).toThrow(/must be a function/);
      expect(listen("authn_login_fail", () => undefined)).not.toThrow();
    }
  });

  it("is refused where an object that contains it is expected", () => {
    const events = new SecurityEvents();
    expect(() => securityHeaders({}, events as never)).toThrow(SetupError);
    expect(() => requireAuth({}, events as never)).toThrow(/Write \{ events \}/);
    expect(() => securityHeaders({}, { events })).not.toThrow();
  });

  it("delivers a frozen event with level and time to the listeners of its name and of all events", () => {
    const events = new SecurityEvents(() => Date.UTC(2026, 0, 2, 3, 4, 5));
    const seen: SecurityEvent[] = [];
    events.on("authn_token_reuse", (event) => seen.push(event)).on("*", (event) => seen.push(event));
    events.emit("authn_token_reuse", () => ({ source: "jwt", reason: "reuse" }));
    events.emit("session_created", () => ({ source: "session" }));
    expect(seen).toEqual([
      {
        event: "authn_token_reuse",
        level: "CRITICAL",
        datetime: "2026-01-02T03:04:05.000Z",
        source: "jwt",
        reason: "reuse",
      },
      {
        event: "authn_token_reuse",
        level: "CRITICAL",
        datetime: "2026-01-02T03:04:05.000Z",
        source: "jwt",
        reason: "reuse",
      },
      { event: "session_created", level: "INFO", datetime: "2026-01-02T03:04:05.000Z", source: "session" },
    ]);
    expect(Object.isFrozen(seen[0])).toBe(true);
  });

  it.each([
    ["a line feed", "\n"],
    ["a carriage return", "\r"],
    ["an escape", "\u001b"],
    ["DEL", "\u007f"],
    ["U+0085, a next line", "\u0085"],
    ["a control of C1", "\u009b"],
    ["U+2028, a line separator", "\u2028"],
    ["U+2029, a paragraph separator", "\u2029"],
  ])("escapes %s in every text of an event, so that the event is one line for every reader", (_name, char) => {
    const events = new SecurityEvents();
    const lines: string[] = [];
    const seen: SecurityEvent[] = [];
    events.on("*", (event) => void (lines.push(JSON.stringify(event)), seen.push(event)));
    events.emit("session_created", () => ({
      source: "session",
      subject: `ada${char}root`,
      credentialId: `${char}${char}`,
      reason: "log-in",
      status: 1,
    }));
    const code = `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
    expect(seen[0]).toMatchObject({
      subject: `ada${code}root`,
      credentialId: code + code,
      reason: "log-in",
      status: 1,
    });
    // What readers take for the end of a line: Unicode's and Python's (splitlines), and ECMAScript's.
    expect(lines[0]?.split(/[\n\r\v\f\u001c-\u001e\u0085\u2028\u2029]/)).toHaveLength(1);
    expect(lines[0]).not.toContain(char);
  });

  it("does not change other text", () => {
    const events = new SecurityEvents();
    const seen: SecurityEvent[] = [];
    events.on("*", (event) => seen.push(event));
    events.emit("session_created", () => ({ source: "session", subject: "Ада \\u2028 é 日本\u00a0" }));
    expect(seen[0]?.subject).toBe("Ада \\u2028 é 日本\u00a0");
  });

  it("no longer calls a listener that was removed", () => {
    const events = new SecurityEvents();
    const listener = vi.fn();
    events.on("*", listener).off("*", listener);
    events.emit("session_created", () => ({ source: "session" }));
    expect(listener).not.toHaveBeenCalled();
  });

  it("turns the error of a listener into a process warning and still calls the others", async () => {
    const events = new SecurityEvents();
    const warned = new Promise<Error>((resolve) => process.once("warning", resolve));
    const other = vi.fn();
    events.on("authn_login_fail", () => {
      throw new Error("listener bug");
    });
    events.on("*", other);
    events.emit("authn_login_fail", () => ({ source: "test" }));
    expect(other).toHaveBeenCalledOnce();
    expect((await warned).message).toContain("listener bug");
  });

  it("calls every listener although one throws or rejects, and the process lives on", async () => {
    const events = new SecurityEvents();
    const warnings: string[] = [];
    const note = (warning: Error): void => void warnings.push(warning.message);
    process.on("warning", note);
    const other = vi.fn();
    events.on("*", () => {
      throw new Error("sync bug");
    });
    const rejecting = (): unknown => Promise.reject(new Error("async bug"));
    events.on("*", rejecting);
    events.once("*", other).on("*", other);
    events.emit("authn_login_fail", () => ({ source: "test" }));
    expect(other).toHaveBeenCalledTimes(2);
    expect(events.listenerCount("*")).toBe(3);
    await new Promise((resolve) => setImmediate(resolve));
    process.off("warning", note);
    expect(warnings).toEqual([expect.stringContaining("sync bug"), expect.stringContaining("async bug")]);
  });
});
