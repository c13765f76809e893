import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { openSqlite, SqlApiKeyStore, SqlTokenStore } from "portcullis/sql";
import { DRIVERS_HERE } from "../contract/drivers.js";
import { runChild } from "./children.js";

const folder = mkdtempSync(join(tmpdir(), "portcullis-killed-"));
afterAll(() => rmSync(folder, { recursive: true }));

const CHILD = fileURLToPath(new URL("writing-child.ts", import.meta.url));

describe.each(DRIVERS_HERE)("a process killed while it writes by %s", (driver) => {
  // Killed after different writes, since each kind has a transaction of its own.
  test.concurrent.each([63, 148])("loses nothing it acknowledged, %i writes in", async (writes) => {
    const url = `sqlite:${join(folder, `${driver.replace(":", "-")}-${writes}.db`)}`;
    const told: string[] = [];
    const child = runChild(CHILD, [url, driver], {
      onLine: (line, process) => {
        told.push(line);
        if (told.length === writes) process.kill("SIGKILL");
      },
    });
    const ended = await child.ended;
    expect(ended.signal, ended.err).toBe("SIGKILL");
    expect(told.length).toBeGreaterThanOrEqual(writes);

    const { db, close } = await openSqlite(url);
    const keys = new SqlApiKeyStore(db);
    const tokens = new SqlTokenStore(db);
    await keys.init();
    await tokens.init();
    for (const line of told) {
      const [what, n] = line.split(" ");
      expect(await holds(what, `${n}`, keys, tokens), line).toBe(true);
    }
    await close();
  });
});

async function holds(what: string | undefined, n: string, keys: SqlApiKeyStore, tokens: SqlTokenStore): Promise<boolean> {
  const now = Date.now();
  switch (what) {
    case "key":
      return (await keys.get(`key-${n}`)) !== undefined;
    case "rotate":
      return (await keys.get(`key-${n}`))?.rotatedTo === `next-${n}` && (await keys.get(`next-${n}`)) !== undefined;
    case "revoke":
      return (await keys.get(`key-${n}`))?.revokedReason === "lost laptop";
    case "usage":
      return (await keys.get(`key-${n}`))?.usageCount === 5;
    case "token":
      return (await tokens.get(`token-${n}`)) !== undefined;
    case "exchange":
      return (await tokens.get(`token-${n}`))?.successorId === `after-${n}` && (await tokens.get(`after-${n}`)) !== undefined;
    case "family":
      return (await tokens.get(`token-${n}`))?.revokedAt === 11 && (await tokens.get(`after-${n}`))?.revokedAt === 11;
    case "jti":
      return tokens.isRevoked({ jti: `jti-${n}`, subject: "someone", issuedAt: now });
    case "denied":
      return tokens.isRevoked({ jti: "j", subject: "someone", issuedAt: now, familyId: `denied-${n}` });
    case "subject":
      return tokens.isRevoked({ jti: "j", subject: `user-${n}`, issuedAt: 999_999 });
    default:
      return false;
  }
}
