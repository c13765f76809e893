import { get as getHttp, type IncomingMessage } from "node:http";
import { get as getHttps } from "node:https";
import { PortcullisError } from "../portcullis-error.js";
import { isLoopbackHost } from "./origin.js";

/** Why a document could not be fetched; low-cardinality, for the `reason` of an event. */
export class FetchProblem extends PortcullisError {
  readonly code = "fetch-failed";
  readonly reason: string;

  constructor(reason: string) {
    super(`The fetch failed: ${reason}.`);
    this.name = "FetchProblem";
    this.reason = reason;
  }
}

/** Largest document, in bytes: a key set of a hundred keys with certificates is smaller. */
const MAX_BYTES = 256 * 1024;

/** How a text is asked for. */
export interface TextRequest {
  /** Whether http: to a loopback host is allowed. */
  readonly allowHttp: boolean;
  readonly signal: AbortSignal;
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * Fetches a text over HTTPS. It follows no redirect: a host that the settings do not name could then supply the answer.
 * It asks for no compression and accepts none, so that the size on the wire is the size in memory.
 *
 * @throws FetchProblem (rejects)
 */
export async function fetchText(url: URL, { allowHttp, signal, headers }: TextRequest): Promise<string> {
  if (!isAllowed(url, allowHttp)) throw new FetchProblem("url");
  const response = await answerOf(url, headers, signal);
  try {
    return await bodyOf(response, signal);
  } finally {
    response.destroy();
  }
}

function isAllowed(url: URL, allowHttp: boolean): boolean {
  return url.protocol === "https:" || (allowHttp && url.protocol === "http:" && isLoopbackHost(url.hostname));
}

/** The response, when its head is one of a document. */
async function answerOf(
  url: URL,
  given: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const headers = { ...given, "Accept-Encoding": "identity", Connection: "close" };
  const get = url.protocol === "https:" ? getHttps : getHttp;
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(url, { headers, signal }, resolve).on("error", (error) => reject(problemOf(error, signal)));
  });
  const problem = headProblem(response);
  if (problem === undefined) return response;
  response.destroy();
  throw new FetchProblem(problem);
}

function headProblem({ statusCode = 0, headers }: IncomingMessage): string | undefined {
  if (statusCode >= 300 && statusCode < 400) return "redirect";
  if (statusCode !== 200) return `status-${statusCode}`;
  if ((headers["content-encoding"] ?? "identity").toLowerCase() !== "identity") return "compressed";
  return Number(headers["content-length"] ?? 0) > MAX_BYTES ? "too-large" : undefined;
}

async function bodyOf(response: IncomingMessage, signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > MAX_BYTES) throw new FetchProblem("too-large");
      chunks.push(chunk);
    }
  } catch (error) {
    throw problemOf(error, signal);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function problemOf(error: unknown, signal: AbortSignal): FetchProblem {
  if (error instanceof FetchProblem) return error;
  if (signal.aborted) return new FetchProblem("timeout");
  const { code } = error as { readonly code?: unknown };
  return new FetchProblem(typeof code === "string" ? code : "failed");
}
