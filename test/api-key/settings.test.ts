import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { parse } from "../../src/settings/object.js";
import { SettingsError } from "../../src/settings/errors.js";
import { Secret } from "../../src/core/secret.js";
import { createRuntime } from "../../src/core/runtime.js";
import { apiKeyAuth, createApiKey } from "../../src/api-key/middleware.js";
import { apiKeyRoutes } from "../../src/api-key/routes.js";
import { ApiKeyService } from "../../src/api-key/service.js";
import { type ApiKeySettings, apiKeySchema } from "../../src/api-key/settings.js";
import { SECRET, WatchedStore } from "./support.js";

function issues(build: () => unknown): string[] {
  try {
    build();
  } catch (error) {
    if (error instanceof SettingsError) return error.issues.map(({ code, path, message }) => `${code} ${path}: ${message}`);
    throw error;
  }
  return [];
}

describe("settings", () => {
  it("have these defaults", () => {
    expect(parse(apiKeySchema, {})).toEqual({
      mode: "enforce",
      prefix: "mcp_",
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

  it("parsed twice are the same, and the caller's object is left alone", () => {
    const given: ApiKeySettings = Object.freeze({ secret: SECRET, failures: Object.freeze({ limit: 3 }), store: new WatchedStore() });
    const once = parse(apiKeySchema, given);
    expect(parse(apiKeySchema, once)).toEqual(once);
    expect(once.store).toBe(given.store);
    expect(once.failures).not.toBe(given.failures);
  });

  it("are refused with every issue at once", () => {
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
        "wrong-value prefix: The prefix is not 1 to 16 letters, digits, '_' or '-' ending in '_' or '-'.",
        "wrong-value length: Too small: expected number to be >=19.",
        "wrong-value hash: Invalid option: expected one of "argon2id"|"hmac-sha256".",
        "wrong-value headerName: This header has a meaning of its own.",
        "wrong-value cacheSeconds: Too big: expected number to be <=60.",
        "wrong-type store: This is not an ApiKeyStore: a method of the contract is missing.",
        "wrong-value failures.limit: Too small: expected number to be >=1.",
        "unknown-setting failures.windowSecond: There is no setting "windowSecond". Did you mean "windowSeconds"?",
        "weak-secret secret: The secret is shorter than 32 bytes.",
        "unknown-setting cacheSecond: There is no setting "cacheSecond". Did you mean "cacheSeconds"?",
      ]
    `);
    expect(issues(() => apiKeyAuth(new ApiKeyService(), { headerName: "x y" }))).toEqual(["wrong-value headerName: This is not a header name."]);
    expect(issues(() => apiKeyRoutes(new ApiKeyService(), { realms: "x" } as object))[0]).toContain('Did you mean "realm"?');
  });

  it("hmac-sha256 wants a secret, from the settings or from the root", () => {
    expect(issues(() => new ApiKeyService({ hash: "hmac-sha256" }))).toEqual(['missing-setting secret: hash: "hmac-sha256" needs a secret, and there is none.']);
    expect(issues(() => new ApiKeyService({ hash: "hmac-sha256", secret: SECRET }))).toEqual([]);
    expect(issues(() => new ApiKeyService({ hash: "hmac-sha256" }, { secretKey: [new Secret(SECRET)] }))).toEqual([]);
  });

  it("never show a secret", () => {
    const service = new ApiKeyService({ hash: "hmac-sha256", secret: [SECRET, `${SECRET}2`] });
    const layer = createApiKey(service.options, createRuntime(), { service });
    const shown = [inspect(service, { depth: 10, showHidden: true }), inspect(service.options, { depth: 10 }), JSON.stringify(service.options), JSON.stringify(layer.describe())];
    for (const text of shown) expect(text).not.toContain(SECRET.slice(0, 8));
    expect(layer.describe()).toMatchObject({ secret: ["[secret]", "[secret]"], store: "default", prefix: "mcp_", failures: { limit: 20 } });
    expect(layer.id).toBe("api-key");
  });
});
