import { afterEach, describe, expect, it, vi } from "vitest";
import { SettingsError } from "../../../src/settings/errors.js";
import { parseDatabaseUrl } from "../../../src/stores/database/url.js";

afterEach(() => void vi.restoreAllMocks());

function warnings(url: string): string[] {
  const said = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
  expect(parseDatabaseUrl(url)).toEqual({ engine: "postgres", name: "db.example:5432/app" });
  return said.mock.calls.map(([message]) => String(message));
}

describe("parameters of a postgres: URL", () => {
  it.each([
    "statement_timeout=9000",
    "idle_in_transaction_session_timeout=1",
    "query_timeout=10",
    "sslmode=require&statement_timeout=0",
    "options=-c%20statement_timeout%3D9s",
  ])("%s contradicts a limit of this library", (query) => {
    const name = /statement_timeout|idle_in_transaction_session_timeout|query_timeout/.exec(query)?.[0] ?? "";
    try {
      parseDatabaseUrl(`postgres://user:hunter2@db.example/app?${query}`);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(SettingsError);
      const [issue] = (error as SettingsError).issues;
      expect(issue).toMatchObject({
        code: "wrong-value",
        path: "database",
        message: expect.stringContaining(name),
        remedy: expect.stringContaining("storeTimeoutMs"),
      });
      expect(JSON.stringify(issue)).not.toContain("hunter2");
    }
  });

  it.each([
    "",
    "?sslmode=require",
    "?application_name=shop&options=endpoint%3Dabc",
    "?sslmode=verify-full&sslrootcert=%2Fca.pem",
    "?lock_timeout=100",
  ])("%s is read by pg", (query) => {
    expect(warnings(`postgres://user:hunter2@db.example/app${query}`)).toEqual([]);
  });

  it("that pg does not read cause one warning, by name", () => {
    expect(
      warnings(
        "postgresql://user:hunter2@db.example/app?sslmode=require&channel_binding=require&schema=public&pgbouncer=true&schema=x",
      ),
    ).toEqual([
      "The postgres: URL has parameters that pg does not read: channel_binding, schema, pgbouncer. They have no effect.",
    ]);
  });

  it("that may be part of a password are not named", () => {
    const said = warnings("postgres://db.example/app?hunt=er2@db.example/app");
    expect(said).toEqual(["The postgres: URL has parameters that pg does not read. They have no effect."]);
    expect(said.join()).not.toContain("hunt");
  });
});
