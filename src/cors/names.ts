/** RFC 9110 section 5.6.2 token, limited to a length that no real method or header name exceeds. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/;

/** Methods that no page may use, so they cannot be allowed (Fetch, "forbidden method"). */
const FORBIDDEN_METHODS: ReadonlySet<string> = new Set(["CONNECT", "TRACE", "TRACK"]);

/** Request headers that only the browser sets, so allowing them has no effect (Fetch, "forbidden request-header"). */
const FORBIDDEN_REQUEST_HEADERS: ReadonlySet<string> = new Set([
  "accept-charset",
  "accept-encoding",
  "connection",
  "content-length",
  "cookie",
  "cookie2",
  "date",
  "dnt",
  "expect",
  "host",
  "keep-alive",
  "origin",
  "referer",
  "set-cookie",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "via",
]);

/** Response headers that no page may read (Fetch, "forbidden response-header name"). */
const FORBIDDEN_RESPONSE_HEADERS: ReadonlySet<string> = new Set(["set-cookie", "set-cookie2"]);

export function isToken(text: string): boolean {
  return TOKEN.test(text);
}

export function isForbiddenMethod(method: string): boolean {
  return FORBIDDEN_METHODS.has(method.toUpperCase());
}

export function isForbiddenRequestHeader(lowerCaseName: string): boolean {
  return (
    FORBIDDEN_REQUEST_HEADERS.has(lowerCaseName) ||
    lowerCaseName.startsWith("proxy-") ||
    lowerCaseName.startsWith("sec-")
  );
}

export function isForbiddenResponseHeader(lowerCaseName: string): boolean {
  return FORBIDDEN_RESPONSE_HEADERS.has(lowerCaseName);
}

/** The protocol's own fields: the browser sets those of the request, this layer those of the response. */
export function isCorsProtocolHeader(lowerCaseName: string): boolean {
  return lowerCaseName.startsWith("access-control-");
}
