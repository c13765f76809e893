import { inspect } from "node:util";
import express from "express";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { applySecurity, parseSettings, type ResolvedSecuritySettings, type Security, SettingsError } from "portcullis";
import { SETTINGS_CODES } from "../../src/settings/errors.js";
import { serve } from "../support/serve.js";
import { runs } from "./seed.js";
import { nearlyRight, PRIVATE_KEY, rightSettings, SECRETS, UNSPEAKABLE } from "./settings-arbitraries.js";

/** What a middleware library may answer by itself, all of them with a reason in the body. */
const REFUSALS = [400, 403, 429];

function expectNothingSpoken(text: string): void {
  for (const secret of UNSPEAKABLE) expect(text.includes(secret), `a secret in ${text.slice(0, 400)}`).toBe(false);
}

/** Every issue says where, what and what to do, in one printable line each, and quotes no value that was given. */
function expectGoodIssues(error: SettingsError): void {
  expect(error.issues.length).toBeGreaterThan(0);
  for (const { code, path, message, remedy } of error.issues) {
    expect(SETTINGS_CODES).toContain(code);
    expect(path).toMatch(/^[\x20-\x7e]+$/);
    for (const text of [message, remedy]) expect(text).toMatch(/^[^\p{Cc}\u2028\u2029]{5,4000}$/u);
  }
  expectNothingSpoken(`${error.message}\n${JSON.stringify(error.issues)}\n${inspect(error)}`);
}

/** The pipeline, or the reason why not, which is never anything but a SettingsError with a path for each issue. */
function secured(app: express.Express, settings: unknown): Security | undefined {
  try {
    return applySecurity(app, settings as never);
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    expectGoodIssues(error);
    return undefined;
  }
}

/** One GET through it over a socket: the route's answer, or a refusal that says why. */
async function expectAnswer(app: express.Express): Promise<number> {
  app.get("/", (_req, res) => void res.send("reached"));
  const server = await serve(app);
  try {
    const late = new Promise<never>((_resolve, reject) =>
      setTimeout(() => reject(new Error("no answer in 5 s")), 5000).unref(),
    );
    const answer = await Promise.race([server.send("/"), late]);
    if (answer.status === 200) expect(answer.text).toBe("reached");
    else {
      expect(REFUSALS).toContain(answer.status);
      expect(answer.headers["content-type"]).toBe("application/problem+json; charset=utf-8");
      expect(answer.json()).toMatchObject({
        status: answer.status,
        code: expect.any(String) as string,
        type: expect.stringMatching(/^urn:problem-type:portcullis:/) as string,
      });
    }
    return answer.status;
  } finally {
    await server.close();
  }
}

const warned: string[] = [];
beforeEach(() => {
  warned.length = 0;
  vi.spyOn(process, "emitWarning").mockImplementation((warning) => void warned.push(String(warning)));
});
afterEach(() => {
  vi.restoreAllMocks();
  expectNothingSpoken(warned.join("\n"));
});

describe("settings are refused with a path for every issue, or make a pipeline that answers", () => {
  async function share(
    arbitrary: fc.Arbitrary<unknown>,
    numRuns: number,
  ): Promise<{ worked: number; refused: number; statuses: Map<number, number> }> {
    let worked = 0;
    let refused = 0;
    const statuses = new Map<number, number>();
    await fc.assert(
      fc.asyncProperty(arbitrary, async (settings) => {
        const app = express();
        const security = secured(app, settings);
        if (security === undefined) return void (refused += 1);
        worked += 1;
        const status = await expectAnswer(app);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        await security.close();
      }),
      { numRuns: runs(numRuns) },
    );
    return { worked, refused, statuses };
  }

  it("with valid ones", async () => {
    const { worked, statuses } = await share(rightSettings, 80);
    expect(worked).toBe(runs(80));
    expect([...statuses.keys()]).toEqual([200]);
  }, 120_000);

  it("with one to three things wrong in them", async () => {
    const { worked, refused } = await share(nearlyRight, 350);
    // Both outcomes must have been seen often, or nothing was tried.
    expect(Math.min(worked, refused)).toBeGreaterThan(runs(350) / 20);
  }, 120_000);

  it("with any JSON-like value at the root and below every name", async () => {
    const anything = fc.oneof(
      { weight: 1, arbitrary: fc.jsonValue() },
      {
        weight: 1,
        arbitrary: fc.anything({
          withBigInt: true,
          withDate: true,
          withMap: true,
          withSet: true,
          withTypedArray: true,
          withNullPrototype: true,
          withSparseArray: true,
          withBoxedValues: true,
          withObjectString: true,
        }),
      },
    );
    const under = fc.record({
      name: fc.constantFrom(
        "secretKey",
        "debug",
        "trustProxy",
        "redis",
        "redisPrefix",
        "database",
        "onRefusal",
        "headers",
        "trustedHosts",
        "cors",
        "rateLimit",
        "csrf",
        "session",
        "apiKeys",
        "jwt",
      ),
      value: anything,
    });
    const settings = under.map(({ name, value }) => ({
      trustedHosts: ["127.0.0.1"],
      secretKey: SECRETS.root,
      [name]: value,
    }));
    const { refused } = await share(settings, 200);
    expect(refused).toBeGreaterThan(runs(200) / 4);
    fc.assert(
      fc.property(anything, (value) => {
        try {
          parseSettings(value);
          expect.unreachable("nothing says the hosts");
        } catch (error) {
          expect(error).toBeInstanceOf(SettingsError);
        }
      }),
      { numRuns: runs(300) },
    );
  }, 120_000);
});

