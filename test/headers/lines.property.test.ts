import fc from "fast-check";
import { isInnerList, parseDictionary, Token } from "structured-headers";
import { describe, expect, it } from "vitest";
import { decideHeaders, patchHeaders } from "../../src/headers/decide.js";
import { DIRECTIVES, type DirectiveName } from "../../src/headers/directives.js";
import { compilePlan, type HeaderPlan } from "../../src/headers/plan.js";
import { headersPatchSchema } from "../../src/headers/settings.js";
import { headersSchema } from "../../src/headers/schema.js";
import { SettingsError } from "../../src/settings/errors.js";
import { parse } from "../../src/settings/object.js";
import { parseCsp, parseOneCsp } from "./csp-parser.js";

const options = (numRuns: number) => ({ numRuns });

/** Text that is meant to break out: separators and control characters among words that mean something. */
const hostile = fc
  .array(
    fc.constantFrom(
      "'self'",
      "'none'",
      "'nonce'",
      "'unsafe-inline'",
      "self",
      "none",
      "data:",
      "https:",
      "*",
      "a.example",
      "https://a.example:8443/x",
      ";",
      ",",
      " ",
      "\r",
      "\n",
      "\0",
      "\t",
      '"',
      "\\",
      "'",
      "script-src",
      "(",
      ")",
      "=",
      "é",
      "\u2028",
      "\x7f",
      "%3B",
      "/",
      "//",
      "://",
      "nonce-",
      "sha256-",
      "__proto__",
    ),
    { maxLength: 4 },
  )
  .map((pieces) => pieces.join(""));
const odd = fc.oneof(
  { weight: 3, arbitrary: hostile },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 12 }) },
);
/** Mostly what is right, so that a good part of the settings is taken, and their odd part is the one that counts. */
const mostly = (right: fc.Arbitrary<string>) =>
  fc.oneof({ weight: 12, arbitrary: right }, { weight: 1, arbitrary: odd });
