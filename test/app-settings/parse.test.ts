import { EventEmitter } from "node:events";
import { describe, expect, it } from "vitest";
import { Secret } from "../../src/core/secret.js";
import { SettingsError, type SettingsIssue } from "../../src/settings/errors.js";
import { parseSettings } from "../../src/app-settings/parse.js";
import { settingsSchema } from "../../src/app-settings/schema.js";
import { testEdges, testTexts } from "../settings/edges.js";

const SECRET = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";
const base = { trustedHosts: ["a.example"], secretKey: SECRET };

function errorOf(settings: unknown): SettingsError {
  try {
    parseSettings(settings);
  } catch (error) {
    if (error instanceof SettingsError) return error;
    throw error;
  }
  throw new Error("These settings were accepted.");
}
const issuesOf = (settings: object): readonly SettingsIssue[] => errorOf({ ...base, ...settings }).issues;

describe("trustProxy", () => {
  testEdges(settingsSchema, [{ name: "trustProxy", lowest: 0, highest: 32 }]);

  it.each([false, 1, ["10.0.0.1"], ["10.0.0.0/8", "2001:db8::/32"], ["loopback", "linklocal", "uniquelocal"]])(
    "accepts %j",
    (trustProxy) => {
      expect(parseSettings({ ...base, trustProxy }).trustProxy).toEqual(trustProxy);
    },
  );

  it.each<[unknown, string, RegExp]>([
    [true, "unsafe-setting trustProxy", /from every client/],
    ["10.0.0.1", "wrong-type trustProxy", /This must be a number of proxies or a list of addresses\./],
    [null, "wrong-type trustProxy", /This must be a number of proxies or a list of addresses\./],
    [[], "wrong-value trustProxy", /must (?:be|have) at least/],
    [["proxy.example"], "wrong-value trustProxy[0]", /This is not an IP address or a CIDR range\./],
    [1.5, "wrong-type trustProxy", /This must be a whole number\./],
  ])("refuses %j", (trustProxy, issue, message) => {
    const issues = issuesOf({ trustProxy });
    expect(issues.map(({ code, path }) => `${code} ${path}`)).toEqual([issue]);
    expect(issues[0]?.message).toMatch(message);
    expect(issues[0]?.remedy).toMatch(/\w{3}/);
  });
});

describe("the settings that name servers", () => {
  const url = (name: string, text: string): unknown => {
    const kept = parseSettings({ ...base, [name]: text })[name as "redis"];
    return kept instanceof Secret ? kept.reveal() : kept;
  };
  it.each([
    ["redis", "redis://host"],
    ["redis", "rediss://user:password@host:6380/1"],
    ["redis", "REDIS://host"],
    ["database", "sqlite:x.db"],
    ["database", "postgres://host/name"],
    ["database", "mariadb://host/name"],
  ])("%s accepts %s, and never prints it", (name, text) => {
    expect(url(name, text)).toBe(text);
    expect(JSON.stringify(parseSettings({ ...base, [name]: text }))).not.toContain(text);
  });

  it.each<[string, unknown, RegExp]>([
    ["redis", "http://host", /redis:\/\/user/],
    ["redis", "redis://", /redis:\/\/user/],
    ["redis", "redissss://host", /redis:\/\/user/],
    ["redis", "to redis://host", /redis:\/\/user/],
    ["redis", new Secret("http://host"), /redis:\/\/user/],
    ["database", "oracle://host", /sqlite:path/],
    ["database", "", /sqlite:path/],
  ])("%s refuses %s", (name, given, remedy) => {
    expect(issuesOf({ [name]: given })).toEqual([
      {
        code: "wrong-value",
        path: name,
        message: expect.stringMatching(new RegExp(`^The ${name} URL does not begin with`, "i")) as string,
        remedy: expect.stringMatching(remedy) as string,
      },
    ]);
  });

  const client = new EventEmitter();
  it.each(["redis", "database"])("%s accepts a client, which it does not copy, and a Secret", (name) => {
    const parsed = parseSettings({ ...base, [name]: client });
    expect(parsed[name as "redis"]).toBe(client);
    expect(Object.isFrozen(client)).toBe(false);
    const kept = new Secret(name === "redis" ? "redis://host" : "sqlite:x.db");
    expect(parseSettings({ ...base, [name]: kept })[name as "redis"]).toBe(kept);
  });

  it.each([7, true, null, () => client, Promise.resolve(client)])("both refuse %s", (given) => {
    expect(issuesOf({ redis: given, database: given })).toMatchObject(
      ["redis", "database"].map((path) => ({
        code: "wrong-value",
        path,
        message: expect.stringMatching(/This must be a URL or an object\./) as string,
        remedy: expect.stringMatching(/\w{3}/) as string,
      })),
    );
  });

  testTexts(
    settingsSchema,
    "redisPrefix",
    [
      ["", "{app}:"],
      ["app:", "app}"],
      ["a".repeat(64), "a".repeat(65)],
    ],
    /hash tags|must have at most/,
  );

  it("the key prefix in Redis has a default that a setting replaces", () => {
    expect(parseSettings(base).redisPrefix).toBe("portcullis:");
  });
});

