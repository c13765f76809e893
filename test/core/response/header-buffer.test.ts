import { type IncomingMessage, ServerResponse } from "node:http";
import type { Express, RequestHandler, Response } from "express";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HeaderBuffer } from "../../../src/core/response/header-buffer.js";
import { send } from "../../../src/core/response/send.js";
import { EXPRESS } from "../../support/express-versions.js";
import { type Answer, serve } from "../../support/serve.js";

const NAMES = ["Vary", "RateLimit", "X-Frame-Options", "Access-Control-Allow-Origin"] as const;
const step = fc.oneof(
  fc.tuple(fc.constantFrom("set", "append"), fc.constantFrom(...NAMES), fc.constantFrom("a", "b", "c, d")),
  fc.tuple(fc.constant("vary"), fc.constant("Vary"), fc.constantFrom("Origin", "Accept", "Origin, Accept")),
  fc.tuple(fc.constant("remove"), fc.constantFrom(...NAMES), fc.constant("")),
);
type Step = readonly [kind: string, name: string, value: string];

function take(headers: HeaderBuffer, [kind, name, value]: Step): void {
  if (kind === "set") headers.set(name, value);
  else if (kind === "append") headers.append(name, value);
  else if (kind === "vary") headers.vary(value);
  else headers.remove(name);
}

/** What the steps come to, by a plain map. */
function expected(steps: readonly Step[]): Record<string, string> {
  const headers = new Map<string, string>();
  for (const [kind, name, value] of steps) {
    const before = headers.get(name);
    if (kind === "remove") headers.delete(name);
    else headers.set(name, kind === "set" || before === undefined ? value : `${before}, ${value}`);
  }
  return Object.fromEntries([...headers].map(([name, value]) => [name.toLowerCase(), value]));
}

/** `res.vary` names a field once. */
function fieldsOf(value: string | undefined): string[] {
  return [...new Set((value ?? "").split(", "))].sort();
}

describe.each(EXPRESS)("buffered headers of the layers on $name", ({ express }) => {
  async function answer(
    handle: RequestHandler,
    path = "/",
    configure: (app: Express) => void = () => undefined,
  ): Promise<Answer> {
    const app = express().disable("x-powered-by");
    configure(app);
    app.use(handle);
    const server = await serve(app);
    try {
      return await server.send(path);
    } finally {
      await server.close();
    }
  }

  it("reach the answer as the same steps on a map give them: refused, released before or after, or never buffered", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 8 }),
        fc.constantFrom("refused", "released after", "released before", "at once"),
        async (steps, way) => {
          const { status, headers } = await answer((_req, res) => {
            const buffer = new HeaderBuffer(way === "at once" ? res : undefined);
            if (way === "released before") buffer.release(res);
            for (const one of steps) take(buffer, one);
            if (way === "refused") return send(res, buffer, 403, ["Content-Length", "2"], "no");
            buffer.release(res);
            res.end("ok");
          });
          expect(status).toBe(way === "refused" ? 403 : 200);
          const wanted = expected(steps);
          expect(fieldsOf(headers["vary"])).toEqual(fieldsOf(wanted["vary"]));
          for (const name of NAMES.slice(1)) expect(headers[name.toLowerCase()]).toBe(wanted[name.toLowerCase()]);
        },
      ),
      { numRuns: 200 },
    );
  });

  it.each([
    ["a value that ends the line", "X-A", "1\r\nX-B: 2"],
    ["a name that is not a token", "X A", "1"],
  ])("are refused by Node for %s, buffered or not, and no part of it is sent", async (_name, name, value) => {
    for (const way of ["refused", "released", "at once"]) {
      const { status, headers } = await answer((_req, res, next) => {
        try {
          const buffer = new HeaderBuffer(way === "at once" ? res : undefined);
          buffer.set(name, value);
          if (way === "refused") send(res, buffer, 403, [], "no");
          else buffer.release(res);
          res.end("sent");
        } catch (error) {
          expect((error as { code?: string }).code).toMatch(/^ERR_(?:INVALID_CHAR|INVALID_HTTP_TOKEN)$/);
          res.status(500).end("thrown");
          void next;
        }
      });
      expect([way, status, headers["x-b"], headers["x-a"]]).toEqual([way, 500, undefined, undefined]);
    }
  });

  it("are removed only where a layer has set them", async () => {
    const { headers } = await answer((_req, res) => {
      res.set({ "X-App": "1", "X-Ours": "0" });
      const buffer = new HeaderBuffer(res);
      buffer.set("X-Ours", "1");
      for (const name of ["X-App", "X-Ours"]) buffer.remove(name);
      res.end();
    });
    expect([headers["x-app"], headers["x-ours"]]).toEqual(["1", undefined]);
  });

  it("are sent by setHeader and end where the app has put methods on the response", async () => {
    const seen: string[] = [];
    const { headers } = await answer((_req, res) => {
      const { setHeader } = res;
      res.setHeader = function (this: Response, name: string, value: never) {
        seen.push(name);
        return setHeader.call(this, name, value) as never;
      };
      const buffer = new HeaderBuffer();
      buffer.set("X-Ours", "1");
      send(res, buffer, 403, ["Content-Length", "2"], "no");
    });
    expect([seen, headers["x-ours"]]).toEqual([["X-Ours", "Content-Length"], "1"]);
  });
});

describe("a response that was not made by a Node server", () => {
  it("has the headers of a refusal where its adapter reads them", () => {
    const res = new ServerResponse({
      method: "GET",
      httpVersionMajor: 1,
      httpVersionMinor: 1,
      headers: {},
    } as IncomingMessage) as unknown as Response;
    const buffer = new HeaderBuffer();
    buffer.set("X-Ours", "1");
    send(res, buffer, 403, ["Content-Length", "2"], "no");
    expect(res.getHeaders()).toMatchObject({ "x-ours": "1", "content-length": "2" });
  });
});
