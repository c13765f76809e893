/**
 * The client's side of CORS, written down step by step from the Fetch standard (https://fetch.spec.whatwg.org/), so that
 * the server's answers are judged by what a browser would make of them. Section numbers are the standard's.
 */
export interface BrowserRequest {
  origin: string;
  method: string;
  headers: Record<string, string>;
  credentials: "omit" | "include";
}

export interface WireAnswer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
}

export type Wire = (method: string, headers: Record<string, string>) => Promise<WireAnswer>;

/** 2.2.2 "getting" a header: several lines are one value, joined by a comma and a space. */
function get(answer: WireAnswer, name: string): string | null {
  const value = answer.headers[name];
  return value === undefined ? null : Array.isArray(value) ? value.join(", ") : value;
}

/** 2.2.2 "extract header list values" with the ABNF `#token`; null when absent, an error when it does not parse. */
function extract(answer: WireAnswer, name: string): string[] | null | "failure" {
  const value = get(answer, name);
  if (value === null) return null;
  const items = value
    .split(",")
    .map((item) => item.replace(/^[ \t]+|[ \t]+$/g, ""))
    .filter((item) => item !== "");
  return items.every((item) => /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(item)) ? items : "failure";
}

/** 2.2.1 CORS-safelisted method. */
const isSafelistedMethod = (method: string): boolean => method === "GET" || method === "HEAD" || method === "POST";

/** 2.2.2 CORS-safelisted request-header, without Range. */
function isSafelistedHeader(name: string, value: string): boolean {
  if (Buffer.byteLength(value) > 128) return false;
  switch (name.toLowerCase()) {
    case "accept":
      return !/[\x00-\x08\x0a-\x1f"():<>?@[\\\]{}\x7f]/.test(value);
    case "accept-language":
    case "content-language":
      return /^[0-9A-Za-z *,\-.;=]*$/.test(value);
    case "content-type": {
      if (/[\x00-\x08\x0a-\x1f"():<>?@[\\\]{}\x7f]/.test(value)) return false;
      const essence = (value.split(";")[0] ?? "").trim().toLowerCase();
      return ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"].includes(essence);
    }
    default:
      return false;
  }
}

/** 2.2.2 CORS-unsafe request-header names: lower case, sorted, unique. */
export function unsafeNames(headers: Record<string, string>): string[] {
  return [
    ...new Set(
      Object.entries(headers)
        .filter(([name, value]) => !isSafelistedHeader(name, value))
        .map(([name]) => name.toLowerCase()),
    ),
  ].sort();
}

/** 4.9 CORS check. */
function corsCheck(request: BrowserRequest, answer: WireAnswer): boolean {
  const origin = get(answer, "access-control-allow-origin"); // 1
  if (origin === null) return false; // 2
  if (request.credentials !== "include" && origin === "*") return true; // 3
  if (request.origin !== origin) return false; // 4
  if (request.credentials !== "include") return true; // 5
  return get(answer, "access-control-allow-credentials") === "true"; // 6–8
}

/** 4.8 CORS-preflight fetch, without the cache. */
async function preflight(request: BrowserRequest, wire: Wire): Promise<boolean> {
  const asked = unsafeNames(request.headers);
  const headers: Record<string, string> = {
    accept: "*/*",
    origin: request.origin,
    "access-control-request-method": request.method,
  };
  if (asked.length > 0) headers["access-control-request-headers"] = asked.join(",");
  const answer = await wire("OPTIONS", headers);
  if (!corsCheck(request, answer) || answer.status < 200 || answer.status > 299) return false; // 7, 8
  const methods = extract(answer, "access-control-allow-methods");
  const listed = extract(answer, "access-control-allow-headers");
  if (methods === "failure" || listed === "failure") return false;
  const wildcard = (list: string[] | null): boolean => request.credentials !== "include" && (list ?? []).includes("*");
  const names = (listed ?? []).map((name) => name.toLowerCase());
  if (!(methods ?? []).includes(request.method) && !isSafelistedMethod(request.method) && !wildcard(methods))
    return false;
  // CORS non-wildcard request-header name: Authorization.
  if (
    Object.keys(request.headers).some((name) => name.toLowerCase() === "authorization") &&
    !names.includes("authorization")
  )
    return false;
  return asked.every((name) => names.includes(name) || wildcard(listed));
}

/** 4.1 and 4.3 main and HTTP fetch of a request of mode "cors" to another origin: whether the page gets to read an answer. */
export async function pageMayRead(request: BrowserRequest, wire: Wire): Promise<boolean> {
  if (
    (!isSafelistedMethod(request.method) || unsafeNames(request.headers).length > 0) &&
    !(await preflight(request, wire))
  )
    return false;
  return corsCheck(request, await wire(request.method, { ...request.headers, origin: request.origin }));
}

export function needsPreflight(request: BrowserRequest): boolean {
  return !isSafelistedMethod(request.method) || unsafeNames(request.headers).length > 0;
}
