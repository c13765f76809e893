/** How the tests of Express run. */
export type Mode = "classes" | "secured" | "protected";

/** Why some tests must differ. */
export interface Difference {
  readonly reason: string;
  readonly modes: readonly Mode[];
  /** Full titles of the tests, as mocha prints them; some stand in the suite more than once. */
  readonly tests: readonly string[];
}

export const DIFFERENCES: readonly Difference[] = [
  {
    reason:
      "sets `case sensitive routing` or `strict routing` after applySecurity, when Express no longer reads them; the first request reports that",
    modes: ["secured", "protected"],
    tests: [
      'app.router case sensitivity when "case sensitive routing" is enabled should not match otherwise',
      'app.router trailing slashes when "strict routing" is enabled should fail when omitting the trailing slash',
      'app.router trailing slashes when "strict routing" is enabled should fail when adding the trailing slash',
    ],
  },
  {
    reason: "`Vary: Origin` of CORS comes first",
    modes: ["protected"],
    tests: [
      "res .format(obj) with canonicalized mime types should Vary: Accept",
      "res .format(obj) with extnames should Vary: Accept",
      "res .format(obj) with parameters should Vary: Accept",
      "res .format(obj) in router should Vary: Accept",
      "res.vary() with no arguments should not set Vary",
      "res.vary() with an empty array should not set Vary",
      "res.vary() with an array should set the values",
      "res.vary() with a string should set the value",
      "res.vary() when the value is present should not add it again",
    ],
  },
  {
    reason: "`res.locals` has the nonce of the Content-Security-Policy",
    modes: ["protected"],
    tests: ["res should work when mounted", "res .locals should be empty by default"],
  },
  {
    reason: "`X-Content-Type-Options: nosniff` is one of the headers",
    modes: ["protected"],
    tests: ["res .jsonp(object) should not override previous Content-Types with no callback"],
  },
  {
    reason: "the policy of a page of Express has the directives that `default-src` does not cover in addition",
    modes: ["protected"],
    tests: ["express.static() redirect should respond with default Content-Security-Policy"],
  },
  {
    reason: "the second of two requests has one request less left, as `RateLimit` says",
    modes: ["protected"],
    tests: ["HEAD should output the same headers as GET requests"],
  },
];

/** Titles of the tests that are expected to differ, with the reason. */
export function expectedIn(mode: Mode): ReadonlyMap<string, string> {
  const of = DIFFERENCES.filter(({ modes }) => modes.includes(mode));
  return new Map(of.flatMap(({ reason, tests }) => tests.map((title) => [title, reason] as const)));
}
