import { parseUrl } from "./parse-url.js";
import { z } from "zod";
import { loadTldts } from "../core/dependencies.js";
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
const SCHEMES_WITHOUT_PAGES = new Set(["about", "blob", "data", "file", "ftp", "javascript", "ws", "wss"]);

/** What is wrong with an entry, or `undefined` when it is an origin or a wildcard that can be trusted. */
export function originPatternProblem(text: string): OriginPatternProblem | undefined {
  const pattern = parseOriginPattern(text);
  if (pattern === undefined) return { code: "wrong-value", ...shapeProblem(text) };
  if (SCHEMES_WITHOUT_PAGES.has(pattern.scheme)) {
    return {
      code: "wrong-value",
      message: "No page has an origin with this scheme.",
      remedy: "Write the http or https origin of the page that sends the request.",
    };
  }
  if (pattern.host.endsWith(".") && pattern.host !== ".") {
    return {
      code: "wrong-value",
      message: "The host ends with a dot, which makes it a different origin.",
      remedy: "Remove the dot.",
    };
  }
  if (parseUrl(text) === undefined) {
    return {
      code: "wrong-value",
      message: "Browsers reject this host, because one of its labels is not valid punycode.",
      remedy: "Copy the origin from the browser: location.origin.",
    };
  }
  if (!pattern.subdomains || isLoopbackHost(pattern.host)) return undefined;
  if (loadTldts().getPublicSuffix(pattern.host, { allowPrivateDomains: true }) !== pattern.host) return undefined;
  return {
    code: "unsafe-setting",
    message:
      "This is a public suffix: the domains below it belong to many owners, and the wildcard would trust all of them.",
    remedy: "Use your own domain: https://*.example.com instead of https://*.com.",
  };
}

function shapeProblem(text: string): { message: string; remedy: string } {
  if (text === "*") {
    return {
      message: '"*" is not an origin. In a list it does not stand for all origins.',
      remedy: 'List the origins. Where a setting can allow every origin, write "*" without a list.',
    };
  }
  if (text === "null") {
    return {
      message: "Any page can get the origin null by using a sandboxed frame.",
      remedy: "Serve the page from an http or https origin, and list that origin.",
    };
  }
  if (/^file:/i.test(text)) {
    return {
      message: "A page opened from a file has the origin null or file://, which all files share.",
      remedy:
        "Serve the page from an http or https origin, or from a scheme of your own (app://-), and list that origin.",
    };
  }
  if (text.length > MAX_ORIGIN_LENGTH)
    return {
      message: `An origin must have at most ${MAX_ORIGIN_LENGTH} characters.`,
      remedy: "Write scheme://host[:port].",
    };
  if (text.replace("://*.", "://").includes("*")) {
    return {
      message: "A wildcard must be the whole first label of the host.",
      remedy: "Write https://*.example.com. To include example.com itself, add https://example.com.",
    };
  }
  if (text.includes("://*.") && !/^https?:/i.test(text)) {
    return {
      message: "A wildcard is allowed only in an http or https origin.",
      remedy: "List the origins with this scheme one by one.",
    };
  }
  const remedy = suggestion(text);
  if (/[^\x21-\x7e]/.test(text))
    return { message: "An origin must be ASCII without spaces. Browsers send non-ASCII hosts as punycode.", remedy };
  if (/^https?:\/\/[^/?#]*$/i.test(text) && /[A-Z]/.test(text.slice(text.indexOf("://")))) {
    return {
      message: "Browsers send the host in lower case, so this would never match.",
      remedy,
    };
  }
  if (!text.includes("://"))
    return {
      message: "The scheme is missing.",
      remedy: "Write scheme://host[:port], for example https://app.example.com.",
    };
  if (text.includes("@")) return { message: "An origin cannot contain a user name.", remedy };
  if (/^http:.*:80$|^https:.*:443$/i.test(text))
    return { message: "Browsers omit the default port, so this would never match.", remedy };
  if (/[/?#\\]/.test(text.slice(text.indexOf("://") + 3)))
    return { message: "An origin cannot have a path, a query, a fragment or a trailing slash.", remedy };
  return { message: "This is not an origin in the form that browsers send.", remedy };
}

/** The remedy for a URL: the origin that a browser sends for it. Never repeats userinfo, path or query. */
function suggestion(text: string): string {
  const origin = parseUrl(text)?.origin ?? "null";
  return parseOriginPattern(origin) === undefined
    ? "Write scheme://host[:port], for example https://app.example.com."
    : `Write ${origin}.`;
}

/** One entry of a list of origins: exact (`https://app.example.com`) or all subdomains (`https://*.example.com`). */
export const originPatternSchema = z.string().superRefine((text, context) => {
  const problem = originPatternProblem(text);
  if (problem !== undefined) addIssue(context, problem);
});
