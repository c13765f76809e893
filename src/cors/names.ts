/** RFC 9110 section 5.6.2 token, of a length that any real method or header name keeps to. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/;

/** Methods no page may use and none can be allowed (Fetch, "forbidden method"). */
const FORBIDDEN_METHODS: ReadonlySet<string> = new Set(["CONNECT", "TRACE", "TRACK"]);

/** Request headers only the browser writes, so that allowing them does nothing (Fetch, "forbidden request-header"). */
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

/** Response headers no page may read (Fetch, "forbidden response-header name"). */
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

/** The protocol's own fields: the browser writes the requests', this layer the responses'. */
export function isCorsProtocolHeader(lowerCaseName: string): boolean {
  return lowerCaseName.startsWith("access-control-");
}