const names = Object.keys(DIRECTIVES) as DirectiveName[];
const source = mostly(fc.constantFrom("'self'", "data:", "https://cdn.example", "*.example.com", "*", "https:"));
const sourceList = fc.oneof(
  { weight: 8, arbitrary: fc.array(source, { minLength: 1, maxLength: 3 }) },
  { weight: 1, arbitrary: fc.constantFrom<string[] | false>(["'none'"], ["'nonce'"], [], false) },
);
const directives = fc.dictionary(
  mostly(fc.constantFrom<string>(...names.filter((name) => /-src/.test(name)), "form-action")),
  sourceList,
  { maxKeys: 4 },
);
const policy = fc.record(
  {
    directives,
    useDefaults: fc.oneof({ weight: 4, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
  },
  { requiredKeys: [] },
);
const anySettings = fc.record(
  {
    mode: fc.constantFrom("enforce", "report"),
    contentSecurityPolicy: fc.oneof({ weight: 4, arbitrary: policy }, { weight: 1, arbitrary: fc.constant(false) }),
    contentSecurityPolicyReportOnly: policy,
    permissionsPolicy: fc.dictionary(
      mostly(fc.constantFrom("camera", "fullscreen")),
      fc.oneof(
        fc.array(mostly(fc.constantFrom("self", "https://a.example", "https://*.a.example:1")), { maxLength: 3 }),
        fc.constant("*"),
      ),
      { maxKeys: 3 },
    ),
    reportingEndpoints: fc.dictionary(
      mostly(fc.constantFrom("csp", "a")),
      mostly(
        fc.oneof(
          odd.map((text) => `https://r.example/${text}`),
          fc.webUrl({ validSchemes: ["https"] }),
        ),
      ),
      { maxKeys: 2 },
    ),
    referrerPolicy: fc.oneof(
      mostly(fc.constant("origin")),
      fc.uniqueArray(mostly(fc.constantFrom("origin", "no-referrer")), { minLength: 1, maxLength: 2 }),
    ),
    frameOptions: mostly(fc.constantFrom("DENY", "SAMEORIGIN")),
  },
  { requiredKeys: [] },
);

/** The plan of settings, or `undefined` when they were refused. Any other error is a failure. */
function planOf(settings: unknown): HeaderPlan | undefined {
  try {
    return compilePlan(decideHeaders(parse(headersSchema, settings), false));
  } catch (error) {
    if (error instanceof SettingsError) return undefined;
    throw error;
  }
}

function expectCleanLines(plan: HeaderPlan): void {
  const written = new Map(plan.values);
  for (const { name, parts } of plan.nonced) written.set(`${name} with nonce`, parts.join("'nonce-AAAA'"));
  for (const [name, value] of written) {
    // Printable ASCII: no CR, LF, NUL and nothing a proxy reads otherwise.
    expect(value, name).toMatch(/^[\x20-\x7e]+$/);
    if (!name.startsWith("Content-Security-Policy")) continue;
    const policies = parseCsp(value);
    expect(policies.length).toBe(
      name.startsWith("Content-Security-Policy-Report-Only") &&
        plan.model.reportOnly &&
        plan.model.csp !== false &&
        plan.model.cspReportOnly !== false
        ? 2
        : 1,
    );
    for (const parsed of policies) for (const directive of parsed.keys()) expect(names).toContain(directive);
  }
  for (const name of ["Permissions-Policy", "Reporting-Endpoints"]) {
    const value = written.get(name);
    if (value !== undefined) expect(() => parseDictionary(value), name).not.toThrow();
  }
}

describe("whatever the settings", () => {
  it("they are refused, or every header is one clean line whose policies have only known directives", () => {
    let taken = 0;
    fc.assert(
      fc.property(anySettings, (settings) => {
        const plan = planOf(settings);
        if (plan === undefined) return;
        taken += 1;
        expectCleanLines(plan);
      }),
      options(1500),
    );
    expect(taken).toBeGreaterThan(300);
  });

  it("they are refused with any patch, or every header is one clean line", () => {
    const base = decideHeaders(parse(headersSchema, { reportingEndpoints: { csp: "https://r.example" } }), false);
    let taken = 0;
    fc.assert(
      fc.property(
        fc.record(
          {
            contentSecurityPolicy: fc.record({ directives }),
            contentSecurityPolicyReportOnly: fc.record({ directives }),
          },
          { requiredKeys: [] },
        ),
        (patch) => {
          const result = headersPatchSchema.safeParse(patch);
          if (!result.success) return;
          taken += 1;
          expectCleanLines(compilePlan(patchHeaders(base, result.data, false)));
        },
      ),
      options(1000),
    );
    expect(taken).toBeGreaterThan(300);
  });
});

describe("what the headers layer writes is read back", () => {
  const host = fc
    .domain()
    .chain((domain) =>
      fc.constantFrom(domain, `*.${domain}`, `https://${domain}`, `wss://${domain}:*`, `https://${domain}:8443/a/b.js`),
    );
  const anySource = fc.oneof(
    host,
    fc.constantFrom("'self'", "'strict-dynamic'", "'unsafe-eval'", "data:", "blob:", "*"),
  );
  const fetchNames = names.filter((name) => DIRECTIVES[name] === "fetch");

  it("by an independent parser of policies, with and without the nonce", () => {
    const list = fc.oneof(fc.constant(["'none'"]), fc.uniqueArray(anySource, { minLength: 1, maxLength: 5 }));
    const settings = fc.dictionary(fc.constantFrom(...fetchNames), list, { minKeys: 1, maxKeys: 6 });
    fc.assert(
      fc.property(settings, fc.uniqueArray(anySource, { maxLength: 2 }), (written, scripts) => {
        const all: Record<string, string[]> = {
          "default-src": ["'self'"],
          ...written,
          "script-src": [...scripts, "'nonce'"],
        };
        const plan = planOf({ contentSecurityPolicy: { directives: all, useDefaults: false } });
        const read = parseOneCsp(plan?.values.get("Content-Security-Policy"));
        expect(Object.fromEntries(read)).toEqual({ ...all, "script-src": scripts.length === 0 ? ["'none'"] : scripts });
        const nonced = parseOneCsp(plan?.nonced[0]?.parts.join("'nonce-AAAA'"));
        expect(Object.fromEntries(nonced)).toEqual({ ...all, "script-src": [...scripts, "'nonce-AAAA'"] });
      }),
      options(300),
    );
  });

  it("by the structured-headers package", () => {
    const origin = fc
      .domain()
      .chain((domain) =>
        fc.constantFrom("self", "src", `https://${domain}`, `https://*.${domain}`, `http://${domain}:8080`),
      );
    const permissions = fc.dictionary(
      fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/),
      fc.oneof(fc.array(origin, { maxLength: 3 }), fc.constant("*" as const)),
      { minKeys: 1, maxKeys: 4 },
    );
    const endpoints = fc.dictionary(
      fc.stringMatching(/^[a-z*][a-z0-9_.*-]{0,10}$/),
      fc.webUrl({ validSchemes: ["https"], withQueryParameters: true }),
      { minKeys: 1, maxKeys: 3 },
    );
    fc.assert(
      fc.property(permissions, endpoints, (allowed, urls) => {
        const plan = planOf({ permissionsPolicy: allowed, reportingEndpoints: urls });
        const read = parseDictionary(plan?.values.get("Permissions-Policy") ?? "");
        for (const [feature, allow] of Object.entries(allowed)) {
          const member = read.get(feature);
          if (member === undefined) throw new Error(`${feature} is missing`);
          expect(
            isInnerList(member)
              ? member[0].map(([value]) => (value instanceof Token ? value.toString() : value))
              : String(member[0]),
          ).toEqual(allow);
        }
        expect(
          [...parseDictionary(plan?.values.get("Reporting-Endpoints") ?? "")].map(([name, [url]]) => [name, url]),
        ).toEqual(Object.entries(urls));
      }),
      options(300),
    );
  });
});
