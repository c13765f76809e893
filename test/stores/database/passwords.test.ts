import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { createRuntime } from "../../../src/core/runtime.js";
import { parseDatabaseUrl } from "../../../src/stores/database/url.js";
import { openDatabase } from "../../../src/stores/database/open-database.js";

describe("a database URL", () => {
  test.each([
    // A password that was not percent-encoded, taken for a port and a name.
    "postgres://app:1/hunter2@db.example",
    "mysql://app:1/hunter2@db.example",
    "postgres://app:1/hunter2@db.example?x",
  ])("%s: is refused without any part of the password", (url) => {
    expect(() => parseDatabaseUrl(url)).toThrow("URL is malformed");
    try {
      parseDatabaseUrl(url);
    } catch (error) {
      expect(inspect(error)).not.toContain("hunter2");
    }
  });

  test("never shows a password among the options, or one with odd characters, in an error or description", async () => {
    for (const url of [
      "postgres://app@127.0.0.1:1/app?password=hunter2",
      "postgres://app:hunter2%40%2F@127.0.0.1:1/app",
      "mysql://app:hunter2%23@127.0.0.1:1/app",
    ]) {
      const stores = openDatabase(url, createRuntime());
      const error: unknown = await stores.ready().catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(Error);
      expect(inspect([error, stores.describe()], { depth: 10, showHidden: true })).not.toContain("hunter2");
      await stores.close();
    }
  });
});
