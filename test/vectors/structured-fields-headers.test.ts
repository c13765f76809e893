import express, { type RequestHandler } from "express";
import { isInnerList, parseDictionary, parseItem, parseList, Token } from "structured-headers";
import { afterAll, describe, expect, it } from "vitest";
import { rateLimiter, securityHeaders, SettingsError } from "portcullis";
import { serve, type TestServer } from "../support/serve.js";
import { type Member, parsingVectors, type PlainItem, plain, serialisingVectors } from "./sf-vectors.js";
import { describeVectors, expectRow, Tally } from "./vectors.js";

/** The fields as they come over the wire, read by the structured-headers package (whose fitness structured-fields-referee.test.ts looks at). */

const servers: TestServer[] = [];
afterAll(() => Promise.all(servers.map((server) => server.close())));

async function start(routes: ReadonlyMap<string, readonly RequestHandler[]>): Promise<TestServer> {
  const app = express();
  for (const [path, handlers] of routes) app.get(path, ...handlers, (_req, res) => void res.json("in"));
  const server = await serve(app);
  servers.push(server);
  return server;
}

const headerOf = async (server: TestServer, path: string, name: string): Promise<string> => {
  const lines = (await server.send(path)).rawHeaders;
  return lines
    .flatMap((line, index) =>
      index % 2 === 0 && line.toLowerCase() === name.toLowerCase() ? [lines[index + 1] ?? ""] : [],
    )
    .join(", ");
};

describe("what is sent is read back as it was set", () => {
  it("RateLimit and RateLimit-Policy: a list with an item for each limit, its numbers as integers", async () => {
    const limits = [
      rateLimiter({ limit: 2, windowSeconds: 60 }),
      rateLimiter({ name: "Search_2.x-y", limit: 2_147_483_647, windowSeconds: 3600 }),
    ];
    const server = await start(new Map([["/", limits]]));
    const two = {
      policy: [
        "default",
        [
          ["q", 2],
          ["w", 60],
        ],
      ],
      other: [
        "Search_2.x-y",
        [
          ["q", 2_147_483_647],
          ["w", 3600],
        ],
      ],
    };
    for (const left of [1, 0, 0]) {
      const policy = await headerOf(server, "/", "RateLimit-Policy");
      const refused = policy.split(", ").length === 1;
      expect(plain(parseList(policy))).toEqual(refused ? [two.policy] : [two.policy, two.other]);
      expect(left === 0 || !refused).toBe(true);
    }
    const [item] = parseList(await headerOf(server, "/", "RateLimit"));
    expect(plain(item)).toEqual([
      "default",
      [
        ["r", 0],
        ["t", expect.any(Number)],
      ],
    ]);
  });

  it("RateLimit counts down", async () => {
    const server = await start(new Map([["/", [rateLimiter({ limit: 3, windowSeconds: 60 })]]]));
    const left: unknown[] = [];
    for (let request = 0; request < 4; request += 1)
      left.push(parseList(await headerOf(server, "/", "RateLimit")).map(([, parameters]) => parameters.get("r")));
    expect(left).toEqual([[2], [1], [0], [0]]);
  });

  it("draft-6: RateLimit-Policy is an item, the others are integers", async () => {
    const server = await start(new Map([["/", [rateLimiter({ limit: 7, windowSeconds: 30, headers: "draft-6" })]]]));
    expect(plain(parseItem(await headerOf(server, "/", "RateLimit-Policy")))).toEqual([7, [["w", 30]]]);
    for (const name of ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"])
      expect(Number.isInteger(parseItem(await headerOf(server, "/", name))[0])).toBe(true);
  });

  it("Permissions-Policy: a dictionary of inner lists of tokens and strings, and of the token *", async () => {
    const permissionsPolicy = {
      geolocation: ["self", "https://maps.example.com", "https://*.example.org:8443"],
      camera: [],
      fullscreen: "*",
      "a-1": ["src"],
    } as const;
    const server = await start(
      new Map([
        [
          "/",
          [
            securityHeaders({
              permissionsPolicy: {
                ...permissionsPolicy,
                geolocation: [...permissionsPolicy.geolocation],
                camera: [],
                "a-1": ["src"],
              },
            }),
          ],
        ],
      ]),
    );
    const read = parseDictionary(await headerOf(server, "/", "Permissions-Policy"));
    const seen = [...read].map(([feature, member]) => [
      feature,
      isInnerList(member)
        ? member[0].map(([item]) => (item instanceof Token ? String(item) : { text: item }))
        : String(member[0]),
    ]);
    const set = new Map(seen as [string, unknown][]);
    expect(set.get("geolocation")).toEqual([
      "self",
      { text: "https://maps.example.com" },
      { text: "https://*.example.org:8443" },
    ]);
    expect([set.get("camera"), set.get("microphone"), set.get("fullscreen"), set.get("a-1")]).toEqual([
      [],
      [],
      "*",
      ["src"],
    ]);
    expect([...read.values()].flatMap(([, parameters]) => [...parameters])).toEqual([]);
  });

  it("Reporting-Endpoints: a dictionary of strings", async () => {
    const reportingEndpoints = {
      default: "https://reports.example.com/a?b=1&c='x'",
      "*a_b.c-9": 'https://r.example/\\"',
    };
    const server = await start(new Map([["/", [securityHeaders({ reportingEndpoints })]]]));
    expect(
      Object.fromEntries(
        [...parseDictionary(await headerOf(server, "/", "Reporting-Endpoints"))].map(([name, [url]]) => [name, url]),
      ),
    ).toEqual(reportingEndpoints);
  });
});

function made<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    return undefined;
  }
}

