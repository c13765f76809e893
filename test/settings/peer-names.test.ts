import { describe, expect, it } from "vitest";
import { parseSettings } from "portcullis";
import { SettingsError } from "../../src/settings/errors.js";
import { PEER_NAMES, TOP_LEVEL_NAMES } from "../../src/settings/peer-names.js";
import { knownSettings } from "../support/known-settings.js";

type Package = keyof typeof PEER_NAMES;

/** Where the options of a package are pasted, and what the object needs besides. */
const PLACES: Record<Package, { path: string; around: (options: object) => object }[]> = {
  helmet: [
    { path: "headers", around: (options) => ({ headers: options }) },
    {
      path: "headers.contentSecurityPolicy",
      around: (options) => ({ headers: { contentSecurityPolicy: options } }),
    },
  ],
  cors: [{ path: "cors", around: (options) => ({ cors: { origins: ["https://a.example"], ...options } }) }],
  "express-rate-limit": [
    { path: "rateLimit", around: (options) => ({ rateLimit: options }) },
    {
      path: "rateLimit.perPrincipal",
      around: (options) => ({ session: {}, rateLimit: { perPrincipal: { limit: 1, ...options } } }),
    },
    { path: "apiKeys.failures", around: (options) => ({ apiKeys: { failures: options } }) },
  ],
  "express-session": [{ path: "session", around: (options) => ({ session: options }) }],
  jsonwebtoken: [{ path: "jwt", around: (options) => ({ jwt: options }) }],
};

