import type { Request } from "express";

/**
 * A cookie of ours, with a `__Host-` name or in development. Sent twice, it counts as absent: another site of the same
 * domain may have added one, and nobody can tell which is ours (RFC 6265 section 5.4).
 */
export function readCookie(req: Request, name: string): string | undefined {
  const header = req.headers.cookie;
  if (typeof header !== "string") return undefined;
  const found = header
    .split(";")
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${name}=`));
  return found.length === 1 ? found[0]?.slice(name.length + 1) : undefined;
}
