import { isIPv4, isIPv6 } from "node:net";
import { domainToASCII } from "node:url";
import { parse as parseDomain } from "tldts";
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
      message: '"*" takes every host, so DNS rebinding and forged links get through.',
      remedy:
        "List the names of this service (*.example.com for all below one), or switch the check off in so many words: trustedHosts: false.",
    };
  }
  const wildcard = text.startsWith("*.");
  const base = wildcard ? text.slice(2) : text;
  const authority = parseAuthority(isIPv6(base) && !wildcard ? `[${base}]` : base);
  if (authority === undefined) return { code: "wrong-value", ...explain(text) };
  const problem = wildcard ? wildcardProblem(authority.host) : undefined;
  if (problem !== undefined) return problem;
  if (authority.port === 80 || authority.port === 443) {
    return {
      code: "wrong-value",
      message: "Clients leave the default port out of Host, so this would hardly ever match.",
      remedy: `Write ${normalForm({ host: authority.host, port: undefined }, wildcard)}, which takes every port.`,
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
      message: "An address has no subdomains.",
      remedy: "Write the address alone, or a name after the wildcard.",
    };
  }
  const { publicSuffix, isIcann, isPrivate } = parseDomain(parent, { allowPrivateDomains: true });
  // Suffixes of private networks (`internal`, `local`, `localhost`) are on no public list and may be intended.
  if (publicSuffix !== parent || (isIcann !== true && isPrivate !== true)) return undefined;
  return {
    code: "unsafe-setting",
    message: "Anybody can have a name under this public suffix, so the wildcard would take strangers' names.",
    remedy: "Name the domain that is yours: *.example.com instead of *.com.",
  };
}

function explain(text: string): { message: string; remedy: string } {
  if (text === "") return { message: "The entry is empty.", remedy: `Remove it. ${WRITE_A_NAME}` };
  if (text !== text.trim()) return { message: "There are spaces around the entry.", remedy: "Remove them." };
  if (text.includes("://")) return { message: "An entry is a host, not a URL.", remedy: suggestFrom(text) };
  if (/^\.[^.]/.test(text)) {
    const parent = parseAuthority(text.slice(1));
    const name = parent === undefined ? "example.com" : normalForm(parent, false);
    return {
      message: "A leading dot means different things in different frameworks.",
      remedy: `Write *.${name} for the names below it, and ${name} beside it if that is meant too.`,
    };
  }
  if (/[^\x00-\x7f]/.test(text)) {
    const ascii = domainToASCII(text.startsWith("*.") ? text.slice(2) : text);
    const written = parseAuthority(ascii) === undefined ? undefined : `${text.startsWith("*.") ? "*." : ""}${ascii}`;
    return {
      message: "Clients send names in other scripts as punycode.",
      remedy: written === undefined ? WRITE_A_NAME : `Write ${written}.`,
    };
  }
  if (text.includes("@")) return { message: "A host has no user name.", remedy: WRITE_A_NAME };
  if (text.includes("/")) {
    return addressRangeProblem(text) === undefined
      ? {
          message: "This is a range of addresses, and Host is compared with names and single addresses.",
          remedy: "List the addresses, or put the health check's path into exemptPaths.",
        }
      : { message: "A host has no path.", remedy: suggestFrom(`http://${text}`) };
  }
  if (text.includes("*"))
    return {
      message: "A wildcard stands for whole labels at the very beginning.",
      remedy: "Write *.example.com, and example.com beside it if that is meant too.",
    };
  if (text.includes("%"))
    return { message: "A host holds no percent sign: no zone, nothing encoded.", remedy: WRITE_A_NAME };
  const port = /^(?:[^:]+|\[[^\]]*\]):([^:]*)$/.exec(text)?.[1];
  if (port !== undefined && (!/^[1-9]\d{0,4}$/.test(port) || Number(port) > 65535))
    return {
      message: "The port is not a number from 1 to 65535.",
      remedy: "Correct it, or leave it out to take every port.",
    };
  if (URL.canParse(`http://${text}`) && isIPv4(new URL(`http://${text}`).hostname)) {
    return { message: "This is an address in a form that no client sends.", remedy: suggestFrom(`http://${text}`) };
  }
  return { message: "This is neither a host name nor an address.", remedy: WRITE_A_NAME };
}

/** The host of a URL, for the remedy, when an entry may have that host. Never repeats userinfo, path or query. */
function suggestFrom(url: string): string {
  const host = URL.canParse(url) ? new URL(url).host : "";
  return parseAuthority(host) === undefined ? WRITE_A_NAME : `Write ${host}.`;
}
