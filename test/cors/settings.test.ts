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
    const missing = [
      "missing-setting origins: Invalid input: expected array, received undefined. → Set it, or remove the object around it.",
    ];
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
  ])("takes %s", (_, settings) => {
    expect(issues(settings)).toEqual([]);
  });

  const wildcard = (what: string) =>
    `With credentials browsers do not take "*" as a wildcard. → Name the ${what}, or leave out cors.credentials: a bearer token or an API key sent by a script needs none.`;
  it.each<[string, unknown, string[]]>([
    [
      "an empty list of origins",
      { origins: [] },
      [
        "wrong-value origins: The list of origins is empty. → Name at least one origin, or turn the protection off: cors: false.",
      ],
    ],
    [
      "an empty list of methods",
      { origins, methods: [] },
      ["wrong-value methods: The list of methods is empty. → Name at least one method, or leave the setting out."],
    ],
    [
      "origins as text",
      { origins: "https://app.example.com" },
      ['wrong-type origins: Invalid input: expected array, received string. → Write a list, also for one: ["…"].'],
    ],
    [
      "null",
      { origins: ["null"] },
      [
        "wrong-value origins[0]: Any page can give itself the origin null, by a sandboxed frame. → Serve the page from an http or https origin and name that.",
      ],
    ],
    [
      "* in the list of origins",
      { origins: ["*"] },
      [
        'wrong-value origins[0]: "*" is not an origin, and in a list it does not stand for all of them. → Name the origins. Where a protection can take every origin, its setting is "*" itself, not a list.',
      ],
    ],
    [
      "* in the other lists",
      { origins, methods: ["*"], allowedHeaders: ["*"], exposedHeaders: ["*"] },
      [
        'wrong-value methods[0]: "*" is not a method, and in a list it does not stand for all of them. → Name the methods, or set cors.methods: "*", not a list.',
        'wrong-value allowedHeaders[0]: "*" is not a header, and in a list it does not stand for all of them. → Name the headers, or set cors.allowedHeaders: "*", not a list.',
        'wrong-value exposedHeaders[0]: "*" is not a header, and in a list it does not stand for all of them. → Name the headers, or set cors.exposedHeaders: "*", not a list.',
      ],
    ],
    [
      "* and Authorization with credentials",
      { origins, allowedHeaders: ["Authorization", "*"], credentials: true },
      [
        'contradiction allowedHeaders: With credentials browsers do not take "*" as a wildcard. → Write cors.allowedHeaders: "*": with credentials it covers Authorization too.',
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
            `wrong-value allowedHeaders[${index}]: "*" is not a header, and in a list it does not stand for all of them. → Name the headers, or set cors.allowedHeaders: "*", not a list.`,
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
          `unsafe-setting origins[${index}]: Whoever controls the network can write a plain http page, and would be trusted with credentials. → Use https. Plain http is taken from localhost and 127.0.0.1 only.`,
      ),
    ],
    [
      "http into a private network",
      { origins: ["http://app.example.com"], privateNetwork: true },
      [
        "unsafe-setting origins[0]: Whoever controls the network can write a plain http page, and would be trusted with the private network. → Use https. Plain http is taken from localhost and 127.0.0.1 only.",
      ],
    ],
    [
      "everybody into a private network",
      { origins: "*", privateNetwork: true },
      [
        "unsafe-setting origins: Every page there is could reach into the private network. → Name the origins, or leave out cors.privateNetwork.",
      ],
    ],
    [
      "a public suffix",
      { origins: ["https://*.github.io"] },
      [
        "unsafe-setting origins[0]: This is a public suffix or a bare top-level name: names under it belong to many owners, and the wildcard would trust them all. → Name the domain that is yours: https://*.example.com instead of https://*.com.",
      ],
    ],
    [
      "forbidden methods",
      { origins, methods: ["GET", "CONNECT", "trace", "TRACK"] },
      [1, 2, 3].map(
        (index) => `wrong-value methods[${index}]: No browser lets a page use CONNECT, TRACE or TRACK. → Remove it.`,
      ),
    ],
    [
      "lower-case methods",
      { origins, methods: ["get", "Patch"] },
      [
        "wrong-value methods[0]: Methods are compared with case, so this would never match. → Write GET.",
        "wrong-value methods[1]: Methods are compared with case, so this would never match. → Write PATCH.",
      ],
    ],
    [
      "methods Node has not",
      { origins, methods: ["FETCH", "GET, POST", ""] },
      [0, 1, 2].map(
        (index) =>
          `wrong-value methods[${index}]: This version of Node takes no requests of this method. → Name methods such as GET, POST or PATCH.`,
      ),
    ],
    [
      "bad header names",
      { origins, allowedHeaders: ["X-A, X-B", "X:", "", "Zoë", "x\r\ny", "a".repeat(129)] },
      [0, 1, 2, 3, 4, 5].map(
        (index) =>
          `wrong-value allowedHeaders[${index}]: This is not the name of a header. → Use letters, digits and hyphens, without spaces and colon.`,
      ),
    ],
    [
      "forbidden request headers",
      { origins, allowedHeaders: ["Cookie", "Origin", "Sec-Fetch-Site", "proxy-authorization", "Host"] },
      [0, 1, 2, 3, 4].map(
        (index) =>
          `wrong-value allowedHeaders[${index}]: Only the browser itself writes this request header, so allowing it does nothing. → Remove it. For cookies set cors.credentials instead.`,
      ),
    ],
    [
      "headers of the protocol",
      { origins, allowedHeaders: ["Access-Control-Allow-Origin"], exposedHeaders: ["access-control-max-age"] },
      ["allowedHeaders", "exposedHeaders"].map(
        (name) =>
          `wrong-value ${name}[0]: Access-Control-* headers are written by the browser and by this protection. → Remove it.`,
      ),
    ],
    [
      "Set-Cookie exposed",
      { origins, exposedHeaders: ["Set-Cookie", "set-cookie2"] },
      [0, 1].map(
        (index) =>
          `wrong-value exposedHeaders[${index}]: No browser shows this response header to a page. → Remove it.`,
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
        (name) => `wrong-value ${name}[1]: This stands in the list already. → Remove one of the two.`,
      ),
    ],
    [
      "maxAge out of range",
      { origins, maxAge: 86_401 },
      ["wrong-value maxAge: Too big: expected number to be <=86400. → Use at most 86400."],
    ],
    [
      "a negative maxAge",
      { origins, maxAge: -1 },
      ["wrong-value maxAge: Too small: expected number to be >=0. → Use at least 0."],
    ],
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
        "missing-setting origins: Invalid input: expected array, received undefined. → Set it, or remove the object around it.",
        'unknown-setting origin: There is no setting "origin". Did you mean "origins"? → Correct the name or remove the setting.',
      ],
    ],
    [
      "what is no way to refuse",
      { origins, refused: "drop" },
      ['wrong-value refused: Invalid option: expected one of "ignore"|"reject". → Use one of: "ignore", "reject".'],
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
