import { FetchProblem, fetchText } from "../../core/http/fetch-text.js";
import { parseUrl } from "../../settings/parse-url.js";

/**
 * Fetches a JSON document over HTTPS, as `fetchText` does.
 *
 * @param allowHttp whether http: to a loopback host is allowed
 * @throws FetchProblem (rejects)
 */
export async function fetchJson(address: string, allowHttp: boolean, signal: AbortSignal): Promise<unknown> {
  const url = parseUrl(address);
  if (url === undefined) throw new FetchProblem("url");
  const text = await fetchText(url, { allowHttp, signal, headers: { Accept: "application/json" } });
  try {
    return JSON.parse(text);
  } catch {
    throw new FetchProblem("not-json");
  }
}
