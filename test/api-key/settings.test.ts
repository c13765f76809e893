import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { parse } from "../../src/settings/object.js";
import { SettingsError } from "../../src/settings/errors.js";
import { Secret } from "../../src/core/secret.js";
import { createRuntime } from "../../src/core/runtime.js";
import { apiKeyAuth, createApiKey } from "../../src/api-key/middleware.js";
import { apiKeyRoutes } from "../../src/api-key/routes.js";
import { ApiKeyService } from "../../src/api-key/service.js";
import { type ApiKeySettings, apiKeyAuthSchema, apiKeySchema } from "../../src/api-key/settings.js";
import { testEdges, testTexts } from "../settings/edges.js";
import { SECRET, WatchedStore } from "./support.js";

function issues(build: () => unknown): string[] {
  try {
    build();
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    for (const { remedy } of error.issues) expect(remedy).toMatch(/\w{3}/);
    return error.issues.map(({ code, path, message }) => `${code} ${path}: ${message}`);
  }
  return [];
}

const NOTHING = () => undefined;
/** All methods of a store, and no store: what is called must be an object. */
const STORE = {
  init: NOTHING,
  insert: NOTHING,
  get: NOTHING,
  list: NOTHING,
  revoke: NOTHING,
  rotate: NOTHING,
  replaceHash: NOTHING,
  addUsage: NOTHING,
  close: NOTHING,
};

