import type { BrowserRequest, WireAnswer } from "../cors/fetch-standard.js";

/**
 * What the standards let a page see, beside the CORS check of test/cors/fetch-standard.ts: which headers of an answer
 * (https://fetch.spec.whatwg.org/), whether a private network may be reached (https://wicg.github.io/private-network-access/),
 * and what a shared cache hands out (RFC 9111).
 */
const SAFELISTED_RESPONSE_HEADERS = [
  "cache-control",
  "content-language",
  "content-length",
  "content-type",
  "expires",
  "last-modified",
  "pragma",
];
const FORBIDDEN_RESPONSE_HEADERS = ["set-cookie", "set-cookie2"];

function tokens(value: string | string[] | undefined): string[] {
  return String(value ?? "")
    .split(",")
    .map((item) => item.trim().toLowerCase())
    .filter((item) => item !== "");
}

/** Fetch 4.3 HTTP fetch, the CORS-exposed header-name list, and 2.2.6 CORS filtered response. */
export function readableHeaders(request: BrowserRequest, answer: WireAnswer): string[] {
  const names = Object.keys(answer.headers);
  const exposed = tokens(answer.headers["access-control-expose-headers"]);
  const list = request.credentials !== "include" && exposed.includes("*") ? names : exposed;
  const isSafelisted = (name: string): boolean =>
    SAFELISTED_RESPONSE_HEADERS.includes(name) || (list.includes(name) && !FORBIDDEN_RESPONSE_HEADERS.includes(name));
  return names.filter(isSafelisted).sort();
}

/** Private Network Access 3.1.2: every request from a public page is preflighted, and the answer has to say so in one more header. */
export function mayEnterPrivateNetwork(answer: WireAnswer): boolean {
  return answer.headers["access-control-allow-private-network"] === "true";
}

interface Stored {
  readonly asked: Record<string, string>;
  readonly answer: WireAnswer;
}

/** A cache for everybody that keeps every answer to a GET for ever, by RFC 9111 section 4.1. */
export class SharedCache {
  readonly #stored: Stored[] = [];
  hits = 0;

  async ask(
    headers: Record<string, string>,
    origin: (headers: Record<string, string>) => Promise<WireAnswer>,
  ): Promise<WireAnswer> {
    const found = this.#stored.find(({ asked, answer }) => {
      const varying = tokens(answer.headers.vary);
      return !varying.includes("*") && varying.every((name) => asked[name] === headers[name]);
    });
    if (found !== undefined) {
      this.hits += 1;
      return found.answer;
    }
    const answer = await origin(headers);
    this.#stored.push({ asked: headers, answer });
    return answer;
  }
}
