import { describe, expect, it } from "vitest";
import { corsPolicy, createCors } from "../../src/cors/middleware.js";
import { corsSchema, type CorsSettings } from "../../src/cors/settings.js";
import { SettingsError } from "../../src/settings/errors.js";
import { parse } from "../../src/settings/object.js";

/** `code path: message → remedy` of everything wrong. */
function issues(settings: unknown): string[] {
  try {
    corsPolicy(settings as CorsSettings);
  } catch (error) {
    if (error instanceof SettingsError)
      return error.issues.map(({ code, path, message, remedy }) => `${code} ${path}: ${message} → ${remedy}`);
    throw error;
  }
  return [];
}

const origins = ["https://app.example.com"];

describe("corsSchema", () => {
  it("fills in the defaults", () => {
    expect(parse(corsSchema, { origins })).toEqual({
      origins: ["https://app.example.com"],
      credentials: false,
      methods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
      allowedHeaders: ["Authorization", "Content-Type", "X-API-Key"],
      maxAge: 600,
      privateNetwork: false,
      refused: "ignore",
      mode: "enforce",
    });
  });

  it("accepts undefined as absent, frozen objects and objects without prototype", () => {
    const plain = parse(corsSchema, { origins });
    expect(
      parse(corsSchema, { origins, credentials: undefined, methods: undefined, maxAge: undefined, mode: undefined }),
    ).toEqual(plain);
    expect(parse(corsSchema, Object.freeze({ origins: Object.freeze([...origins]) }))).toEqual(plain);
    expect(parse(corsSchema, Object.assign(Object.create(null) as object, { origins }))).toEqual(plain);
  });

  it.each<[string, CorsSettings]>([
    ["a list", { origins }],
    ["everything", { origins: "*", methods: "*", allowedHeaders: "*", exposedHeaders: "*" }],
    [
      "all settings",
      {
        origins,
        credentials: true,
        methods: ["PUT"],
        allowedHeaders: [],
        exposedHeaders: [],
        maxAge: 0,
        privateNetwork: true,
        refused: "reject",
        mode: "report",
      },
    ],
  ])("changes nothing when it parses its own result: %s", (_, settings) => {
    const options = parse(corsSchema, settings);
    expect(parse(corsSchema, options)).toEqual(options);
    expect(createCors(options).describe()).toEqual({
      exposedHeaders: ["RateLimit", "RateLimit-Policy", "Retry-After"],
      ...(JSON.parse(JSON.stringify(options)) as object),
    });
  });

  it.each([() => true, (origin: string) => origin === "a", async () => Promise.resolve(true)])(
    "takes a function in place of the list: %s",
    (trusts) => {
      for (const more of [{}, { credentials: true }, { privateNetwork: true, refused: "reject" }]) {
        const options = parse(corsSchema, { origins: trusts, ...more });
        expect(options.origins).toBe(trusts);
        expect(parse(corsSchema, options)).toEqual(options);
      }
    },
  );

  it("neither changes nor retains the caller's object", () => {
    const mine = { origins: [...origins], methods: ["GET"] };
    const options = parse(corsSchema, mine);
    mine.origins.push("https://evil.example");
    expect(options.origins).toEqual(origins);
    (options.origins as string[]).push("x");
    expect(parse(corsSchema, { origins }).origins).toEqual(origins);
    (options.allowedHeaders as string[]).push("x");
    expect(parse(corsSchema, { origins }).allowedHeaders).toHaveLength(3);
  });

  it("requires origins", () => {
    const missing = ["missing-setting origins: This setting is required. → Set it: it has no default."];
    expect(issues(undefined)).toEqual(missing);
    expect(issues({})).toEqual(missing);
    expect(issues({ origins: undefined })).toEqual(missing);
  });

  it.each<[string, CorsSettings]>([
    ["http without credentials", { origins: ["http://app.example.com"] }],
    [
      "loopback http with credentials",
      {
        origins: ["http://localhost:5173", "http://127.0.0.1:3000", "http://[::1]", "http://*.localhost"],
        credentials: true,
      },
    ],
    [
      "https and custom schemes with credentials",
      { origins: ["https://*.example.com", "tauri://localhost"], credentials: true },
    ],
    ["every origin without credentials", { origins: "*" }],
    [
      "every method and request header with credentials",
      { origins, credentials: true, methods: "*", allowedHeaders: "*" },
    ],
    ["every request header and Authorization beside it", { origins, allowedHeaders: ["*", "Authorization"] }],
    ["every request header and Authorization beside it", { origins: "*", allowedHeaders: ["authorization", "*"] }],
    ["the origins of Electron's apps", { origins: ["app://-", "app://."], credentials: true }],
    ["no request headers and none exposed", { origins, allowedHeaders: [], exposedHeaders: [] }],
    ["maxAge at its ends", { origins, maxAge: 0 }],
    ["maxAge at its ends", { origins, maxAge: 86_400 }],
  ])("accepts %s", (_, settings) => {
    expect(issues(settings)).toEqual([]);
  });

  const wildcard = (what: string) =>
    `With credentials, browsers do not treat "*" as a wildcard. → List the ${what}, or remove cors.credentials. A bearer token or an API key sent by a script does not need it.`;
  it.each<[string, unknown, string[]]>([
    [
      "an empty list of origins",
      { origins: [] },
      [
        "wrong-value origins: The list of origins is empty. → List at least one origin, or turn the protection off: cors: false.",
      ],
    ],
    [
      "an empty list of methods",
      { origins, methods: [] },
      ["wrong-value methods: The list of methods is empty. → List at least one method, or remove the setting."],
    ],
    [
      "origins as text",
      { origins: "https://app.example.com" },
      ['wrong-type origins: This must be a list. → Write a list, even for one entry: ["…"].'],
    ],
    [
      "a function in a list",
      { origins: ["https://app.example.com", () => true] },
      [
        "wrong-type origins[1]: A list cannot contain a function, because a function decides about every name. → Write the function in place of the list, and compare with the other entries inside it.",
      ],
    ],
    [
      "the cors package's function with a callback",
      { origins: (_origin: string, callback: (error: null, allowed: boolean) => void) => callback(null, true) },
      [
        "wrong-value origins: This function has a second parameter, but is called with the name alone, without a callback. → Return true or false, or a promise of one: (name) => tenants.has(name).",
      ],
    ],
    [
      "null",
      { origins: ["null"] },
      [
        "wrong-value origins[0]: Any page can get the origin null by using a sandboxed frame. → Serve the page from an http or https origin, and list that origin.",
      ],
    ],
    [
      "* in the list of origins",
      { origins: ["*"] },
      [
        'wrong-value origins[0]: "*" is not an origin. In a list it does not stand for all origins. → List the origins. Where a setting can allow every origin, write "*" without a list.',
      ],
    ],
    [
      "* in the other lists",
      { origins, methods: ["*"], allowedHeaders: ["*"], exposedHeaders: ["*"] },
      [
        'wrong-value methods[0]: "*" is not a method. In a list it does not stand for all methods. → List the methods, or write cors.methods: "*" without a list.',
        'wrong-value allowedHeaders[0]: "*" is not a header. In a list it does not stand for all headers. → List the headers, or write cors.allowedHeaders: "*" without a list.',
        'wrong-value exposedHeaders[0]: "*" is not a header. In a list it does not stand for all headers. → List the headers, or write cors.exposedHeaders: "*" without a list.',
      ],
    ],
    [
      "* and Authorization with credentials",
      { origins, allowedHeaders: ["Authorization", "*"], credentials: true },
      [
        'contradiction allowedHeaders: With credentials, browsers do not treat "*" as a wildcard. → Write cors.allowedHeaders: "*" without a list. With credentials it covers Authorization too.',
      ],
    ],
    ...[
      { allowedHeaders: ["X-A", "*"] },
      { allowedHeaders: ["Authorization", "*", "X-A"] },
      { allowedHeaders: ["*", "*"] },
    ].map((wrong): [string, unknown, string[]] => [
      `* in the list of headers where it is not Authorization's one neighbour: ${JSON.stringify(wrong)}`,
      { origins, ...wrong },
      wrong.allowedHeaders
        .flatMap((name, index) => (name === "*" ? [index] : []))
        .map(
          (index) =>
            `wrong-value allowedHeaders[${index}]: "*" is not a header. In a list it does not stand for all headers. → List the headers, or write cors.allowedHeaders: "*" without a list.`,
        ),
    ]),
    [
      "every * with credentials",
      { origins: "*", methods: "*", allowedHeaders: "*", exposedHeaders: "*", credentials: true },
      [
        `contradiction origins: ${wildcard("origins")}`,
        `contradiction exposedHeaders: ${wildcard("response headers")}`,
      ],
    ],
    [
      "http with credentials",
      {
        origins: [
          "https://app.example.com",
          "http://app.example.com",
          "http://*.example.com",
          "http://localhost.example.com",
        ],
        credentials: true,
      },
      [1, 2, 3].map(
        (index) =>
          `unsafe-setting origins[${index}]: An attacker on the network can change a plain http page, and would gain access to credentials. → Use https. Plain http is allowed for localhost and 127.0.0.1 only.`,
      ),
    ],
    [
      "http into a private network",
      { origins: ["http://app.example.com"], privateNetwork: true },
      [
        "unsafe-setting origins[0]: An attacker on the network can change a plain http page, and would gain access to the private network. → Use https. Plain http is allowed for localhost and 127.0.0.1 only.",
      ],
    ],
    [
      "everybody into a private network",
      { origins: "*", privateNetwork: true },
      [
        "unsafe-setting origins: Every website could send requests to the private network. → List the origins, or remove cors.privateNetwork.",
      ],
    ],
    [
      "a public suffix",
      { origins: ["https://*.github.io"] },
      [
        "unsafe-setting origins[0]: This is a public suffix: the domains below it belong to many owners, and the wildcard would trust all of them. → Use your own domain: https://*.example.com instead of https://*.com.",
      ],
    ],
    [
      "forbidden methods",
      { origins, methods: ["GET", "CONNECT", "trace", "TRACK"] },
      [1, 2, 3].map(
        (index) =>
          `wrong-value methods[${index}]: Browsers do not let a page use CONNECT, TRACE or TRACK. → Remove it.`,
      ),
    ],
    [
      "lower-case methods",
      { origins, methods: ["get", "Patch"] },
      [
        "wrong-value methods[0]: Methods are case-sensitive, so this would never match. → Write GET.",
        "wrong-value methods[1]: Methods are case-sensitive, so this would never match. → Write PATCH.",
      ],
    ],
    [
      "methods Node has not",
      { origins, methods: ["FETCH", "GET, POST", ""] },
      [0, 1, 2].map(
        (index) =>
          `wrong-value methods[${index}]: This version of Node does not support this method. → Use methods such as GET, POST or PATCH.`,
      ),
    ],
    [
      "bad header names",
      { origins, allowedHeaders: ["X-A, X-B", "X:", "", "Zoë", "x\r\ny", "a".repeat(129)] },
      [0, 1, 2, 3, 4, 5].map(
        (index) =>
          `wrong-value allowedHeaders[${index}]: This is not a valid header name. → Use letters, digits and hyphens, without spaces or a colon.`,
      ),
    ],
    [
      "forbidden request headers",
      { origins, allowedHeaders: ["Cookie", "Origin", "Sec-Fetch-Site", "proxy-authorization", "Host"] },
      [0, 1, 2, 3, 4].map(
        (index) =>
          `wrong-value allowedHeaders[${index}]: Only the browser itself can set this request header, so allowing it has no effect. → Remove it. To allow cookies, set cors.credentials.`,
      ),
    ],
    [
      "headers of the protocol",
      { origins, allowedHeaders: ["Access-Control-Allow-Origin"], exposedHeaders: ["access-control-max-age"] },
      ["allowedHeaders", "exposedHeaders"].map(
        (name) =>
          `wrong-value ${name}[0]: Access-Control-* headers are set by the browser and by this protection. → Remove it.`,
      ),
    ],
    [
      "Set-Cookie exposed",
      { origins, exposedHeaders: ["Set-Cookie", "set-cookie2"] },
      [0, 1].map(
        (index) =>
          `wrong-value exposedHeaders[${index}]: Browsers never expose this response header to a page. → Remove it.`,
      ),
    ],
    [
      "duplicates",
      {
        origins: [...origins, ...origins],
        methods: ["GET", "GET"],
        allowedHeaders: ["X-A", "x-a"],
        exposedHeaders: ["ETag", "Etag"],
      },
      ["origins", "methods", "allowedHeaders", "exposedHeaders"].map(
        (name) => `wrong-value ${name}[1]: This entry occurs twice in the list. → Remove one of them.`,
      ),
    ],
    [
      "maxAge out of range",
      { origins, maxAge: 86_401 },
      ["wrong-value maxAge: This must be at most 86400. → Use at most 86400."],
    ],
    ["a negative maxAge", { origins, maxAge: -1 }, ["wrong-value maxAge: This must be at least 0. → Use at least 0."]],
    [
      "an unknown setting",
      { origins, allowHeaders: [] },
      [
        'unknown-setting allowHeaders: There is no setting "allowHeaders". Did you mean "allowedHeaders"? → Correct the name or remove the setting.',
      ],
    ],
    [
      "the cors package's name",
      { origin: "*" },
      [
        'unknown-setting origin: There is no setting "origin". Did you mean "origins"? → Correct the name or remove the setting.',
      ],
    ],
    [
      "what is no way to refuse",
      { origins, refused: "drop" },
      ['wrong-value refused: This value is not allowed. → Use one of: "ignore", "reject".'],
    ],
  ])("refuses %s", (_, settings, expected) => {
    expect(issues(settings)).toEqual(expected);
  });

  it("reports all issues at once", () => {
    expect(
      issues({ origins: ["null", "https://a.example.com/"], credentials: true, methods: "*", maxAge: 1.5 }).length,
    ).toBeGreaterThanOrEqual(3);
  });
});