function issuesOf(settings: object) {
  try {
    parseSettings({ trustedHosts: ["a.example"], secretKey: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E", ...settings });
  } catch (error) {
    if (error instanceof SettingsError) return error.issues;
    throw error;
  }
  return [];
}

const rows = Object.entries(PEER_NAMES).flatMap(([name, translations]) =>
  Object.entries(translations).map(([option, translation]) => [name as Package, option, translation] as const),
);

describe("an option of another package", () => {
  it.each(rows)("%s: %s is answered with its translation", (name, option, translation) => {
    for (const { path, around } of PLACES[name]) {
      const [issue, ...others] = issuesOf(around({ [option]: 1 }));
      expect(others).toEqual([]);
      expect(issue).toMatchObject({ code: "unknown-setting", path: `${path}.${option}` });
      if (translation.startsWith("Write ")) {
        expect([issue?.message, issue?.remedy]).toEqual([`There is no setting "${option}".`, translation]);
      } else {
        expect(issue?.message).toBe(`There is no setting "${option}". ${translation}`);
        expect(issue?.remedy).toMatch(
          /\bis \w+(?: of \w+)?(?:: "[^"]*")? here/.test(translation)
            ? /^Write \w+(?:: .+| of \w+ instead| instead)\.$/
            : /^Remove the setting\.$/,
        );
      }
      expect(issuesOf(around({}))).toEqual([]);
    }
  });

  it.each([
    [{ rateLimit: { windowMs: 900_000 } }, "Write windowSeconds: 900."],
    [{ rateLimit: { windowMs: 1500 } }, "Write windowSeconds instead."],
    [{ rateLimit: { max: 50 } }, "Write limit: 50."],
    [{ rateLimit: { passOnStoreError: true } }, 'Write onStoreError: "allow".'],
    [{ rateLimit: { keyGenerator: () => "k" } }, 'Write key: "address", "principal" or a function of the request.'],
    [{ rateLimit: { validate: false } }, "Remove the setting."],
    [{ headers: { frameguard: { action: "deny" } } }, 'Write frameOptions: "DENY", "SAMEORIGIN" or false.'],
    [{ session: { name: "sid" } }, "Write cookieName instead."],
    [{ session: { proxy: true } }, "Write trustProxy of applySecurity instead."],
    [{ jwt: { expiresIn: 900 } }, "Write accessTokenMinutes instead."],
    [{ jwt: { clockTolerance: 3 } }, "Write leewaySeconds: 3."],
    [{ jwt: { secretOrKey: "x" } }, "Write secret or privateKey; the public key is derived from it."],
    [{ helmet: {} }, "Write headers instead."],
    [{ contentSecurityPolicy: false }, "Write headers: { contentSecurityPolicy: … }."],
    [{ secret: "x" }, /^Write secretKey, /],
    [{ windowMs: 60_000 }, /^Write rateLimit: \{ windowSeconds: … \}, in seconds/],
    [{ rateLimit: 100 }, "Write { limit: 100 }."],
    [{ cors: ["https://a.example"] }, 'Write { origins: ["https://app.example.com"] }.'],
    [
      { headers: { contentSecurityPolicy: { directives: { "upgrade-insecure-requests": null } } } },
      "Write false to leave this directive out.",
    ],
    [{ cors: { origins: [/example\.com$/] } }, /^For all subdomains, write "https:\/\/\*\.example\.com" as an origin/],
    [{ trustedHosts: [/example\.com$/] }, /"\*\.example\.com" as a host\.$/],
  ])("%j: one issue, whose remedy says what to write", (settings, remedy) => {
    expect(issuesOf(settings).map((issue) => issue.remedy)).toEqual([
      typeof remedy === "string" ? remedy : expect.stringMatching(remedy),
    ]);
  });

  it("on the top level is no setting itself", () => {
    for (const option of Object.keys(TOP_LEVEL_NAMES)) {
      const issues = issuesOf({ [option]: 1 });
      expect(issues.map(({ code, path }) => [code, path])).toEqual([["unknown-setting", option]]);
      expect(issues[0]?.remedy).toMatch(/^Write /);
    }
  });

  it("that is required under another name is one issue", () => {
    expect(issuesOf({ cors: { origin: "https://a.example" } }).map(({ path }) => path)).toEqual(["cors.origin"]);
    expect(issuesOf({ cors: { orgn: [], methods: [] } }).map(({ path }) => path)).toEqual([
      "cors.origins",
      "cors.orgn",
    ]);
    expect(issuesOf({ rateLimit: { perPrincipal: { max: 9 } }, session: {} }).map(({ path }) => path)).toEqual([
      "rateLimit.perPrincipal.max",
    ]);
  });

  it("is translated into settings that exist, and is no setting itself", () => {
    for (const [name, option, translation] of rows) {
      const place = PLACES[name][0]?.path ?? "";
      const known = knownSettings([place]);
      expect(known.length).toBeGreaterThan(0);
      expect(known, `${name} ${option}`).not.toContain(option);
      // "… is windowSeconds here": the name between.
      const target = /\bis (\w+)(?: of an entry of keys| of applySecurity)? here/.exec(translation)?.[1];
      if (target === undefined || translation.includes(" of ")) continue;
      expect(known, `${name} ${option}`).toContain(target);
    }
  });

  it("says the unit where it differs", () => {
    const message = (settings: object) => issuesOf(settings).map((issue) => `${issue.message} ${issue.remedy}`)[0];
    expect(message({ rateLimit: { windowMs: 60_000 } })).toMatch(/windowSeconds here, in seconds/);
    expect(message({ session: { cookie: { maxAge: 1 } } })).toMatch(/maxAge in seconds instead of milliseconds/);
    expect(message({ jwt: { expiresIn: "15m" } })).toMatch(/accessTokenMinutes here, in minutes/);
  });

  it.each([
    [{ cors: { origins: ["https://a.example"], origin: "x" } }, 'Did you mean "origins"?'],
    [{ headers: { xFrameOptions: "DENY" } }, 'Did you mean "frameOptions"?'],
    [{ headers: { contentSecurityPolicy: { directives: { scriptSrc: [] } } } }, 'Did you mean "script-src"?'],
    [{ rateLimit: { windowSecond: 1 } }, 'Did you mean "windowSeconds"?'],
    [{ jwt: { algorithmus: "HS256" } }, 'Did you mean "algorithm"?'],
  ])("leaves the suggestion of a near name: %j", (settings, hint) => {
    expect(issuesOf(settings)[0]?.message).toContain(hint);
  });

  it("does not take a name of every object for a translation", () => {
    for (const option of ["constructor", "toString", "hasOwnProperty"])
      expect(issuesOf({ jwt: { [option]: 1 } })[0]?.message).toMatch(/^There is no setting "\w+"\. (?:Known|Did you)/);
  });
});
