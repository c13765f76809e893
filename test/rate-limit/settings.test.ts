import { describe, expect, it } from "vitest";
import { rateLimiter } from "../../src/rate-limit/middleware.js";
import { createRateLimit } from "../../src/rate-limit/middleware.js";
import { createRuntime } from "../../src/core/runtime.js";
import { routeLimitSchema } from "../../src/rate-limit/route-settings.js";
import { rateLimitSchema } from "../../src/rate-limit/settings.js";
import { isWindowStore } from "../../src/rate-limit/store-choice.js";
import { SettingsError } from "../../src/settings/errors.js";
import { parse } from "../../src/settings/object.js";
import { SlidingWindowStore } from "../../src/stores/memory/sliding-window/store.js";
import { testEdges, testTexts } from "../settings/edges.js";

const DEFAULTS = {
  limit: 100,
  windowSeconds: 60,
  key: "address",
  cost: 1,
  allow: [],
  ipv6Subnet: 56,
  maxClients: 100_000,
  headers: "draft-8",
  onStoreError: "local",
  storeTimeoutMs: 250,
  name: "default",
  mode: "enforce",
};

const NOTHING = () => undefined;
const FOREIGN = { increment: NOTHING, decrement: NOTHING, resetKey: NOTHING };

function issuesOf(settings: unknown, schema: typeof rateLimitSchema | typeof routeLimitSchema = rateLimitSchema) {
  try {
    parse(schema, settings);
  } catch (error) {
    if (error instanceof SettingsError) return error.issues;
    throw error;
  }
  throw new Error("These settings were accepted.");
}

