import { FetchProblem } from "../../core/http/fetch-text.js";
import { fetchJson } from "./fetch-json.js";
import { isObject } from "./key-set.js";

/**
 * The places of an issuer's document: OpenID Connect Discovery 1.0 section 4, which puts the well-known path after that
 * of the issuer, and RFC 8414 section 3, which puts it before.
 */
export function discoveryUrls(issuer: string): readonly [string, string] {
  const { origin, pathname } = new URL(issuer);
  const path = pathname.replace(/\/$/, "");
  return [
    `${origin}${path}/.well-known/openid-configuration`,
    `${origin}/.well-known/oauth-authorization-server${path}`,
  ];
}

/**
 * The address of an issuer's key set, from its document, which must be about exactly this issuer.
 *
 * @throws FetchProblem (rejects)
 */
export async function discoverKeys(issuer: string, allowHttp: boolean, signal: AbortSignal): Promise<string> {
  const [openid, oauth] = discoveryUrls(issuer);
  const document = await fetchJson(openid, allowHttp, signal).catch(async (error: unknown) => {
    // Only an answer that there is no such document: after an outage the second place would not help.
    if (!(error instanceof FetchProblem) || error.reason !== "status-404") throw error;
    return fetchJson(oauth, allowHttp, signal);
  });
  if (!isObject(document)) throw new FetchProblem("no-issuer-document");
  if (document.issuer !== issuer) throw new FetchProblem("wrong-issuer");
  if (typeof document.jwks_uri !== "string") throw new FetchProblem("no-jwks-uri");
  return document.jwks_uri;
}
