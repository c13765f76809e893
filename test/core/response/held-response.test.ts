import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import type { Express, NextFunction, Request, Response } from "express";
import { afterEach, describe, expect, it } from "vitest";
import { EXPRESS } from "../../support/express-versions.js";
import { serve, type TestServer } from "../../support/serve.js";
import {
  asHandler,
  bench,
  cookieOf,
  later,
  routes,
  setCookies,
  SlowStore,
  withCookie,
  type Bench,
} from "../../session/support.js";

describe.each(EXPRESS)("a response waits for its session on $name", ({ express }) => {
  const open: TestServer[] = [];
  afterEach(async () => {
    for (const one of open.splice(0)) await one.close();
  });

  async function start(
    made: Bench,
    extend: (app: Express) => void = () => undefined,
    before: (app: Express) => void = () => undefined,
  ): Promise<TestServer> {
    const app = express();
    before(app);
    routes(app, made);
    extend(app);
    const server = await serve(app);
    open.push(server);
    return server;
  }

  it("sends no byte of a redirect before the session is in the store", async () => {
    const store = new SlowStore();
    store.delay.set = 120;
    const server = await start(bench({ store }), (app) =>
      app.get("/redirect", (req, res) => {
        req.session.count = 41;
        res.redirect("/count");
      }),
    );
    const answer = await server.send("/redirect");
    expect([answer.status, answer.headers.location]).toEqual([302, "/count"]);
    // `send` resolves when the whole answer is here; what matters is when its first byte came.
    const started = Date.now();
    const firstByte = await fetch(`${server.origin}/redirect`, { redirect: "manual" }).then((got) => [
      Date.now() - started,
      got.status,
    ]);
    expect(firstByte[1]).toBe(302);
    expect(firstByte[0]).toBeGreaterThanOrEqual(115);
    expect(store.records.size).toBe(2);
    store.delay.set = 0;
    expect((await server.send("/count", withCookie(cookieOf(answer)))).json()).toEqual({ count: 42 });
  });

  it("saves once for each response, however it is sent", async () => {
    const store = new SlowStore();
    const server = await start(bench({ store }), (app) => {
      app.get("/end", (req, res) => void ((req.session.count = 1), res.end("done")));
      app.get("/send", (req, res) => void ((req.session.count = 1), res.status(201).send("done")));
      app.get("/head-first", (req, res) => {
        req.session.count = 1;
        res.writeHead(202, "Fine", { "Set-Cookie": "own=1", "X-Own": "a" });
        res.end("done");
      });
      app.get("/flat-head", (req, res) => {
        req.session.count = 1;
        res.writeHead(203, ["X-Own", "a", "Set-Cookie", "own=1", "Set-Cookie", "own2=2"] as never);
        res.end("done");
      });
      app.get("/flush", (req, res) => {
        req.session.count = 1;
        res.flushHeaders();
        res.end("done");
      });
      app.get("/explicit", (req, res) => {
        req.session.count = 1;
        req.session.save(() => res.send("done"));
      });
      app.get("/write", (req, res) => {
        req.session.count = 1;
        res.write("do");
        res.write(Buffer.from("ne"));
        res.end();
      });
    });
    for (const path of ["/end", "/send", "/head-first", "/flat-head", "/flush", "/explicit", "/write"]) {
      store.calls.set = 0;
      const answer = await server.send(path);
      expect([path, answer.text, store.calls.set]).toEqual([path, "done", 1]);
      expect(setCookies(answer).filter((line) => line.startsWith("__Host-mcp_session=s"))).toHaveLength(1);
      if (path === "/head-first") {
        expect([answer.status, answer.headers["x-own"]]).toEqual([202, "a"]);
        expect(setCookies(answer)).toHaveLength(2);
      }
      if (path === "/flat-head")
        expect([answer.status, answer.headers["x-own"], setCookies(answer).length]).toEqual([203, "a", 3]);
      expect((await server.send("/read", withCookie(cookieOf(answer)))).json()).toEqual({ count: 1 });
    }
    // Reading is no reason to write, and neither is logging in twice over.
    store.calls.set = 0;
    const mine = cookieOf(await server.send("/in/ada"));
    expect(store.calls.set).toBe(1);
    await server.send("/read", withCookie(mine));
    expect(store.calls.set).toBe(1);
  });

  it("carries a stream of any size through, with back-pressure and drain", async () => {
    const store = new SlowStore();
    store.delay.set = 60;
    const block = Buffer.alloc(64 * 1024, "abcdefgh");
    const drains: boolean[] = [];
    const server = await start(bench({ store }), (app) => {
      app.get("/pipe", (req, res) => {
        req.session.note = "streamed";
        Readable.from(
          (function* blocks() {
            for (let i = 0; i < 40; i += 1) yield block;
          })(),
        ).pipe(res);
      });
      app.get("/drain", (req, res) => {
        req.session.note = "drained";
        const more = res.write("first ");
        drains.push(more);
        res.once("drain", () => res.end("second"));
      });
    });
    const answer = await server.send("/pipe");
    expect(answer.text.length).toBe(40 * block.length);
    expect(createHash("sha256").update(answer.text).digest("hex")).toBe(
      createHash("sha256").update(block.toString().repeat(40)).digest("hex"),
    );
    expect((await server.send("/drain")).text).toBe("first second");
    expect(drains).toEqual([false]);
  });

  it("saves what a stream changed after its headers had left", async () => {
    const store = new SlowStore();
    store.delay.set = 40;
    const server = await start(bench({ store }), (app) =>
      app.get("/late", (req, res) => {
        req.session.count = 1;
        res.write("a", () => {
          req.session.count = 2;
          res.end("b");
        });
      }),
    );
    const answer = await server.send("/late");
    expect(answer.text).toBe("ab");
    expect((await server.send("/read", withCookie(cookieOf(answer)))).json()).toEqual({ count: 2 });
  });

  it("counts as answered while it waits, so that no second answer is sent", async () => {
    const store = new SlowStore();
    store.delay.set = 60;
    const seen: unknown[] = [];
    const server = await start(bench({ store }), (app) => {
      app.get(
        "/twice",
        asHandler(async (req, res) => {
          req.session.count = 1;
          res.json({ first: true });
          seen.push(res.headersSent);
          res.end("second");
          await later(5);
          seen.push(res.headersSent);
          if (!res.headersSent) res.status(500).json({ second: true });
        }),
      );
    });
    const answer = await server.send("/twice");
    expect([answer.status, answer.json()]).toEqual([200, { first: true }]);
    expect(seen).toEqual([true, true]);
  });

  it("adds its cookie to those of writeHead, even when the session is in memory and nothing has to wait", async () => {
    const made = bench();
    const server = await start(made, (app) => {
      app.get(
        "/object",
        asHandler(async (req, res) => {
          await made.layer.logIn(req, { id: "ada" });
          res.writeHead(202, "Fine", { "Set-Cookie": "own=1", "X-Own": "a" }).end("done");
        }),
      );
      app.get("/flat", (req, res) => {
        req.session.count = 1;
        res.writeHead(203, ["X-Own", "a", "Set-Cookie", "own=1", "Set-Cookie", "own2=2"] as never).end("done");
      });
    });
    const object = await server.send("/object");
    expect([object.status, object.headers["x-own"], setCookies(object).map((line) => line.split("=")[0])]).toEqual([
      202,
      "a",
      ["own", "__Host-mcp_session"],
    ]);
    expect((await server.send("/who", withCookie(cookieOf(object)))).json()).toMatchObject({ id: "ada" });
    const flat = await server.send("/flat");
    expect([flat.status, flat.headers["x-own"], setCookies(flat).map((line) => line.split("=")[0])]).toEqual([
      203,
      "a",
      ["own", "own2", "__Host-mcp_session"],
    ]);
  });

  it("takes neither length nor status from a second answer that is given while it waits", async () => {
    const store = new SlowStore();
    store.delay.set = 40;
    const seen: unknown[] = [];
    const server = await start(bench({ store }), (app) =>
      app.get("/two", (req, res) => {
        req.session.note = "x";
        res.removeHeader("Date");
        res.json({ first: "an answer longer than the second one" });
        for (const change of [
          () => res.status(500).json({ second: 1 }),
          () => res.setHeader("Content-Length", 1),
          () => res.appendHeader("X-More", "1"),
          () => res.removeHeader("Content-Type"),
        ]) {
          try {
            change();
            seen.push("changed");
          } catch (error) {
            seen.push((error as { code?: string }).code);
          }
        }
      }),
    );
    const answer = await server.send("/two");
    expect([answer.status, answer.json(), setCookies(answer).length]).toEqual([
      200,
      { first: "an answer longer than the second one" },
      1,
    ]);
    expect(answer.headers).toMatchObject({
      "content-type": "application/json; charset=utf-8",
      "content-length": String(answer.text.length),
    });
    expect(seen).toEqual(Array(4).fill("ERR_HTTP_HEADERS_SENT"));
  });

  it("calls the callbacks of writes to an answer that is refused", async () => {
    const store = new SlowStore();
    store.delay.set = 40;
    let isCalled = false;
    const server = await start(bench({ store }), (app) =>
      app.get("/callback", (req, res) => {
        req.session.note = "x";
        store.failing = "error";
        res.write("a", () => {
          isCalled = true;
          res.end("b");
        });
      }),
    );
    expect((await server.send("/callback")).status).toBe(503);
    expect(isCalled).toBe(true);
  });

  it("works under and over a middleware that wraps the response", async () => {
    /** What compression does: one header hook and a body that is written later. */
    const wrap = (_req: Request, res: Response, next: NextFunction): void => {
      const { end, writeHead } = res;
      const chunks: unknown[] = [];
      res.writeHead = ((status: number) => {
        res.setHeader("X-Wrapped", "1");
        return writeHead.call(res, status);
      }) as typeof res.writeHead;
      res.end = ((chunk: unknown) => {
        if (!res.headersSent) res.writeHead(res.statusCode);
        chunks.push(chunk);
        setImmediate(() => end.call(res, chunks.map(String).join(""), "utf8"));
        return res;
      }) as typeof res.end;
      next();
    };
    for (const delay of [0, 50]) {
      const store = new SlowStore();
      store.delay.set = delay;
      const outside = await start(bench({ store }), undefined, (app) => app.use(wrap));
      const inside = await start(bench({ store }), (app) =>
        app.get("/inner", wrap, (req, res) => {
          req.session.count = 1;
          res.send("done");
        }),
      );
      const over = await outside.send("/count");
      const under = await inside.send("/inner");
      expect([over.json(), over.headers["x-wrapped"], setCookies(over).length]).toEqual([{ count: 1 }, "1", 1]);
      expect([under.text, under.headers["x-wrapped"], setCookies(under).length]).toEqual(["done", "1", 1]);
      // Refused: the wrapper that thinks it has answered is passed by.
      store.failing = "error";
      expect((await inside.send("/inner")).status).toBe(503);
    }
  });

  it("answers 503 in place of the app when the save fails, without the app's headers", async () => {
    for (const failing of ["error", "throw", "hang"] as const) {
      const store = new SlowStore();
      const made = bench({ store, storeTimeoutMs: 50 });
      const server = await start(made, (app) => {
        app.get("/answer", (req, res) => {
          res.setHeader("X-Kept", "1");
          res.setHeader("Content-Security-Policy", "default-src 'none'");
          res.cookie("own", "1");
          store.failing = failing;
          req.session.count = 1;
          res.set("ETag", '"a"').set("Content-Encoding", "x").redirect("/next");
        });
        app.get("/stream", (req, res) => {
          store.failing = failing;
          req.session.count = 1;
          Readable.from([Buffer.alloc(100_000), Buffer.alloc(100_000)]).pipe(res);
        });
      });
      for (const path of ["/answer", "/stream"]) {
        store.failing = "no";
        if (path === "/stream") await later(520);
        const answer = await server.send(path);
        expect([answer.status, answer.headers["content-type"], answer.json()]).toEqual([
          503,
          "application/problem+json; charset=utf-8",
          expect.objectContaining({ code: "store-unavailable" }),
        ]);
        expect(setCookies(answer)).toEqual([]);
        for (const gone of ["location", "etag", "content-encoding"]) expect(answer.headers[gone]).toBeUndefined();
        if (path === "/answer")
          expect([answer.headers["x-kept"], answer.headers["content-security-policy"]]).toEqual([
            "1",
            "default-src 'none'",
          ]);
      }
      expect(made.names()).toContain(failing === "hang" ? "portcullis_store_late" : "portcullis_store_unavailable");
    }
  });

  it("lets the app answer in report mode", async () => {
    const store = new SlowStore();
    const server = await start(bench({ store, mode: "report", storeTimeoutMs: 50 }));
    const mine = cookieOf(await server.send("/in/ada"));
    store.failing = "error";
    const answer = await server.send("/count");
    expect([answer.status, answer.json(), setCookies(answer)]).toEqual([200, { count: 1 }, []]);
    expect((await server.send("/who", withCookie(mine))).json()).toMatchObject({ id: null });
  });

  it("survives a client that disconnects while it waits, and an invalid head", async () => {
    const store = new SlowStore();
    store.delay.set = 60;
    const server = await start(bench({ store }), (app) =>
      app.get("/wrong", (req, res) => {
        req.session.count = 1;
        expect(() => res.writeHead(200, { "X-Bad": "a\nb" })).toThrow(/Invalid character/);
        expect(() => res.writeHead(99)).toThrow(RangeError);
        expect(() => res.end(5 as never)).toThrow(TypeError);
        res.status(200).send("recovered");
      }),
    );
    expect(await server.raw("GET /count HTTP/1.1\r\nHost: a\r\n\r\n", 20)).toBe("");
    await later(80);
    expect((await server.send("/wrong")).text).toBe("recovered");
    expect((await server.send("/count")).json()).toEqual({ count: 1 });
  });
});
