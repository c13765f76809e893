import { Agent, request } from "node:http";
import express from "express";
import { expect } from "vitest";
import type { SecurityEvent } from "../../../src/core/events.js";
import { requireJwt } from "../../../src/guards.js";
import { TokenError } from "../../../src/jwt/errors.js";
import { jwtAuth } from "../../../src/jwt/middleware.js";
import { bench, type Bench, START } from "../../jwt/support.js";
import { serve, type TestServer } from "../../support/serve.js";
import { signed, type Verifier } from "./verifiers.js";

const PROBLEM = {
  type: "urn:problem-type:portcullis:invalid-credentials",
  title: "Invalid credentials",
  status: 401,
  detail: "The credentials of this request are invalid.",
  code: "invalid-credentials",
};

interface Header {
  readonly alg: string;
  readonly typ: string;
  readonly kid: string;
}

interface Answer {
  readonly status: number;
  readonly head: readonly string[];
  readonly text: string;
}

/** One server with a path for each verifier, on a clock that stands still. */
export class Gate {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #benches = new Map<Verifier, Bench>();
  readonly #headers = new Map<Verifier, Header>();
  readonly #reached: string[] = [];
  #server: TestServer | undefined;

  constructor(readonly verifiers: readonly Verifier[]) {}

  async open(): Promise<void> {
    const app = express();
    for (const [index, verifier] of this.verifiers.entries()) {
      const made = bench(verifier.settings);
      this.#benches.set(verifier, made);
      app.get(`/${index}`, jwtAuth(made.manager), requireJwt(), (req, res) => {
        this.#reached.push(String(req.principal?.id));
        res.json("in");
      });
    }
    this.#server = await serve(app);
  }

  async close(): Promise<void> {
    this.#agent.destroy();
    await this.#server?.close();
  }

  /** The header a manager writes, in every token. */
  async headerOf(verifier: Verifier): Promise<Header> {
    const known = this.#headers.get(verifier);
    if (known !== undefined) return known;
    const [text = ""] = (await this.#bench(verifier).manager.signAccessToken("user-1")).split(".");
    const header = JSON.parse(Buffer.from(text, "base64url").toString()) as Header;
    this.#headers.set(verifier, header);
    return header;
  }

  /** A token that is right in all, made by the forger of these tests. */
  async good(verifier: Verifier, header: object = {}, payload: object = {}): Promise<string> {
    return signed(
      JSON.stringify({ ...(await this.headerOf(verifier)), ...header }),
      JSON.stringify({ ...CLAIMS, ...payload }),
      verifier.algorithm,
      verifier.key,
    );
  }

  /**
   * "accepted", or the reason of the refusal, over HTTP and from the manager, which must agree. A refusal is held to what the
   * library promises of one: 401, one body and challenge for all, no route reached, no error, and nothing of the token told to anybody.
   */
  async judge(verifier: Verifier, token: string): Promise<string> {
    const { manager, events } = this.#bench(verifier);
    events.length = 0;
    this.#reached.length = 0;
    const answer = await this.#ask(verifier, token);
    const verdict = await verdictOf(manager.verifyAccessToken(token), token);
    if (answer.status === 200) {
      expect([this.#reached, verdict]).toEqual([[CLAIMS.sub], "accepted"]);
      return "accepted";
    }
    expect([answer.status, JSON.parse(answer.text), this.#reached]).toEqual([401, PROBLEM, []]);
    expect(answer.head).toContain('Bearer realm="api", error="invalid_token"');
    expectUntold(token, [answer.head.join("\n"), answer.text, JSON.stringify(events)]);
    expect(verdict).toBe(reasonOf(events));
    return verdict;
  }

  #bench(verifier: Verifier): Bench {
    const found = this.#benches.get(verifier);
    if (found === undefined) throw new TypeError("This gate has no such verifier.");
    return found;
  }

  #ask(verifier: Verifier, token: string): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const path = `/${this.verifiers.indexOf(verifier)}`;
      const sent = request(
        {
          host: "127.0.0.1",
          port: this.#server?.port,
          path,
          agent: this.#agent,
          headers: { authorization: `Bearer ${token}` },
        },
        (res) => {
          let text = "";
          res.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
          res.on("error", reject).on("end", () => resolve({ status: res.statusCode ?? 0, head: res.rawHeaders, text }));
        },
      );
      sent.on("error", reject).end();
    });
  }
}

const IAT = Math.floor(START / 1000);
export const CLAIMS = Object.freeze({
  iss: "portcullis",
  sub: "user-1",
  aud: "portcullis",
  iat: IAT,
  exp: IAT + 1800,
  jti: "token-1",
  scope: "read",
});

function reasonOf(events: readonly SecurityEvent[]): string {
  expect(events).toHaveLength(1);
  return String(events[0]?.reason);
}

async function verdictOf(verifying: Promise<unknown>, token: string): Promise<string> {
  try {
    await verifying;
    return "accepted";
  } catch (error) {
    if (!(error instanceof TokenError)) throw error;
    expectUntold(token, [error.message, error.stack ?? "", String(error.cause)]);
    return error.code;
  }
}

/** No part of eight characters or more turns up again. */
function expectUntold(token: string, texts: readonly string[]): void {
  for (const part of token.split(".")) {
    if (part.length >= 8) expect(texts.filter((text) => text.includes(part))).toEqual([]);
  }
}
