import { AssertionError } from "node:assert";

/** A response of fetch, supertest or node:http, or its headers by lower-case name. */
export type TestResponse =
  | { readonly headers: { get(name: string): string | null } }
  | { readonly headers: Readonly<Record<string, string | readonly string[] | undefined>> };

/** What each header must look like. Settings may choose other values, but none that this refuses as insecure. */
const EXPECTED: readonly (readonly [name: string, value: RegExp])[] = [
  ["content-security-policy", /(?:^|;) *(?:default-src|script-src) /],
  ["x-content-type-options", /^nosniff$/],
  ["referrer-policy", /^(?!.*unsafe-url)./],
  ["permissions-policy", /=/],
  ["cross-origin-opener-policy", /./],
  ["cross-origin-resource-policy", /./],
];

/**
 * Fails unless a response has the security headers of this library: a Content-Security-Policy, protection against
 * framing, X-Content-Type-Options, Referrer-Policy, Permissions-Policy, Cross-Origin-Opener-Policy and
 * Cross-Origin-Resource-Policy, and no X-Powered-By. Strict-Transport-Security is not asked for: it is sent over https
 * only.
 *
 * @param response of fetch, supertest or node:http
 * @param except headers that your settings turn off, in any case
 * @throws AssertionError that lists every header that is missing or wrong
 *
 * @example
 * ```ts
 * import { expectSecureHeaders } from "portcullis/testing";
 *
 * async function check(url: string): Promise<void> {
 *   expectSecureHeaders(await fetch(url));
 * }
 * ```
 */
export function expectSecureHeaders(response: TestResponse, except: readonly string[] = []): void {
  const skipped = new Set(except.map((name) => name.toLowerCase()));
  const read = (name: string): string | undefined => valueOf(response, name);
  const problems = EXPECTED.flatMap(([name, expected]) => {
    const value = read(name);
    if (skipped.has(name) || (value !== undefined && expected.test(value))) return [];
    return [value === undefined ? `${name} is missing` : `${name} is ${JSON.stringify(value)}`];
  });
  const framing = read("x-frame-options") ?? /frame-ancestors [^;]+/.exec(read("content-security-policy") ?? "")?.[0];
  if (framing === undefined && !skipped.has("x-frame-options"))
    problems.push("neither x-frame-options nor frame-ancestors is there");
  if (read("x-powered-by") !== undefined) problems.push("x-powered-by is there");
  if (problems.length > 0)
    throw new AssertionError({
      message: `The response lacks security headers: ${problems.join("; ")}.`,
      stackStartFn: expectSecureHeaders,
    });
}

function valueOf({ headers }: TestResponse, name: string): string | undefined {
  if (typeof headers.get === "function") return headers.get(name) ?? undefined;
  const value = (headers as Readonly<Record<string, string | readonly string[] | undefined>>)[name];
  return typeof value === "string" ? value : value?.join(", ");
}
