import { getPublicSuffix } from "tldts";
import { z } from "zod";
import { isLoopbackHost, MAX_ORIGIN_LENGTH, parseOriginPattern } from "../core/http/origin.js";
import type { SettingsCode } from "./errors.js";
import { addIssue } from "./object.js";

/** What is wrong with an entry of a list of origins. */
export interface OriginPatternProblem {
  readonly code: Extract<SettingsCode, "wrong-value" | "unsafe-setting">;
  readonly message: string;
  readonly remedy: string;
}

/**
 * Schemes that no browser sends before `://` in an Origin field: such pages have the origin `null`, or do not exist.
 */
const PAGELESS = new Set(["about", "blob", "data", "file", "ftp", "javascript", "ws", "wss"]);

/** What is wrong with an entry, or `undefined` when it is an origin or a wildcard that can be trusted. */
export function originPatternProblem(text: string): OriginPatternProblem | undefined {
  const pattern = parseOriginPattern(text);
  if (pattern === undefined) return { code: "wrong-value", ...shapeProblem(text) };
  if (PAGELESS.has(pattern.scheme)) {
    return {
      code: "wrong-value",
      message: "No page has an origin of this scheme.",
      remedy: "Write the http or https origin of the page that sends the request.",
    };
  }
  if (pattern.host.endsWith(".") && pattern.host !== ".") {
    return {
      code: "wrong-value",
      message: "The host ends in a dot, which makes it another origin than the one without.",
      remedy: "Leave the dot out.",
    };
  }
  if (!URL.canParse(text)) {
    return {
      code: "wrong-value",
      message: "No browser takes this host: one of its labels is no valid punycode.",
      remedy: "Copy the origin from the browser: location.origin.",
    };
  }
  if (!pattern.subdomains || isLoopbackHost(pattern.host)) return undefined;
  if (getPublicSuffix(pattern.host, { allowPrivateDomains: true }) !== pattern.host) return undefined;
  return {
    code: "unsafe-setting",
    message:
      "This is a public suffix or a bare top-level name: names under it belong to many owners, and the wildcard would trust them all.",
    remedy: "Name the domain that is yours: https://*.example.com instead of https://*.com.",
  };
}

function shapeProblem(text: string): { message: string; remedy: string } {
  if (text === "*") {
    return {
      message: '"*" is not an origin, and in a list it does not stand for all of them.',
      remedy: 'Name the origins. Where a protection can take every origin, its setting is "*" itself, not a list.',
    };
  }
  if (text === "null") {
    return {
      message: "Any page can give itself the origin null, by a sandboxed frame.",
      remedy: "Serve the page from an http or https origin and name that.",
    };
  }
  if (/^file:/i.test(text)) {
    return {
      message:
        "A page that is opened from a file has the origin null or file://, which it shares with every other file.",
      remedy: "Serve the page from an http or https origin, or from a scheme of your own (app://-), and name that.",
    };
  }
  if (text.length > MAX_ORIGIN_LENGTH)
    return { message: `An origin has at most ${MAX_ORIGIN_LENGTH} characters.`, remedy: "Write scheme://host[:port]." };
  if (text.replace("://*.", "://").includes("*")) {
    return {
      message: "A wildcard stands for whole labels at the very beginning of the host.",
      remedy: "Write https://*.example.com, and https://example.com beside it if that is meant too.",
    };
  }
  if (text.includes("://*.") && !/^https?:/i.test(text)) {
    return {
      message: "A wildcard can only stand in an http or https origin.",
      remedy: "Name the origins of this scheme one by one.",
    };
  }
  const remedy = suggestion(text);
  if (/[^\x21-\x7e]/.test(text))
    return { message: "An origin is ASCII without spaces; a browser sends other scripts as punycode.", remedy };
  if (/^https?:\/\/[^/?#]*$/i.test(text) && /[A-Z]/.test(text.slice(text.indexOf("://")))) {
    return {
      message: "A browser sends the host of an http or https origin in lower case, so this would never match.",
      remedy,
    };
  }
  if (!text.includes("://"))
    return {
      message: "There is no scheme.",
      remedy: "Write scheme://host[:port], for example https://app.example.com.",
    };
  if (text.includes("@")) return { message: "An origin has no user name.", remedy };
  if (/^http:.*:80$|^https:.*:443$/i.test(text))
    return { message: "A browser leaves the default port out, so this would never match.", remedy };
  if (/[/?#\\]/.test(text.slice(text.indexOf("://") + 3)))
    return { message: "An origin has no path, query or fragment, not even a closing slash.", remedy };
  return { message: "This is not an origin as a browser sends it.", remedy };
}

/** The remedy for a URL: the origin that a browser sends for it. Never repeats userinfo, path or query. */
function suggestion(text: string): string {
  const origin = URL.canParse(text) ? new URL(text).origin : "null";
  return parseOriginPattern(origin) === undefined
    ? "Write scheme://host[:port], for example https://app.example.com."
    : `Write ${origin}.`;
}

/** One entry of a list of origins: exact (`https://app.example.com`) or all subdomains (`https://*.example.com`). */
export const originPatternSchema = z.string().superRefine((text, context) => {
  const problem = originPatternProblem(text);
  if (problem !== undefined) addIssue(context, problem);
});