describe("settings that are accepted", () => {
  /** Whatever is taken of the settings that are right, and of those that are nearly. */
  const taken = fc.oneof(rightSettings, nearlyRight);
  function whereTaken(check: (parsed: ResolvedSecuritySettings, given: unknown) => void, numRuns: number): void {
    let seen = 0;
    fc.assert(
      fc.property(taken, (given) => {
        let parsed: ResolvedSecuritySettings;
        try {
          parsed = parseSettings(given);
        } catch (error) {
          if (error instanceof SettingsError) return;
          throw error;
        }
        seen += 1;
        check(parsed, given);
      }),
      { numRuns: runs(numRuns) },
    );
    expect(seen).toBeGreaterThan(runs(numRuns) / 4);
  }

  it("are frozen, and do not change when they are parsed again", () => {
    whereTaken((parsed) => {
      expect(parseSettings(parsed)).toStrictEqual(parsed);
      expect(Object.isFrozen(parsed)).toBe(true);
    }, 150);
  });

  it("are neither changed nor retained: later changes have no effect", () => {
    fc.assert(
      fc.property(rightSettings, (given) => {
        const copy = structuredClone(given);
        const parsed = parseSettings(given);
        expect(given).toStrictEqual(copy);
        const before = JSON.stringify(parsed);
        const spoil = (holder: object): void => {
          for (const [key, value] of Object.entries(holder)) {
            if (typeof value === "object" && value !== null) spoil(value);
            else (holder as Record<string, unknown>)[key] = "spoilt";
          }
        };
        spoil(given);
        expect(JSON.stringify(parsed)).toBe(before);
      }),
      { numRuns: runs(80) },
    );
  });

  it("print no secret", () => {
    whereTaken((parsed, given) => {
      // Where a host or an origin belongs, any name is one; such a name is shown, as it should be.
      if (
        JSON.stringify(parsed).includes(SECRETS.misplaced.toLowerCase()) ||
        inspect(given, { depth: 9 }).includes(SECRETS.misplaced)
      )
        return;
      expectNothingSpoken(
        `${JSON.stringify(parsed)}\n${inspect(parsed, { depth: 9, showHidden: true })}\n${String(parsed.secretKey)}`,
      );
    }, 120);
  });
});

describe("describe()", () => {
  it("returns the same twice and for parsed settings, as JSON and without a secret", async () => {
    await fc.assert(
      fc.asyncProperty(rightSettings, async (settings) => {
        const security = applySecurity(express(), settings as never);
        const said = security.describe();
        expect(security.describe()).toStrictEqual(said);
        expect(JSON.parse(JSON.stringify(said))).toStrictEqual(said);
        expectNothingSpoken(
          `${JSON.stringify(said)}\n${inspect(said, { depth: 9, showHidden: true })}\n${inspect(security, { depth: 9, showHidden: true })}`,
        );
        const again = applySecurity(express(), parseSettings(settings) as never);
        expect(again.describe()).toStrictEqual(said);
        // What a reader does to one answer is not in the next.
        for (const row of said) Object.assign(row.settings, { mode: "spoilt" });
        expect(security.describe()).toStrictEqual(again.describe());
        await Promise.all([security.close(), again.close()]);
      }),
      { numRuns: runs(50) },
    );
  }, 120_000);

  it("does not contain the password of a store's URL", async () => {
    const password = fc.stringMatching(/^[A-Za-z0-9._~-]{12,40}$/);
    await fc.assert(
      fc.asyncProperty(password, fc.constantFrom("postgres", "mysql", "mariadb"), async (text, engine) => {
        // Nothing listens on port 9 (discard) of this machine.
        const security = applySecurity(express(), {
          secretKey: SECRETS.root,
          trustedHosts: ["127.0.0.1"],
          session: {},
          apiKeys: {},
          jwt: { algorithm: "ES256", privateKey: PRIVATE_KEY },
          redis: `redis://user:${text}@127.0.0.1:9/0`,
          database: `${engine}://user:${text}@127.0.0.1:9/name`,
        });
        const reason = await security.ready().then(
          () => "ready",
          (error: unknown) => inspect(error),
        );
        expect(reason).not.toBe("ready");
        const said = [
          reason,
          JSON.stringify(security.describe()),
          JSON.stringify(security.settings),
          inspect(security.settings, { depth: 9, showHidden: true }),
          ...warned,
        ].join("\n");
        expect(said).not.toContain(text);
        await security.close();
      }),
      { numRuns: runs(4) },
    );
  }, 120_000);
});
