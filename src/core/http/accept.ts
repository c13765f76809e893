import type { IncomingMessage } from "node:http";

/** A longer field is not read; browsers send about 150 characters. */
const MAX_LENGTH = 1024;

/**
 * Whether the client is a browser that shows a page: it names `text/html` (RFC 9110 section 12.5.1) and likes it at
 * least as much as JSON. Programs send no Accept field, or one that allows everything.
 */
export function prefersHtml(req: IncomingMessage): boolean {
  // Some adapters set a field to a list of its lines.
  const accept: unknown = req.headers.accept;
  if (typeof accept !== "string" || accept.length > MAX_LENGTH || !accept.includes("text/html")) return false;
  const weights = new Map(accept.split(",").map(weightedType));
  const html = weights.get("text/html") ?? 0;
  const json = Math.max(...JSON_TYPES.map((type) => weights.get(type) ?? 0));
  return html > 0 && html >= json;
}

const JSON_TYPES = ["application/problem+json", "application/json"];

/** `text/html;q=0.9` → `["text/html", 0.9]`. Malformed weights count as 0. */
function weightedType(item: string): [type: string, weight: number] {
  const [type = "", ...parameters] = item.split(";").map((part) => part.trim().toLowerCase());
  const quality = parameters.find((parameter) => parameter.startsWith("q="));
  if (quality === undefined) return [type, 1];
  return [type, /^q=(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(quality) ? Number(quality.slice(2)) : 0];
}
