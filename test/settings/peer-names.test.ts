import { describe, expect, it } from "vitest";
import { parseSettings } from "portcullis";
import { SettingsError } from "../../src/settings/errors.js";
import { PEER_NAMES } from "../../src/settings/peer-names.js";
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
      expect(issuesOf(around({ [option]: 1 }))).toEqual([
        {
          code: "unknown-setting",
          path: `${path}.${option}`,
          message: `There is no setting "${option}". ${translation}`,
          remedy: "Correct the name or remove the setting.",
        },
      ]);
      expect(issuesOf(around({}))).toEqual([]);
    }
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
    const message = (settings: object) => issuesOf(settings)[0]?.message;
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
