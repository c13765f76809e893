import { parseDictionary, parseList, serializeDictionary, serializeList } from "structured-headers";
import { DIRECTIVES } from "../../src/headers/directives.js";
import { parseCsp } from "../headers/csp-parser.js";

/**
 * Every header a response of the pipeline may have, with a strict reader written from its own specification. A name that is
 * not here is a failure, and so is an empty element: that is what a stray comma or semicolon makes.
 */
export interface WireResponse {
  status: number;
  /** Names in lower case. */
  fields: [name: string, value: string][];
  body: string;
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

function demand(isRight: boolean, what: string): asserts isRight {
  if (!isRight) throw new Error(what);
}

/** RFC 9112 sections 2.1, 4, 5: the head split by CRLF alone; each line a token, a colon, and printable ASCII without outer spaces. */
export function readResponse(bytes: string): WireResponse {
  const end = bytes.indexOf("\r\n\r\n");
  demand(end !== -1, `no end of a head in ${JSON.stringify(bytes.slice(0, 200))}`);
  const [first = "", ...lines] = bytes.slice(0, end).split("\r\n");
  const status = /^HTTP\/1\.1 ([1-5]\d\d) [A-Za-z -]+$/.exec(first)?.[1];
  demand(status !== undefined, `not a status line: ${JSON.stringify(first)}`);
  const fields = lines.map((line): [string, string] => {
    const [, name = "", value = ""] = /^([^:]*): ([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)$/.exec(line) ?? [];
    demand(TOKEN.test(name), `not one clean line: ${JSON.stringify(line)}`);
    return [name.toLowerCase(), value];
  });
  return { status: Number(status), fields, body: bytes.slice(end + 4) };
}

/** RFC 9110 section 5.6.1, as senders must write it: no element is empty. */
export function listOf(value: string, element = TOKEN): string[] {
  const elements = value.split(",").map((text) => text.replace(/^ /, ""));
  for (const text of elements) demand(element.test(text), `${JSON.stringify(text)} in ${JSON.stringify(value)}`);
  demand(new Set(elements.map((text) => text.toLowerCase())).size === elements.length, `twice in ${value}`);
  return elements;
}

/** RFC 9110 section 11.6.1, with quoted-string parameters: scheme and parameters of each challenge. */
export function readChallenges(value: string): { scheme: string; parameters: Record<string, string> }[] {
  const found: { scheme: string; parameters: Record<string, string> }[] = [];
  const part = /(?:([A-Za-z]+) )?([a-z]+)="((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"(?:, |$)/y;
  while (part.lastIndex < value.length) {
    const at = part.lastIndex;
    const [, scheme, name = "", text = ""] = part.exec(value) ?? [];
    demand(part.lastIndex > at, `not a challenge from ${at} on: ${value}`);
    if (scheme !== undefined) found.push({ scheme, parameters: {} });
    const last = found.at(-1);
    demand(
      last !== undefined && !Object.hasOwn(last.parameters, name),
      `a parameter without a scheme, or twice: ${value}`,
    );
    last.parameters[name] = text.replace(/\\(.)/g, "$1");
  }
  demand(found.length > 0 && !value.endsWith(", "), `no challenge, or a stray comma: ${value}`);
  return found;
}

/** RFC 6265 section 4.1.1: what servers should send. */
export function readCookie(value: string): { name: string; value: string; attributes: Map<string, string> } {
  const [pair = "", ...rest] = value.split("; ");
  const [, name = "", text = ""] = /^([^=]+)=([\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*)$/.exec(pair) ?? [];
  demand(TOKEN.test(name), `not a cookie: ${value}`);
  const attributes = new Map<string, string>();
  for (const attribute of rest) {
    const [, key = "", content = ""] = /^([A-Za-z-]+)(?:=([\x20-\x3a\x3c-\x7e]+))?$/.exec(attribute) ?? [];
    demand(
      ["Path", "Domain", "Max-Age", "Expires", "Secure", "HttpOnly", "SameSite"].includes(key) && !attributes.has(key),
      `attribute ${attribute} in ${value}`,
    );
    attributes.set(key, content);
  }
  return { name, value: text, attributes };
}

/** CSP Level 3 section 2.2.1: no empty policy, no empty directive, no directive twice, only names there are. */
export function readPolicies(value: string): Map<string, string[]>[] {
  for (const policy of value.split(",")) {
    const names = policy.split(";").map((directive) => {
      demand(
        /^ ?[a-z-]+(?: [\x21-\x2b\x2d-\x3a\x3c-\x7e]+)*$/.test(directive),
        `directive ${JSON.stringify(directive)} in ${value}`,
      );
      return directive.trim().split(" ")[0] ?? "";
    });
    demand(
      new Set(names).size === names.length && names.every((name) => Object.hasOwn(DIRECTIVES, name)),
      `names of ${value}`,
    );
  }
  return parseCsp(value);
}

const matches = (pattern: RegExp) => (value: string) => demand(pattern.test(value), value);
const digits = matches(/^\d{1,15}$/);
/** Read and written again it must be the same text (RFC 9651 section 4.1 leaves no choice). */
const dictionary = (value: string) => demand(serializeDictionary(parseDictionary(value)) === value, value);
const list = (value: string) => demand(serializeList(parseList(value)) === value, value);
const tokens = (value: string) => void listOf(value);

export const READERS: Readonly<Record<string, (value: string) => unknown>> = {
  "access-control-allow-credentials": matches(/^true$/),
  "access-control-allow-headers": tokens,
  "access-control-allow-methods": tokens,
  "access-control-allow-origin": matches(/^(?:\*|[a-z][a-z0-9+.-]*:\/\/[a-z0-9.-]+(?::\d{1,5})?)$/),
  "access-control-allow-private-network": matches(/^true$/),
  "access-control-expose-headers": tokens,
  "access-control-max-age": digits,
  // Express's own answer to OPTIONS.
  allow: tokens,
  "cache-control": (value) => listOf(value, /^[a-z-]+(?:=\d+)?$/),
  "clear-site-data": (value) => listOf(value, /^"[a-zA-Z*]+"$/),
  connection: matches(/^close$/),
  "content-length": digits,
  "content-security-policy": readPolicies,
  "content-security-policy-report-only": readPolicies,
  "content-type": matches(/^[a-z]+\/[a-z+.-]+(?:; charset=utf-8)?$/),
  "cross-origin-embedder-policy": matches(/^(?:require-corp|credentialless|unsafe-none)$/),
  "cross-origin-opener-policy": matches(/^(?:same-origin|same-origin-allow-popups|noopener-allow-popups|unsafe-none)$/),
  "cross-origin-resource-policy": matches(/^(?:same-origin|same-site|cross-origin)$/),
  date: (value) => demand(new Date(value).toUTCString() === value, value),
  etag: matches(/^(?:W\/)?"[\x21\x23-\x7e]*"$/),
  "permissions-policy": dictionary,
  ratelimit: list,
  "ratelimit-limit": digits,
  "ratelimit-policy": list,
  "ratelimit-remaining": digits,
  "ratelimit-reset": digits,
  "referrer-policy": (value) => listOf(value, /^[a-z-]+$/),
  "reporting-endpoints": dictionary,
  "retry-after": digits,
  "set-cookie": readCookie,
  "strict-transport-security": matches(/^max-age=\d+(?:; includeSubDomains)?(?:; preload)?$/),
  vary: tokens,
  "www-authenticate": readChallenges,
  "x-content-type-options": matches(/^nosniff$/),
  "x-frame-options": matches(/^(?:DENY|SAMEORIGIN)$/),
  "x-ratelimit-limit": digits,
  "x-ratelimit-remaining": digits,
  "x-ratelimit-reset": digits,
  "x-xss-protection": matches(/^(?:0|1; mode=block)$/),
};

/** Reads every header by its grammar; one that is not known, or stands twice, is an error. Set-Cookie alone may be repeated. */
export function readAll({ fields }: WireResponse): Map<string, string> {
  const values = new Map<string, string>();
  for (const [name, value] of fields) {
    const read = READERS[name];
    demand(read !== undefined, `${name} is no header of this library: ${value}`);
    demand(name === "set-cookie" || !values.has(name), `${name} stands twice`);
    read(value);
    values.set(name, value);
  }
  return values;
}
