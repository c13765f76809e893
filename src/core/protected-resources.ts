import { AsyncLocalStorage } from "node:async_hooks";
import type { NextFunction, Request, RequestHandler, Response } from "express";
import { pathOf } from "./http/authority.js";

/** The verdict of a verifier on a credential. */
interface Proof {
  readonly by: object;
  readonly credential: string;
  readonly verdict: unknown;
}

/** Verifies credentials; `check` returns its verdict. */
interface Verifies<Verdict> {
  check(...given: never[]): Verdict | Promise<Verdict>;
}

/**
 * The OAuth protected resources (RFC 9728) of one app, by the path at which it serves them. Refusals of requests
 * under such a path name the metadata document. Code that receives only the credential, such as the verifier of an
 * MCP server, can look up the verdict that a layer reached on it.
 */
export class ProtectedResources {
  /** Paths in lower case and without a slash at the end. */
  readonly #metadataUrls = new Map<string, string>();
  readonly #proofs = new WeakMap<Request, Proof>();
  readonly #context = new AsyncLocalStorage<{ proof: Proof | undefined }>();

  /**
   * @param path where the app serves the resource; everything below it belongs to the resource
   * @param metadataUrl the URL of the metadata document, serialised by `URL`
   */
  add(path: string, metadataUrl: string): void {
    this.#metadataUrls.set(path.toLowerCase().replace(/\/$/, ""), metadataUrl);
  }

  /** The metadata document of the resource that the request is for: of several, the one with the longest path. */
  metadataUrl(req: Request): string | undefined {
    if (this.#metadataUrls.size === 0) return undefined;
    const path = pathOf(req) ?? "";
    let longest = "";
    let url: string | undefined;
    for (const [prefix, candidate] of this.#metadataUrls) {
      if (prefix.length >= longest.length && isUnder(path, prefix)) [longest, url] = [prefix, candidate];
    }
    return url;
  }

  /**
   * The WWW-Authenticate header of a refusal. If the request is for a protected resource, it names the metadata
   * document, even where the refusal has no challenge of its own (RFC 9110 section 11.6.1 allows one on any status).
   * A Bearer challenge comes first, because the MCP SDK's client reads no other.
   *
   * @param challenges the refusal's own, if it has any
   */
  challenge(req: Request, challenges: string | undefined): string | undefined {
    const url = this.metadataUrl(req);
    if (url === undefined) return challenges;
    const bearer = `Bearer resource_metadata="${url}"`;
    return challenges === undefined ? bearer : `${bearer}, ${challenges.replace(/^Bearer /, "")}`;
  }

  /**
   * Runs `handler`, and the rest of the app in a context that holds the layers' verdict on the request's credential.
   */
  carry(handler: RequestHandler): RequestHandler {
    const carrying: RequestHandler = (req, res, next) =>
      handler(
        req,
        res,
        this.metadataUrl(req) === undefined ? next : (error?: unknown) => this.#goOn(req, res, next, error),
      );
    return Object.defineProperty(carrying, "name", { value: handler.name });
  }

  /** Remembers the verdict of `by` on the credential of a request, if the request is for a protected resource. */
  keep<Verdict>(req: Request, by: Verifies<Verdict>, credential: string, verdict: Verdict): void {
    if (this.metadataUrl(req) !== undefined) this.#proofs.set(req, { by, credential, verdict });
  }

  /** The verdict of `by` on a credential of the current request, if a layer has asked for it. */
  verdictOf<Verdict>(by: Verifies<Verdict>, credential: string): Verdict | undefined {
    const proof = this.#context.getStore()?.proof;
    return proof?.by === by && proof.credential === credential ? (proof.verdict as Verdict) : undefined;
  }

  #goOn(req: Request, res: Response, next: NextFunction, error: unknown): void {
    const proof = this.#proofs.get(req);
    if (proof === undefined) return next(error);
    const context: { proof: Proof | undefined } = { proof };
    // Work that began during the request may outlive it, and is then no longer part of it.
    res.once("close", () => (context.proof = undefined));
    this.#context.run(context, () => next(error));
  }
}

/** Compares paths as Express does by default: ignoring case, and by whole segments. */
function isUnder(path: string, prefix: string): boolean {
  if (path.slice(0, prefix.length).toLowerCase() !== prefix) return false;
  return path.length === prefix.length || path.charAt(prefix.length) === "/";
}
