import { parseUrl } from "../settings/parse-url.js";
import type { SettingsCode } from "../settings/errors.js";
import { nearest } from "../core/nearest.js";
import { DIRECTIVES, NONCE_SOURCE, TAKES_NONCE, type DirectiveKind, type DirectiveName } from "./directives.js";

/** One problem of a directive: with the source at an index, or (no index) with the list. */
export interface SourceProblem {
  readonly index?: number;
  readonly code: SettingsCode;
  readonly message: string;
  readonly remedy: string;
}

const KEYWORDS = [
  "'self'",
  "'none'",
  "'unsafe-inline'",
  "'unsafe-eval'",
  "'unsafe-hashes'",
  "'wasm-unsafe-eval'",
  "'trusted-types-eval'",
  "'strict-dynamic'",
  "'report-sample'",
  "'report-sha256'",
  "'report-sha384'",
  "'report-sha512'",
  "'inline-speculation-rules'",
  NONCE_SOURCE,
];
const BARE_KEYWORDS = new Set(KEYWORDS.map((keyword) => keyword.slice(1, -1)));
const BARE_SCHEMES = new Set(["http", "https", "ws", "wss", "data", "blob", "filesystem", "mediastream"]);

/** Base64 length of each digest, padding included. */
const HASH_LENGTHS: Readonly<Record<string, number>> = { sha256: 44, sha384: 64, sha512: 88 };
const HASH = /^'(sha256|sha384|sha512)-([A-Za-z0-9+/_-]+={0,2})'$/;
const BARE_HASH_OR_NONCE = /^(?:sha256|sha384|sha512|nonce)-/i;
const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]*:$/;
// CSP Level 3 section 2.3.1 host-source, with the underscore that browsers take; no quote in the path.
const HOST =
  /^(?:[A-Za-z][A-Za-z0-9+.-]*:\/\/)?(?:\*|(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)(?::(?:[0-9]{1,5}|\*))?(?:\/[A-Za-z0-9\-._~!$&()*+=:@%/]*)?$/;

const SANDBOX_FLAGS = [
  "allow-downloads",
  "allow-forms",
  "allow-modals",
  "allow-orientation-lock",
  "allow-pointer-lock",
  "allow-popups",
  "allow-popups-to-escape-sandbox",
  "allow-presentation",
  "allow-same-origin",
  "allow-scripts",
  "allow-storage-access-by-user-activation",
  "allow-top-navigation",
  "allow-top-navigation-by-user-activation",
  "allow-top-navigation-to-custom-protocols",
];

/** All problems with the sources of one directive, taken by itself. */
export function sourceProblems(name: DirectiveName, sources: readonly string[]): SourceProblem[] {
  const kind = DIRECTIVES[name];
  const problems: SourceProblem[] = [];
  sources.forEach((source, index) => {
    const problem = forbiddenCharacter(source) ?? unquotedProblem(source) ?? sourceProblem(name, kind, source);
    if (problem !== undefined) problems.push({ index, ...problem });
  });
  return problems.length > 0 ? problems : listProblems(kind, sources);
}

type Found = Omit<SourceProblem, "index">;

function wrong(message: string, remedy: string, code: SettingsCode = "wrong-value"): Found {
  return { code, message, remedy };
}

/** A source that could begin a new directive, a new policy or a new header. */
function forbiddenCharacter(source: string): Found | undefined {
  if (source === "") return wrong("A source is empty.", "Remove it.");
  if (/[;,]/.test(source))
    return wrong(
      "A source contains ';' or ',', which would end the directive or the policy.",
      "Write each directive as its own key and each source as its own entry. In a URL, write %3B for ';' and %2C for ','.",
    );
  if (/[^\x21-\x7e]/.test(source))
    return wrong(
      "A source contains white space, a control character or a non-ASCII character.",
      "Write each source as its own entry of the list. Write a host in its xn-- form, and percent-encode a path.",
    );
  return undefined;
}

function listProblems(kind: DirectiveKind, sources: readonly string[]): SourceProblem[] {
  if (kind === "flag")
    return sources.length === 0 ? [] : [wrong("This directive has no value.", "Write an empty list.")];
  if (kind === "sandbox") return [];
  if (sources.length === 0)
    return [wrong("The list is empty.", "Write [\"'none'\"] to allow nothing, or false to remove the directive.")];
  if (sources.length > 1 && (kind === "endpoint" || kind === "webrtc"))
    return [wrong("This directive has exactly one value.", "Keep one of them.")];
  if (sources.length > 1 && sources.includes("'none'")) {
    return [
      wrong(
        "Browsers ignore 'none' when the list contains other sources.",
        "Remove 'none', or remove all other sources.",
        "contradiction",
      ),
    ];
  }
  // When the app does not read the nonce, the header omits it, and 'unsafe-inline' would then apply.
  if (sources.includes(NONCE_SOURCE) && sources.includes("'unsafe-inline'")) return [UNSAFE_INLINE_WITH_NONCE];
  return [];
}

/** Also reported when a per-route patch combines the two. */
export const UNSAFE_INLINE_WITH_NONCE: SourceProblem = {
  code: "contradiction",
  message: "'unsafe-inline' together with 'nonce' would allow every inline script on pages that do not read the nonce.",
  remedy: "Remove 'unsafe-inline', and set the nonce attribute of inline scripts and styles to res.locals.cspNonce.",
};

function sourceProblem(name: DirectiveName, kind: DirectiveKind, source: string): Found | undefined {
  switch (kind) {
    case "fetch":
    case "sources":
      return listedSourceProblem(name, source);
    case "ancestors":
      return ancestorProblem(source);
    case "sandbox":
      return oneOf(source, SANDBOX_FLAGS, "a sandbox flag");
    case "webrtc":
      return oneOf(source, ["'allow'", "'block'"], "a valid value of webrtc");
    case "sinks":
      return oneOf(source, ["'script'"], "a sink group");
    case "trusted-types":
      return /^(?:\*|'none'|'allow-duplicates'|[A-Za-z0-9\-#=_/@.%]+)$/.test(source)
        ? undefined
        : wrong(
            "This is not the name of a Trusted Types policy.",
            "Write a policy name, *, 'none' or 'allow-duplicates'.",
          );
    case "endpoint":
      return undefined; // compared with reportingEndpoints where both are known
    case "uris":
      return uriProblem(source);
    case "flag":
      return undefined; // the list rule says it
  }
}

function listedSourceProblem(name: DirectiveName, source: string): Found | undefined {
  if (source === NONCE_SOURCE) {
    return TAKES_NONCE.has(name)
      ? undefined
      : wrong("A nonce has no effect in this directive.", `Use 'nonce' in ${[...TAKES_NONCE].join(", ")}.`);
  }
  if (source.startsWith("'")) return quotedProblem(source);
  return bareProblem(source);
}

function ancestorProblem(source: string): Found | undefined {
  if (source === "'self'" || source === "'none'") return undefined;
  if (source.startsWith("'"))
    return wrong("frame-ancestors allows only 'self', 'none', hosts and schemes.", "Remove the source.");
  return bareProblem(source);
}

function quotedProblem(source: string): Found | undefined {
  if (KEYWORDS.includes(source)) return undefined;
  if (source.startsWith("'nonce-")) {
    return wrong(
      "A fixed nonce is the same in every response, so it gives no protection.",
      "Write 'nonce' and read res.locals.cspNonce.",
      "unsafe-setting",
    );
  }
  const hash = HASH.exec(source);
  if (hash !== null) {
    const [, algorithm = "", digest = ""] = hash;
    return digest.length === HASH_LENGTHS[algorithm]
      ? undefined
      : wrong(
          "The hash has the wrong length for its algorithm.",
          "Write the base64 digest of the inline text, including the padding.",
        );
  }
  const near = nearest(source, KEYWORDS);
  return wrong(
    "This is not a keyword.",
    near === undefined ? `Keywords: ${KEYWORDS.join(", ")}.` : `Did you mean ${near}?`,
  );
}

/**
 * A keyword without its quotes. Also refused where it could be another name, because its meaning would be ambiguous.
 */
function unquotedProblem(source: string): Found | undefined {
  const lower = source.toLowerCase();
  if (BARE_KEYWORDS.has(lower))
    return wrong(
      `The keyword ${lower} needs single quotes; without them browsers read it as a host name.`,
      `Write "'${lower}'".`,
    );
  if (BARE_HASH_OR_NONCE.test(source))
    return wrong(
      "A hash or nonce needs single quotes; without them browsers read it as a host name.",
      "Put single quotes around it.",
    );
  return undefined;
}

function bareProblem(source: string): Found | undefined {
  const lower = source.toLowerCase();
  if (BARE_SCHEMES.has(lower))
    return wrong(
      `The scheme ${lower} needs a colon; without it browsers read it as a host name.`,
      `Write "${lower}:".`,
    );
  if (source.includes("'") || source.includes('"'))
    return wrong(
      "The source contains a misplaced quotation mark.",
      "Put single quotes around keywords, hashes and nonces only.",
    );
  return SCHEME.test(source) || HOST.test(source)
    ? undefined
    : wrong(
        "This is not a keyword, a scheme or a host.",
        "Write 'self', https:, https://cdn.example.com or *.example.com, without a query or fragment.",
      );
}

function uriProblem(source: string): Found | undefined {
  const ok =
    !source.includes("'") &&
    parseUrl(source, "https://this.invalid") !== undefined &&
    /^(?:https?:\/\/|\/)/i.test(source);
  return ok ? undefined : wrong("This is not a valid report address.", "Write an absolute path or an http(s) URL.");
}

function oneOf(source: string, known: readonly string[], what: string): Found | undefined {
  if (known.includes(source)) return undefined;
  const near = nearest(source, known);
  return wrong(`This is not ${what}.`, near === undefined ? `Use: ${known.join(", ")}.` : `Did you mean ${near}?`);
}
