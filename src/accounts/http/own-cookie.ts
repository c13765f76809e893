import type { Request, Response } from "express";
import { isToken } from "../secrets.js";
import { readCookie } from "./cookies.js";

/** A cookie with a secret of 256 bits, which binds a record to the browser that began it. */
export class OwnCookie {
  readonly #name: string;
  readonly #attributes: string;

  /** @param isDebug without https a browser refuses both the prefix and Secure */
  constructor(purpose: string, isDebug: boolean) {
    this.#name = isDebug ? `portcullis_${purpose}` : `__Host-portcullis_${purpose}`;
    this.#attributes = `; Path=/; HttpOnly${isDebug ? "" : "; Secure"}; SameSite=Lax`;
  }

  /** The secret that the browser brings, if it is one. */
  read(req: Request): string | undefined {
    const secret = readCookie(req, this.#name);
    return isToken(secret) ? secret : undefined;
  }

  give(res: Response, secret: string, lifeMs: number): void {
    res.append("Set-Cookie", `${this.#name}=${secret}${this.#attributes}; Max-Age=${lifeMs / 1000}`);
  }

  /** Takes the cookie back, if the browser brings one. */
  clear(req: Request, res: Response): void {
    if (readCookie(req, this.#name) !== undefined)
      res.append("Set-Cookie", `${this.#name}=${this.#attributes}; Max-Age=0`);
  }
}
