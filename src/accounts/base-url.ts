import type { ResolvedSecuritySettings } from "../app-settings/schema.js";
import { parseAuthority } from "../core/http/authority.js";
import type { SettingsIssue } from "../settings/errors.js";
import { HostPatterns } from "../trusted-host/host-patterns.js";

/**
 * The issue of a `baseUrl` whose host the app refuses: every link in a mail would lead to a refusal. Hosts that a function
 * decides about are known with a request only, so that they are not compared.
 *
 * @param baseUrl an origin
 */
export function untrustedBaseUrl(
  { trustedHosts }: Pick<ResolvedSecuritySettings, "trustedHosts">,
  baseUrl: string,
): SettingsIssue | undefined {
  if (trustedHosts === undefined || trustedHosts === false || typeof trustedHosts.hosts === "function")
    return undefined;
  const { host } = new URL(baseUrl);
  const authority = parseAuthority(host);
  if (authority !== undefined && new HostPatterns(trustedHosts.hosts).has(authority)) return undefined;
  return {
    code: "contradiction",
    path: "baseUrl",
    message: "trustedHosts of applySecurity does not list the host of baseUrl, so that the app refuses its own links.",
    remedy: `Add ${JSON.stringify(host)} to trustedHosts, or write an origin of one of its hosts.`,
  };
}