describe("the settings", () => {
  it.each([
    ["{}", {}],
    ["a frozen object", Object.freeze({})],
    ["an object without a prototype", Object.create(null) as object],
    [
      "undefined values",
      {
        limit: undefined,
        key: undefined,
        cost: undefined,
        perPrincipal: undefined,
        store: undefined,
        headers: undefined,
      },
    ],
  ])("have a default for everything: %s", (_name, settings) => {
    expect(parse(rateLimitSchema, settings)).toEqual(DEFAULTS);
    expect(rateLimiter(settings)).toBeTypeOf("function");
  });

  it.each([
    "api-key",
    "api-key-failures-address",
    "api-key-failures-key",
    "express-rate-limit",
    "write-check",
    "route",
  ])(
    "refuse %s, under which the library counts other limits, as the name of the main limit, and take it for a route",
    (name) => {
      expect(issuesOf({ name })).toMatchObject([{ code: "wrong-value", path: "name", remedy: /^Choose another name/ }]);
      expect(parse(rateLimitSchema, { name: `${name}s` }).name).toBe(`${name}s`);
      expect(parse(routeLimitSchema, { name, limit: 1 }).name).toBe(name);
    },
  );

  it("may be left out", () => {
    expect(rateLimiter()).toBeTypeOf("function");
  });

  it("do not change when they are parsed again, functions and stores included", () => {
    const settings = {
      key: () => "k",
      cost: () => 2,
      store: new SlidingWindowStore(),
      perPrincipal: { limit: 5 },
      allow: ["10.0.0.0/8"],
    };
    const once = parse(rateLimitSchema, settings);
    expect(parse(rateLimitSchema, once)).toEqual(once);
    expect(once.store).toBe(settings.store);
    expect(once.key).toBe(settings.key);
    expect(once.allow).not.toBe(settings.allow);
  });

  it("report all issues at once", () => {
    expect(
      issuesOf({
        limit: 0,
        windowSeconds: 1.5,
        key: "ip",
        cost: "1",
        allow: ["10.0.0.0/33", "::/0"],
        ipv6Subnet: 128,
        maxClients: 0,
        headers: "draft-7",
        onStoreError: "open",
        storeTimeoutMs: 0,
        perPrincipal: { limits: 5 },
        store: new Map(),
        name: "a b",
        mode: "off",
        windowMs: 1000,
      }),
    ).toMatchInlineSnapshot(`
      [
        {
          "code": "wrong-value",
          "message": "This must be at least 1.",
          "path": "limit",
          "remedy": "Use at least 1.",
        },
        {
          "code": "wrong-type",
          "message": "This must be a whole number.",
          "path": "windowSeconds",
          "remedy": "Write a whole number.",
        },
        {
          "code": "wrong-value",
          "message": "This value is not allowed.",
          "path": "key",
          "remedy": "Use one of: "address", "principal".",
        },
        {
          "code": "wrong-type",
          "message": "This must be a number.",
          "path": "cost",
          "remedy": "Write a number, without quotes.",
        },
        {
          "code": "wrong-value",
          "message": "The prefix length after the slash is out of range.",
          "path": "allow[0]",
          "remedy": "Write an address (192.0.2.7, 2001:db8::1) or a range (192.0.2.0/24, 2001:db8::/32).",
        },
        {
          "code": "unsafe-setting",
          "message": "This range contains a large part of all addresses, so few clients or none would be limited.",
          "path": "allow[1]",
          "remedy": "List only your own ranges, or turn the limiter off with rateLimit: false.",
        },
        {
          "code": "wrong-value",
          "message": "This must be at most 64.",
          "path": "ipv6Subnet",
          "remedy": "Use at most 64.",
        },
        {
          "code": "wrong-value",
          "message": "This must be at least 1.",
          "path": "maxClients",
          "remedy": "Use at least 1.",
        },
        {
          "code": "wrong-value",
          "message": "This value is not allowed.",
          "path": "headers",
          "remedy": "Use one of: "draft-8", "draft-6", "legacy", false.",
        },
        {
          "code": "wrong-value",
          "message": "This value is not allowed.",
          "path": "onStoreError",
          "remedy": "Use one of: "local", "allow", "deny".",
        },
        {
          "code": "wrong-value",
          "message": "This must be at least 1.",
          "path": "storeTimeoutMs",
          "remedy": "Use at least 1.",
        },
        {
          "code": "unknown-setting",
          "message": "There is no setting "limits". Did you mean "limit"?",
          "path": "perPrincipal.limits",
          "remedy": "Correct the name or remove the setting.",
        },
        {
          "code": "wrong-value",
          "message": "This is not a valid name for a limit.",
          "path": "name",
          "remedy": "Use 1 to 64 letters, digits, '.', '_' or '-'.",
        },
        {
          "code": "wrong-type",
          "message": "This is not a rate-limit store.",
          "path": "store",
          "remedy": "Pass an instance of SlidingWindowStore, or of a store made for express-rate-limit 6 or later.",
        },
        {
          "code": "wrong-value",
          "message": "This value is not allowed.",
          "path": "mode",
          "remedy": "Use one of: "enforce", "report".",
        },
        {
          "code": "unknown-setting",
          "message": "There is no setting "windowMs". express-rate-limit's windowMs is windowSeconds here, in seconds instead of milliseconds.",
          "path": "windowMs",
          "remedy": "Write windowSeconds: 1.",
        },
      ]
    `);
  });

  it("must not contradict each other", () => {
    const foreign = {
      increment: () => ({ totalHits: 1, resetTime: undefined }),
      decrement: () => undefined,
      resetKey: () => undefined,
    };
    expect([
      ...issuesOf({ limit: 5, cost: 6, perPrincipal: { limit: 2 } }),
      ...issuesOf({ store: foreign, perPrincipal: { limit: 5 } }),
      ...issuesOf({ allow: ["192.0.2.1", "0.0.0.0/0"] }),
      ...issuesOf({ name: "login", limit: 5, cost: 6 }, routeLimitSchema),
    ]).toMatchInlineSnapshot(`
      [
        {
          "code": "contradiction",
          "message": "The cost of one request exceeds the limit, so every request would be refused.",
          "path": "cost",
          "remedy": "Set the cost to at most the limit.",
        },
        {
          "code": "contradiction",
          "message": "The cost of one request exceeds this limit, so every request of a principal would be refused.",
          "path": "perPrincipal.limit",
          "remedy": "Set this limit to at least the cost.",
        },
        {
          "code": "contradiction",
          "message": "A store of express-rate-limit can count only one limit, but perPrincipal adds a second one.",
          "path": "perPrincipal",
          "remedy": "Remove perPrincipal, or use a SlidingWindowStore.",
        },
        {
          "code": "unsafe-setting",
          "message": "This range contains a large part of all addresses, so few clients or none would be limited.",
          "path": "allow[1]",
          "remedy": "List only your own ranges, or turn the limiter off with rateLimit: false.",
        },
        {
          "code": "contradiction",
          "message": "The cost of one request exceeds the limit, so every request would be refused.",
          "path": "cost",
          "remedy": "Set the cost to at most the limit.",
        },
      ]
    `);
  });

  it("of a route need a name and a limit", () => {
    expect(parse(routeLimitSchema, { name: "login", limit: 5 })).toEqual({
      name: "login",
      limit: 5,
      windowSeconds: 60,
      key: "principal",
      cost: 1,
    });
    expect(issuesOf({}, routeLimitSchema).map(({ code, path }) => [code, path])).toEqual([
      ["missing-setting", "name"],
      ["missing-setting", "limit"],
    ]);
  });

  testEdges(rateLimitSchema, [
    { name: "limit", lowest: 1, highest: 2 ** 31 - 1 },
    { name: "windowSeconds", lowest: 1, highest: 2 ** 31 - 1 },
    { name: "ipv6Subnet", lowest: 32, highest: 64 },
    { name: "maxClients", lowest: 1, highest: 10_000_000 },
    { name: "storeTimeoutMs", lowest: 1, highest: 60_000 },
    { name: "perPrincipal.limit", lowest: 1, highest: 2 ** 31 - 1 },
    { name: "perPrincipal.windowSeconds", lowest: 1, highest: 2 ** 31 - 1, beside: { perPrincipal: { limit: 5 } } },
  ]);

  testTexts(rateLimitSchema, "name", [
    ["a", ""],
    ["a.b_c-9", "a b"],
    ["a".repeat(64), "a".repeat(65)],
    ["login", "login\n"],
    ["login", "/login"],
  ]);

  it.each([0, -1, 1.5])("refuse %d as the cost of a request", (cost) => {
    expect(issuesOf({ cost })).toEqual([expect.objectContaining({ path: "cost" })]);
  });

  // Each contradiction with its twin, which differs in one field.
  it.each([
    [
      "a cost over the limit for each principal",
      { cost: 3, perPrincipal: { limit: 2 } },
      { cost: 2, perPrincipal: { limit: 2 } },
      "perPrincipal.limit",
    ],
    ["a cost that is known, over the limit", { cost: 101 }, { cost: () => 101 }, "cost"],
    [
      "two limits in a store for one",
      { store: FOREIGN, perPrincipal: { limit: 5 } },
      { store: new SlidingWindowStore(), perPrincipal: { limit: 5 } },
      "perPrincipal",
    ],
    [
      "the same in a store that can only consume",
      { store: { ...FOREIGN, consume: NOTHING }, perPrincipal: { limit: 5 } },
      { store: { ...FOREIGN, consume: NOTHING } },
      "perPrincipal",
    ],
    ["everybody allowed", { allow: ["10.0.0.0/0"] }, { allow: ["10.0.0.0/8"] }, "allow[0]"],
    [
      "all of IPv4 allowed, written as IPv6",
      { allow: ["::ffff:0:0/96"] },
      { allow: ["::ffff:10.0.0.0/104"] },
      "allow[0]",
    ],
    ["half of the internet allowed", { allow: ["::1", "2000::/3"] }, { allow: ["::1", "2001:db8::/32"] }, "allow[1]"],
  ])("refuse %s", (_name, wrong, right, path) => {
    expect(issuesOf(wrong).map((issue) => issue.path)).toEqual([path]);
    expect(parse(rateLimitSchema, right)).toMatchObject({ mode: "enforce" });
  });

  it.each(["increment", "decrement", "resetKey"])("refuse a store of express-rate-limit without %s", (method) => {
    expect(parse(rateLimitSchema, { store: FOREIGN }).store).toBe(FOREIGN);
    expect(issuesOf({ store: { ...FOREIGN, [method]: undefined } })).toMatchObject([
      { code: "wrong-type", path: "store" },
    ]);
  });

  it.each(["consume", "peek"])("refuse a store of this library without %s", (method) => {
    const store: Record<string, unknown> = { consume: NOTHING, peek: NOTHING };
    expect(parse(rateLimitSchema, { store })).toMatchObject({ store });
    expect(issuesOf({ store: { ...store, [method]: undefined } })).toMatchObject([
      { code: "wrong-type", path: "store" },
    ]);
  });

  it.each([null, "memory", 7, Object.assign(() => undefined, FOREIGN)])(
    "refuse a store that is not an object: %s",
    (store) => {
      expect(issuesOf({ store })).toMatchObject([{ code: "wrong-type", path: "store" }]);
    },
  );

  it("do not count a missing store as one of this library", () => {
    expect(isWindowStore(null)).toBe(false);
    expect(isWindowStore(new SlidingWindowStore())).toBe(true);
  });

  it("of a route accept every option", () => {
    const key = () => "k";
    const cost = () => 2;
    expect(parse(routeLimitSchema, { name: "a", limit: 5, windowSeconds: 9, key, cost, mode: "enforce" })).toEqual({
      name: "a",
      limit: 5,
      windowSeconds: 9,
      key,
      cost,
      mode: "enforce",
    });
    expect(parse(routeLimitSchema, { name: "a", limit: 5, key: "address", mode: "report" })).toMatchObject({
      key: "address",
      mode: "report",
    });
    expect(issuesOf({ name: "a", limit: 5, mode: "off" }, routeLimitSchema)).toMatchObject([
      { code: "wrong-value", path: "mode" },
    ]);
    expect(issuesOf({ name: "a", limit: 5, store: {} }, routeLimitSchema)).toMatchObject([
      { code: "unknown-setting", path: "store" },
    ]);
  });

  it.each([
    ["key", "principal", {}],
    ["cost", 5, { limit: 5 }],
    ["headers", "draft-6", {}],
    ["headers", "legacy", {}],
    ["headers", false, {}],
    ["onStoreError", "allow", {}],
    ["onStoreError", "deny", {}],
    ["mode", "report", {}],
  ])("accept the edge %s: %s", (name, value, rest) => {
    expect(parse(rateLimitSchema, { ...rest, [name]: value })).toMatchObject({ [name]: value });
  });
});

