import { parseUrl } from "../settings/parse-url.js";
import { isIPv4, isIPv6 } from "node:net";
import { domainToASCII } from "node:url";
import { loadTldts } from "../core/dependencies.js";
import { addressRangeProblem } from "../core/http/address-list.js";
import { type Authority, parseAuthority } from "../core/http/authority.js";
import type { SettingsCode } from "../settings/errors.js";

/** What is wrong with an entry of the list of hosts. */
export interface HostEntryProblem {
  readonly code: Extract<SettingsCode, "wrong-value" | "unsafe-setting">;
  readonly message: string;
  readonly remedy: string;
}

const WRITE_A_NAME = "Write a host name, for example api.example.com.";

/** Reads one entry of the list of hosts: its normal form, or what is wrong with it. */
export function readHostEntry(text: string): { readonly entry: string } | HostEntryProblem {
  if (text === "*") {
    return {
      code: "unsafe-setting",
      message: '"*" allows every host, which permits DNS rebinding and forged links.',
      remedy:
        "List the host names of this app (*.example.com covers all names below example.com), or turn the check off: trustedHosts: false.",
    };
  }
  const wildcard = text.startsWith("*.");
  const base = wildcard ? text.slice(2) : text;
  // A name without a colon need not wait for the expression that isIPv6 compiles at its first call.
  const isBareAddress = !wildcard && base.includes(":") && isIPv6(base);
  const authority = parseAuthority(isBareAddress ? `[${base}]` : base);
  if (authority === undefined) return { code: "wrong-value", ...explain(text) };
  const problem = wildcard ? wildcardProblem(authority.host) : undefined;
  if (problem !== undefined) return problem;
  if (authority.port === 80 || authority.port === 443) {
    return {
      code: "wrong-value",
      message: "Clients omit the default port in Host, so this would almost never match.",
      remedy: `Write ${normalForm({ host: authority.host, port: undefined }, wildcard)}, which matches every port.`,
    };
  }
  return { entry: normalForm(authority, wildcard) };
}

function normalForm({ host, port }: Authority, wildcard: boolean): string {
  return `${wildcard ? "*." : ""}${host}${port === undefined ? "" : `:${port}`}`;
}

function wildcardProblem(parent: string): HostEntryProblem | undefined {
  if (parent.startsWith("[") || isIPv4(parent)) {
    return {
      code: "wrong-value",
      message: "An IP address cannot have subdomains.",
      remedy: "Write the address without the wildcard, or a name after the wildcard.",
    };
  }
  const { publicSuffix, isIcann, isPrivate } = loadTldts().parse(parent, { allowPrivateDomains: true });
  // Suffixes of private networks (`internal`, `local`, `localhost`) are on no public list and may be intended.
  if (publicSuffix !== parent || (isIcann !== true && isPrivate !== true)) return undefined;
  return {
    code: "unsafe-setting",
    message:
      "This is a public suffix: the domains below it belong to many owners, and the wildcard would trust all of them.",
    remedy: "Use your own domain: *.example.com instead of *.com.",
  };
}

function explain(text: string): { message: string; remedy: string } {
  if (text === "") return { message: "The entry is empty.", remedy: `Remove it. ${WRITE_A_NAME}` };
  if (text !== text.trim()) return { message: "The entry begins or ends with a space.", remedy: "Remove the space." };
  if (text.includes("://")) return { message: "This must be a host, not a URL.", remedy: suggestFrom(text) };
  if (/^\.[^.]/.test(text)) {
    const parent = parseAuthority(text.slice(1));
    const name = parent === undefined ? "example.com" : normalForm(parent, false);
    return {
      message: "A leading dot is ambiguous, because frameworks interpret it differently.",
      remedy: `Write *.${name} for all names below it. To include ${name} itself, add ${name}.`,
    };
  }
  if (/[^\x00-\x7f]/.test(text)) {
    const ascii = domainToASCII(text.startsWith("*.") ? text.slice(2) : text);
    const written = parseAuthority(ascii) === undefined ? undefined : `${text.startsWith("*.") ? "*." : ""}${ascii}`;
    return {
      message: "Clients send non-ASCII host names as punycode.",
      remedy: written === undefined ? WRITE_A_NAME : `Write ${written}.`,
    };
  }
  if (text.includes("@")) return { message: "A host cannot contain a user name.", remedy: WRITE_A_NAME };
  if (text.includes("/")) {
    return addressRangeProblem(text) === undefined
      ? {
          message: "This is an address range, but Host is compared only with names and single addresses.",
          remedy: "List the addresses, or put the health check's path into exemptPaths.",
        }
      : { message: "A host cannot have a path.", remedy: suggestFrom(`http://${text}`) };
  }
  if (text.includes("*"))
    return {
      message: "A wildcard must be the whole first label of the host.",
      remedy: "Write *.example.com. To include example.com itself, add example.com.",
    };
  if (text.includes("%"))
    return {
      message: "A host cannot contain a percent sign: neither a zone id nor an encoded character.",
      remedy: WRITE_A_NAME,
    };
  const port = /^(?:[^:]+|\[[^\]]*\]):([^:]*)$/.exec(text)?.[1];
  if (port !== undefined && (!/^[1-9]\d{0,4}$/.test(port) || Number(port) > 65535))
    return {
      message: "The port must be a number from 1 to 65535.",
      remedy: "Correct the port, or remove it to match every port.",
    };
  if (isIPv4(parseUrl(`http://${text}`)?.hostname ?? "")) {
    return {
      message: "This is an IP address in a form that clients do not send.",
      remedy: suggestFrom(`http://${text}`),
    };
  }
  return { message: "This is not a host name or an IP address.", remedy: WRITE_A_NAME };
}

/** The host of a URL, for the remedy, when an entry may have that host. Never repeats userinfo, path or query. */
function suggestFrom(url: string): string {
  const host = parseUrl(url)?.host ?? "";
  return parseAuthority(host) === undefined ? WRITE_A_NAME : `Write ${host}.`;
}
