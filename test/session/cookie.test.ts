import { createHmac, createSecretKey } from "node:crypto";
import { sign, unsign } from "cookie-signature";
import express from "express";
import session from "express-session";
import { describe, expect, it } from "vitest";
import { createRuntime } from "../../src/core/runtime.js";
import { Secret } from "../../src/core/secret.js";
import { readSessionCookie } from "../../src/session/decide.js";
import { createSession } from "../../src/session/middleware.js";
import { SessionCookie, sessionHandle } from "../../src/session/session-cookie.js";
import { sessionSchema } from "../../src/session/settings.js";
import { parse } from "../../src/settings/object.js";
import { deriveKey } from "../../src/settings/secrets.js";
import { MemorySessionStore } from "../../src/stores/memory/session-store.js";
import { heapUsed } from "../support/heap.js";
import { serve } from "../support/serve.js";
import { bench, COOKIE, cookieOf, OTHER_SECRET, routes, SECRET, setCookies, withCookie } from "./support.js";

const key = createSecretKey(Buffer.from(SECRET));
const otherKey = createSecretKey(Buffer.from(OTHER_SECRET));
const options = parse(sessionSchema, { secret: SECRET });

/** What express-session itself makes of our store and our secret. */
async function withExpressSession(store: session.Store, cookie?: string) {
  const app = express();
  app.use(session({ store, name: COOKIE, secret: SECRET, resave: false, saveUninitialized: true }));
  app.get("/", (req, res) => void res.json({ id: req.sessionID, count: req.session.count ?? null }));
  const server = await serve(app);
  try {
    const answer = await server.send("/", cookie === undefined ? {} : withCookie(cookie));
    return { ...(answer.json() as { id: string; count: number | null }), setCookie: setCookies(answer)[0] };
  } finally {
    await server.close();
  }
}

/** As the middleware passes a header on. */
function valueIn(header: string): string {
  const verdict = readSessionCookie(header, COOKIE);
  if (verdict.kind !== "present") throw new Error(`${verdict.kind}: ${header}`);
  return verdict.value;
}

describe("the session cookie and express-session's own", () => {
  it("the cookie of this library is read by express-session", async () => {
    const store = new MemorySessionStore();
    const made = bench({ store });
    const server = await serve(routes(express(), made));
    const cookie = cookieOf(await server.send("/count"));
    await server.close();
    expect(await withExpressSession(store, cookie)).toMatchObject({
      id: cookie.slice(`${COOKIE}=s%3A`.length, `${COOKIE}=s%3A`.length + 32),
      count: 1,
    });
    await made.layer.close?.();
    store.close();
  });

  it("the cookie of express-session is read by this library with the same secret, and with no other", async () => {
    for (let n = 0; n < 20; n += 1) {
      const store = new MemorySessionStore();
      const { id, setCookie = "" } = await withExpressSession(store);
      store.close();
      const value = valueIn(setCookie.slice(0, setCookie.indexOf(";")));
      const cookie = new SessionCookie(options, true, [key]);
      // The second answer is a remembered one.
      for (let time = 0; time < 2; time += 1)
        expect(cookie.read(value)).toEqual({ sid: id, handle: sessionHandle(id) });
      expect(new SessionCookie(options, true, [otherKey, key]).read(value)?.sid).toBe(id);
      expect(new SessionCookie(options, true, [otherKey]).read(value)).toBeUndefined();
    }
  });
});

describe("the signature of the session cookie", () => {
  const signedBy = async (
    settings: Parameters<typeof parse<typeof sessionSchema>>[1],
    secretKey?: readonly Secret[],
  ): Promise<string> => {
    const layer = createSession(parse(sessionSchema, settings), createRuntime(), { secretKey });
    const server = await serve(routes(express(), { layer, runtime: createRuntime() }));
    const cookie = cookieOf(await server.send("/count"));
    await server.close();
    await layer.close?.();
    return decodeURIComponent(cookie.slice(`${COOKIE}=s%3A`.length));
  };

  it("is that of cookie-signature with session.secret, and no other secret verifies it", async () => {
    const value = await signedBy({ secret: [SECRET, OTHER_SECRET] });
    expect(unsign(value, SECRET)).toBe(value.slice(0, 32));
    expect(unsign(value, OTHER_SECRET)).toBe(false);
    expect(
      new SessionCookie(options, true, [key]).read(`s%3A${encodeURIComponent(sign("a".repeat(32), SECRET))}`)?.sid,
    ).toBe("a".repeat(32));
  });

  it("is made with a derived key from secretKey, which signs nothing itself", async () => {
    const value = await signedBy({}, [new Secret(SECRET)]);
    expect(unsign(value, SECRET)).toBe(false);
    expect(unsign(value, deriveKey(new Secret(SECRET), "session"))).toBe(value.slice(0, 32));
  });
});

describe("a remembered cookie", () => {
  it("does not match another id, another signature or another spelling", async () => {
    const store = new MemorySessionStore();
    const [one, two] = [await withExpressSession(store), await withExpressSession(store)].map(({ setCookie = "" }) =>
      valueIn(setCookie.slice(0, setCookie.indexOf(";"))),
    );
    store.close();
    if (one === undefined || two === undefined) throw new Error("no cookie");
    const cookie = new SessionCookie(options, true, [key]);
    expect([cookie.read(one)?.sid, cookie.read(two)?.sid]).toEqual([one.slice(4, 36), two.slice(4, 36)]);
    expect(cookie.read(one.slice(0, 37) + two.slice(37))).toBeUndefined();
    expect(cookie.read(`s%3A${two.slice(4, 36)}${one.slice(36)}`)).toBeUndefined();
    expect(cookie.read(one.slice(0, -1) + (one.endsWith("A") ? "B" : "A"))).toBeUndefined();
    expect(cookie.read(one)?.sid).toBe(one.slice(4, 36));
  });

  const signedId = (n: number): string => {
    const sid = n.toString(36).padStart(32, "0");
    return `s%3A${sid}.${encodeURIComponent(createHmac("sha256", key).update(sid).digest("base64").replace(/=+$/, ""))}`;
  };

  it("is still accepted when ten thousand others have displaced it", () => {
    const cookie = new SessionCookie(options, true, [key]);
    for (let n = 0; n <= 10_000; n += 1) expect(cookie.read(signedId(n))?.sid).toBe(n.toString(36).padStart(32, "0"));
    expect(cookie.read(signedId(0))?.sid).toBe("0".repeat(32));
  });

  it("retains no other part of the header it came in", () => {
    const cookie = new SessionCookie(options, true, [key]);
    const kept: unknown[] = [];
    const keep = (from: number, count: number): void => {
      for (let n = from; n < from + count; n += 1)
        kept.push(
          cookie.read(valueIn(Buffer.from(`a=${"x".repeat(12_000)}; ${COOKIE}=${signedId(n)}`).toString("latin1"))),
        );
    };
    keep(0, 200);
    const before = heapUsed();
    keep(200, 2000);
    expect((heapUsed() - before) / 2000).toBeLessThan(2000);
    expect(kept.length).toBe(2200);
  });
});