describe("the settings of windows, failures and blocks", () => {
  const short = { limit: 10, windowSeconds: 1 };
  const store = { increment: NOTHING, decrement: NOTHING, resetKey: NOTHING };
  it.each([
    ["windows beside limit", { limit: 5, windows: [short] }, "contradiction limit"],
    ["windows beside windowSeconds", { windowSeconds: 5, windows: [short] }, "contradiction windowSeconds"],
    [
      "two windows of one length",
      { windows: [short, { limit: 5, windowSeconds: 1 }] },
      "contradiction windows[1].windowSeconds",
    ],
    [
      "a longer window that the shorter one implies",
      { windows: [short, { limit: 600, windowSeconds: 60 }] },
      "contradiction windows[1].limit",
    ],
    [
      "a shorter window above the longer one",
      { windows: [{ limit: 10, windowSeconds: 60 }, short] },
      "contradiction windows[1].limit",
    ],
    ["no window", { windows: [] }, "wrong-value windows"],
    [
      "a window that looks like milliseconds",
      { windows: [{ limit: 1, windowSeconds: 60_000 }] },
      "wrong-value windows[0].windowSeconds",
    ],
    ["a window without its length", { windows: [{ limit: 1 }] }, "missing-setting windows[0].windowSeconds"],
    [
      "a cost above one of the windows",
      { cost: 11, windows: [short, { limit: 100, windowSeconds: 60 }] },
      "contradiction cost",
    ],
    ["maxLimit without a function", { limit: 5, maxLimit: 10 }, "contradiction maxLimit"],
    ["a cost above maxLimit", { limit: () => 5, maxLimit: 10, cost: 11 }, "contradiction cost"],
    ["a form of headers twice", { headers: ["legacy", "legacy"] }, "wrong-value headers"],
    ["a pattern to skip", { skip: ["/a/*"] }, "wrong-value skip[0]"],
    ["isFailure for all requests", { isFailure: () => true }, "contradiction isFailure"],
    ["a block in a store of express-rate-limit", { blockSeconds: 5, store }, "contradiction blockSeconds"],
    [
      "two windows in a store of express-rate-limit",
      { windows: [short, { limit: 100, windowSeconds: 60 }], store },
      "contradiction windows",
    ],
    [
      "failures in a store without refund",
      { count: "failures", store: { consume: NOTHING, peek: NOTHING } },
      "contradiction count",
    ],
  ])("refuse %s", (_name, settings, expected) => {
    expect(issuesOf(settings).map(({ code, path }) => `${code} ${path}`)).toContain(expected);
  });

  it.each([
    ["two windows", { windows: [short, { limit: 599, windowSeconds: 60 }] }],
    ["a window whose limit is a function", { windows: [short, { limit: () => 600, windowSeconds: 60 }] }],
    ["maxLimit with a function", { limit: () => 5, maxLimit: 10, cost: 10 }],
    ["two forms of headers", { headers: ["draft-8", "legacy"] as const }],
    ["failures with a test and a block", { count: "failures" as const, isFailure: () => true, blockSeconds: 5 }],
    ["failures in a store of express-rate-limit", { count: "failures" as const, store }],
  ])("accept %s, and parse to the same again", (_name, settings) => {
    const once = parse(rateLimitSchema, settings);
    expect(parse(rateLimitSchema, once)).toEqual(once);
    expect(parse(routeLimitSchema, { name: "r", limit: 1, windows: undefined }).limit).toBe(1);
  });

  it("describe functions and windows in JSON", async () => {
    const windows = [short, { limit: () => 600, windowSeconds: 60 }];
    const settings = { windows, skip: () => false, perPrincipal: { limit: () => 5 } };
    const store = new SlidingWindowStore();
    const layer = createRateLimit(parse(rateLimitSchema, settings), createRuntime(), { store });
    expect(JSON.parse(JSON.stringify(layer?.describe()))).toMatchObject({
      windows: [short, { limit: "function", windowSeconds: 60 }],
      skip: "function",
      perPrincipal: { limit: "function", windowSeconds: 60 },
    });
    await layer?.close?.();
    store.close();
  });
});