describeVectors("the values of httpwg/structured-field-tests, as settings", "structured-fields", () => {
  // Without the rows of a thousand members, whose keys are a0 to a1023.
  const vectors = [...parsingVectors(), ...serialisingVectors()].filter(({ name }) => !name.startsWith("large "));

  /** Keys that are some, and keys that must not be written. */
  const keys = (good: boolean): string[] => [
    ...new Set(
      vectors.flatMap((vector) =>
        vector.header_type === "dictionary" && vector.expected !== undefined && (vector.must_fail !== true) === good
          ? vector.expected.map(([key]) => key)
          : [],
      ),
    ),
  ];
  const strings = (good: boolean): string[] => [
    ...new Set(
      vectors.flatMap((vector) =>
        vector.header_type === "item" &&
        typeof vector.expected?.[0] === "string" &&
        (vector.must_fail !== true) === good
          ? [vector.expected[0]]
          : [],
      ),
    ),
  ];

  it("an invalid key names no endpoint; a valid one is read back, unless it is longer than 64 characters", async () => {
    const tally = new Tally();
    const url = "https://reports.example.com/";
    const endpoint = (name: string): RequestHandler | undefined =>
      made(() =>
        securityHeaders({
          reportingEndpoints: JSON.parse(`{${JSON.stringify(name)}:${JSON.stringify(url)}}`) as Record<string, string>,
        }),
      );
    for (const name of keys(false)) {
      expect([name, endpoint(name)]).toEqual([name, undefined]);
      tally.count("refused");
    }
    const good = keys(true);
    const routes = new Map(good.map((name, index) => [`/${index}`, endpoint(name)]));
    const server = await start(
      new Map([...routes].flatMap(([path, handler]) => (handler === undefined ? [] : [[path, [handler]]]))),
    );
    for (const [index, name] of good.entries()) {
      expect([name, routes.get(`/${index}`) !== undefined]).toEqual([name, name.length <= 64]);
      if (name.length <= 64)
        expect(plain(parseDictionary(await headerOf(server, `/${index}`, "Reporting-Endpoints")))).toEqual([
          [name, [url, []]],
        ]);
      tally.count(name.length <= 64 ? "accepted" : "questionable");
    }
    expectRow("keys as names of endpoints", tally);
  });

  it("a string that cannot be sent is not accepted as a URL; every other is read back, without its spaces", async () => {
    const tally = new Tally();
    const endpoint = (text: string): RequestHandler | undefined =>
      made(() => securityHeaders({ reportingEndpoints: { default: `https://reports.example.com/${text}` } }));
    const refused = [...strings(false), ...strings(true).filter((text) => text.includes(" "))];
    for (const text of refused) {
      expect([text, endpoint(text)]).toEqual([text, undefined]);
      tally.count("refused");
    }
    const good = [...new Set(strings(true).map((text) => text.replaceAll(" ", "")))];
    const routes = good.map(endpoint);
    const server = await start(
      new Map(routes.flatMap((handler, index) => (handler === undefined ? [] : [[`/${index}`, [handler]]]))),
    );
    for (const [index, text] of good.entries()) {
      expect([text, routes[index] === undefined]).toEqual([text, false]);
      expect(plain(parseDictionary(await headerOf(server, `/${index}`, "Reporting-Endpoints")))).toEqual([
        ["default", [`https://reports.example.com/${text}`, []]],
      ]);
      tally.count("accepted");
    }
    expectRow("strings as URLs of endpoints", tally);
  });

  it("names of limits: letters, digits, '.', '_' and '-' are read back, every other string is refused", async () => {
    const tally = new Tally();
    const names = [...strings(true), ...strings(false), ...keys(true), ...keys(false), ...tokens(vectors)];
    const routes = [...new Set(names)].map((name) => ({
      name,
      handler: made(() => rateLimiter({ name, limit: 5, windowSeconds: 60 })),
    }));
    const server = await start(
      new Map(routes.flatMap(({ handler }, index) => (handler === undefined ? [] : [[`/${index}`, [handler]]]))),
    );
    for (const [index, { name, handler }] of routes.entries()) {
      expect([name, handler !== undefined]).toEqual([name, /^[\w.-]{1,64}$/.test(name)]);
      tally.count(handler === undefined ? "refused" : "accepted");
      if (handler === undefined) continue;
      expect(plain(parseList(await headerOf(server, `/${index}`, "RateLimit-Policy")))).toEqual([
        [
          name,
          [
            ["q", 5],
            ["w", 60],
          ],
        ],
      ]);
      expect(
        parseList(await headerOf(server, `/${index}`, "RateLimit")).map(([item, parameters]) => [
          item,
          parameters.get("r"),
        ]),
      ).toEqual([[name, 3]]);
    }
    expectRow("strings, keys and tokens as names of limits", tally);
  });

  it("names of features: lower-case letters, digits and hyphens are read back, every other key is refused", async () => {
    const tally = new Tally();
    const all = [...keys(true), ...keys(false), ...tokens(vectors)];
    const routes = [...new Set(all)].map((name) => ({
      name,
      handler: made(() =>
        securityHeaders({
          permissionsPolicy: JSON.parse(`{${JSON.stringify(name)}:["self"]}`) as Record<string, string[]>,
        }),
      ),
    }));
    const server = await start(
      new Map(routes.flatMap(({ handler }, index) => (handler === undefined ? [] : [[`/${index}`, [handler]]]))),
    );
    for (const [index, { name, handler }] of routes.entries()) {
      expect([name, handler !== undefined]).toEqual([name, /^[a-z][a-z0-9-]{0,63}$/.test(name)]);
      tally.count(handler === undefined ? "refused" : "accepted");
      if (handler === undefined) continue;
      const member = parseDictionary(await headerOf(server, `/${index}`, "Permissions-Policy")).get(name);
      expect([name, plain(member)]).toEqual([name, [[[{ __type: "token", value: "self" }, []]], []]]);
    }
    expectRow("keys and tokens as features", tally);
  });
});

function tokens(vectors: readonly { readonly header_type: string; readonly expected?: unknown }[]): string[] {
  return vectors.flatMap(({ header_type, expected }) => {
    const [value] = header_type === "item" && expected !== undefined ? (expected as PlainItem | Member) : [undefined];
    return typeof value === "object" && "__type" in value && value.__type === "token" ? [String(value.value)] : [];
  });
}