describe("settings", () => {
  it("have these defaults", () => {
    expect(parse(apiKeySchema, {})).toEqual({
      mode: "enforce",
      prefix: "mcp_",
      formerPrefixes: [],
      length: 32,
      hash: "argon2id",
      headerName: "X-API-Key",
      cacheSeconds: 10,
      cacheSize: 10_000,
      storeTimeoutMs: 250,
      hashConcurrency: 2,
      hashQueue: 100,
      failures: { limit: 20, windowSeconds: 60 },
      usageFlushSeconds: 5,
      realm: "api",
    });
  });

  it.each([
    ["nothing", undefined],
    ["{}", {}],
    ["frozen", Object.freeze({})],
    ["null-prototype", Object.assign(Object.create(null) as object, { prefix: "mcp_" })],
    ["undefined values", { prefix: undefined, store: undefined, failures: undefined, secret: undefined }],
  ])("%s is accepted by service, layer and routes", (_name, settings) => {
    const service = new ApiKeyService(settings);
    expect(service.options.prefix).toBe("mcp_");
    expect(apiKeyAuth(service).name).toBe("apiKeyMiddleware");
    expect(apiKeyAuth(service, {}).name).toBe("apiKeyMiddleware");
    expect(typeof apiKeyRoutes(service, {})).toBe("function");
  });

  it("do not change when they are parsed again, and the caller's object is left alone", () => {
    const given: ApiKeySettings = Object.freeze({
      secret: SECRET,
      failures: Object.freeze({ limit: 3 }),
      store: new WatchedStore(),
    });
    const once = parse(apiKeySchema, given);
    expect(parse(apiKeySchema, once)).toEqual(once);
    expect(once.store).toBe(given.store);
    expect(once.failures).not.toBe(given.failures);
  });

  it("are refused with all issues at once", () => {
    const wrong = {
      prefix: "no end",
      length: 18,
      hash: "md5",
      headerName: "Authorization",
      cacheSeconds: 61,
      failures: { limit: 0, windowSecond: 1 },
      store: {},
      secret: "short",
      cacheSecond: 1,
    } as unknown as ApiKeySettings;
    expect(issues(() => new ApiKeyService(wrong))).toMatchInlineSnapshot(`
      [
        "wrong-value prefix: The prefix must be 1 to 16 letters, digits, '_' or '-', and end in '_' or '-'.",
        "wrong-value length: This must be at least 19.",
        "wrong-value hash: This value is not allowed.",
        "wrong-value headerName: This header already has a standard meaning.",
        "wrong-value cacheSeconds: This must be at most 60.",
        "wrong-type store: This is not an ApiKeyStore: a required method is missing.",
        "wrong-value failures.limit: This must be at least 1.",
        "unknown-setting failures.windowSecond: There is no setting "windowSecond". Did you mean "windowSeconds"?",
        "weak-secret secret: The secret is shorter than 32 bytes.",
        "unknown-setting cacheSecond: There is no setting "cacheSecond". Did you mean "cacheSeconds"?",
      ]
    `);
    expect(issues(() => apiKeyAuth(new ApiKeyService(), { headerName: "x y" }))).toEqual([
      "wrong-value headerName: This is not a valid header name.",
    ]);
    expect(issues(() => apiKeyRoutes(new ApiKeyService(), { realms: "x" } as object))[0]).toContain(
      'Did you mean "realm"?',
    );
  });

  testEdges(apiKeySchema, [
    { name: "length", lowest: 19, highest: 128 },
    { name: "cacheSeconds", lowest: 0, highest: 60 },
    { name: "cacheSize", lowest: 1, highest: 1_000_000 },
    { name: "storeTimeoutMs", lowest: 1, highest: 60_000 },
    { name: "hashConcurrency", lowest: 1, highest: 64 },
    { name: "hashQueue", lowest: 0, highest: 10_000 },
    { name: "usageFlushSeconds", lowest: 0.05, highest: 3600 },
    { name: "failures.limit", lowest: 1, highest: 10_000 },
    { name: "failures.windowSeconds", lowest: 1, highest: 86_400 },
  ]);

  testTexts(apiKeySchema, "prefix", [
    ["_", ""],
    ["mcp-", "mcp"],
    [`${"a".repeat(15)}_`, `${"a".repeat(16)}_`],
    ["a-9_", "a.9_"],
    ["mcp_", " mcp_"],
    ["mcp__", "mcp_ _"],
    ["mcp_", "mcp_\n"],
  ]);

  testTexts(apiKeySchema, "headerName", [
    ["x", ""],
    ["a".repeat(64), "a".repeat(65)],
    ["X-Key.1~", "X-Key:"],
    ["X_Key", "(X-Key"],
    ["X-Cookie", "cookie"],
    ["X-Host", "HOST"],
    ["X-Proto", "X-Forwarded-Proto"],
    ["Ages", "Age"],
    ["X-Site", "Sec-Fetch-Site"],
    ["X-Port", "X-Forwarded-Port"],
    ["X-Method", "Access-Control-Request-Method"],
    ["Accepted", "Accept"],
    ["X-Language", "Accept-Language"],
    ["X-Constructor", "constructor"],
    ["X-Proto-Key", "__proto__"],
  ]);

  testTexts(
    apiKeySchema,
    "realm",
    [
      ["a", ""],
      ["a b", 'a"'],
      ["a!#[]~", '"a'],
      ["a".repeat(64), "a".repeat(65)],
      ["a/b", "a\\"],
      ["a", "\na"],
    ],
    /printable ASCII/,
  );

  it.each(["init", "insert", "get", "list", "revoke", "rotate", "replaceHash", "addUsage", "close"])(
    "a store without %s is refused",
    (method) => {
      const store = new WatchedStore();
      expect(issues(() => parse(apiKeySchema, { store }))).toEqual([]);
      expect(
        issues(() =>
          parse(apiKeySchema, { store: Object.assign(Object.create(store) as object, { [method]: undefined }) }),
        ),
      ).toEqual(["wrong-type store: This is not an ApiKeyStore: a required method is missing."]);
    },
  );

  it.each([null, "memory", 7, Object.assign(() => undefined, STORE)])(
    "a store that is not an object is refused: %s",
    (store) => {
      expect(issues(() => parse(apiKeySchema, { store }))).toEqual([
        "wrong-type store: This is not an ApiKeyStore: a required method is missing.",
      ]);
    },
  );

  it("one mounting of the layer may set mode, header and realm, and nothing else", () => {
    expect(parse(apiKeyAuthSchema, {})).toEqual({});
    expect(parse(apiKeyAuthSchema, { mode: "enforce", headerName: "X-Key", realm: "keys" })).toEqual({
      mode: "enforce",
      headerName: "X-Key",
      realm: "keys",
    });
    expect(parse(apiKeyAuthSchema, { mode: "report" })).toEqual({ mode: "report" });
    expect(issues(() => parse(apiKeyAuthSchema, { prefix: "a_" }))).toEqual([
      'unknown-setting prefix: There is no setting "prefix". Known: mode, headerName, realm.',
    ]);
  });

  it("hmac-sha256 needs a secret, in the settings or as secretKey", () => {
    expect(issues(() => new ApiKeyService({ hash: "hmac-sha256" }))).toEqual([
      'missing-setting secret: hash: "hmac-sha256" needs a secret.',
    ]);
    expect(issues(() => new ApiKeyService({ hash: "hmac-sha256", secret: SECRET }))).toEqual([]);
    expect(issues(() => new ApiKeyService({ hash: "hmac-sha256" }, { secretKey: [new Secret(SECRET)] }))).toEqual([]);
  });

  it("never show a secret", () => {
    const service = new ApiKeyService({ hash: "hmac-sha256", secret: [SECRET, `${SECRET}2`] });
    const layer = createApiKey(service.options, createRuntime(), { service });
    const shown = [
      inspect(service, { depth: 10, showHidden: true }),
      inspect(service.options, { depth: 10 }),
      JSON.stringify(service.options),
      JSON.stringify(layer.describe()),
    ];
    for (const text of shown) expect(text).not.toContain(SECRET.slice(0, 8));
    expect(layer.describe()).toMatchObject({
      secret: ["[secret]", "[secret]"],
      store: "default",
      prefix: "mcp_",
      failures: { limit: 20 },
    });
    expect(layer.id).toBe("api-key");
  });
});