describe("parseSettings", () => {
  it("fills in the defaults", () => {
    expect(parseSettings({ trustedHosts: ["a.example"] })).toMatchObject({
      debug: false,
      trustProxy: false,
      headers: { mode: "enforce" },
      cors: false,
      rateLimit: { limit: 100 },
      csrf: false,
      session: false,
      apiKeys: false,
      jwt: false,
    });
    expect(parseSettings({ trustedHosts: ["a.example"] })).not.toHaveProperty("secretKey");
  });

  it("turns csrf on with sessions, unless csrf is set", () => {
    expect(parseSettings({ ...base, session: {} }).csrf).toMatchObject({ mode: "enforce", sameSite: "refuse" });
    expect(parseSettings({ ...base, session: {}, csrf: false }).csrf).toBe(false);
    expect(parseSettings({ ...base, csrf: { sameSite: "allow" } }).csrf).toMatchObject({ sameSite: "allow" });
  });

  it("accepts loopback hosts in debug, unless trustedHosts is set", () => {
    expect(parseSettings({ debug: true }).trustedHosts).toMatchObject({ hosts: ["localhost", "127.0.0.1", "[::1]"] });
    expect(parseSettings({ debug: true, trustedHosts: ["a.example"] }).trustedHosts).toMatchObject({
      hosts: ["a.example"],
    });
    expect(parseSettings({ debug: true, trustedHosts: false }).trustedHosts).toBe(false);
  });

  it.each(["headers", "cors", "rateLimit", "csrf", "session", "apiKeys", "jwt", "trustedHosts"])(
    "turns %s off by false, and refuses true",
    (name) => {
      expect(parseSettings({ ...base, [name]: false })).toMatchObject({ [name]: false });
      expect(issuesOf({ [name]: true })).toEqual([
        {
          code: "wrong-type",
          path: name,
          message: expect.stringMatching(/true is not allowed/) as string,
          remedy: expect.stringMatching(/Write \{\} to use the defaults/) as string,
        },
      ]);
    },
  );

  it.each([undefined, null, 7, "x", [], true])("refuses %j as settings", (settings) => {
    expect(errorOf(settings).issues).toEqual([
      {
        code: "wrong-type",
        path: "",
        message: "The settings must be an object.",
        remedy: expect.stringMatching(/applySecurity\(app, \{/) as string,
      },
    ]);
  });

  it("accepts only a function as onRefusal", () => {
    const onRefusal = () => undefined;
    expect(parseSettings({ ...base, onRefusal }).onRefusal).toBe(onRefusal);
    expect(issuesOf({ onRefusal: "no" })).toMatchObject([
      {
        code: "wrong-value",
        path: "onRefusal",
        message: "This must be a function.",
        remedy: expect.stringMatching(/contentType, body/) as string,
      },
    ]);
  });

  it("names each unknown key, without its value", () => {
    expect(issuesOf({ sesion: { secret: SECRET }, x: 1 })).toEqual([
      {
        code: "unknown-setting",
        path: "sesion",
        message: 'There is no setting "sesion". Did you mean "session"?',
        remedy: "Correct the name or remove the setting.",
      },
      {
        code: "unknown-setting",
        path: "x",
        message: expect.stringMatching(/^There is no setting "x"\. Known: secretKey, debug, .*, jwt\.$/) as string,
        remedy: "Correct the name or remove the setting.",
      },
    ]);
    expect(issuesOf({ toString: 1 }).map(({ path }) => path)).toEqual(["toString"]);
  });

  it("treats undefined as absent at every depth", () => {
    const parsed = parseSettings({
      ...base,
      redis: undefined,
      session: { secret: undefined, domain: undefined },
      jwt: { secret: undefined },
      rateLimit: { perPrincipal: undefined },
    });
    expect(parsed).toEqual(parseSettings({ ...base, session: {}, jwt: {}, rateLimit: {} }));
  });

  it("returns settings that are deeply frozen, apart from the app's own instances", () => {
    const store = { increment: () => undefined, decrement: () => undefined, resetKey: () => undefined };
    const parsed = parseSettings({ ...base, cors: { origins: ["https://a.example"] }, rateLimit: { store } });
    for (const part of [parsed, parsed.cors, parsed.cors && parsed.cors.origins, parsed.headers, parsed.rateLimit])
      expect(Object.isFrozen(part)).toBe(true);
    expect(parsed.rateLimit && parsed.rateLimit.store).toBe(store);
    expect(Object.isFrozen(store)).toBe(false);
    expect(Object.isFrozen(parsed.secretKey)).toBe(true);
  });

  it("reports a setting whose getter throws as invalid, with the error as its cause", () => {
    const thrown = new Error("no such file");
    const settings = {
      ...base,
      get cors(): never {
        throw thrown;
      },
    };
    const error = errorOf(settings);
    expect(error.issues).toEqual([
      {
        code: "wrong-value",
        path: "cors",
        message: "Reading this setting threw an error.",
        remedy: expect.stringMatching(/getter/) as string,
      },
    ]);
    expect(error.cause).toBe(thrown);
  });

  it("does not report a setting whose getter throws as missing too", () => {
    const unreadable = (): never => {
      throw new Error("locked");
    };
    const error = errorOf({
      session: {},
      get secretKey() {
        return unreadable();
      },
      get trustedHosts() {
        return unreadable();
      },
    });
    expect(error.issues.map(({ code, path }) => [code, path]).sort()).toEqual([
      ["wrong-value", "secretKey"],
      ["wrong-value", "trustedHosts"],
    ]);
  });
});
