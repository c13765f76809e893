import { parseAuthority } from "../core/http/authority.js";

/** Limits for one response, which proxies must be able to forward: the likeliest places come first. */
const MAX_DOMAINS = 6;
const MAX_PATHS = 6;

/**
 * The domains and paths at which a browser may hold a cookie that it sent: this host alone and each parent domain of
 * it, at `/` and at each prefix of the path. With the prefix `__Host-` there is only one.
 *
 * @param host value of the Host field
 * @param path path of the request
 */
export function placesOfCookie(
  name: string,
  host: string | undefined,
  path: string,
): { readonly domain: string | undefined; readonly path: string }[] {
  if (name.startsWith("__Host-")) return [{ domain: undefined, path: "/" }];
  const domains = [undefined, ...parentDomains(host)];
  return prefixesOf(path).flatMap((prefix) => domains.map((domain) => ({ domain, path: prefix })));
}

/** Whether a browser sends a cookie with the path `place` to `path` (RFC 6265 section 5.1.4). */
export function isBelow(place: string, path: string | undefined): boolean {
  return path !== undefined && path.startsWith(place) && (path.length === place.length || path[place.length] === "/");
}

/** The host itself and the domains above it, without the last label, which belongs to nobody. */
function parentDomains(host: string | undefined): string[] {
  const name = host === undefined ? undefined : parseAuthority(host)?.host;
  if (name === undefined || name.startsWith("[") || /\.\d+$/.test(name)) return [];
  const labels = name.split(".");
  // The shortest are the likeliest: a cookie is shared below a registered domain.
  return labels
    .slice(0, -1)
    .map((_label, index) => labels.slice(index).join("."))
    .slice(-MAX_DOMAINS);
}

/** `/`, `/a` and `/a/b` for `/a/b`. */
function prefixesOf(path: string): string[] {
  if (!/^\/[\x21-\x3a\x3c-\x7e]*$/.test(path)) return ["/"];
  const parts = path.split("/").filter((part) => part !== "");
  const prefixes = parts.map((_part, index) => `/${parts.slice(0, index + 1).join("/")}`);
  return ["/", ...prefixes.filter((prefix) => prefix.length <= 256)].slice(0, MAX_PATHS);
}
