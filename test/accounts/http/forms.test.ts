import { gzipSync } from "node:zlib";
import express from "express";
import { describe, expect, test } from "vitest";
import { MemoryCredentialStore } from "../../../src/stores/memory/credential-store.js";
import { serve } from "../../support/serve.js";
import { accountsApp, type Client, PASSWORD, person } from "../support/app.js";
import { enrol } from "../support/authenticator.js";
import { NEW_PASSWORD, resetToken } from "../support/links.js";

const FORGOT = "/account/password/forgot";
const RESET = "/account/password/reset";
const LOGIN = "/account/login";
const FORM = "application/x-www-form-urlencoded";
const ORIGIN = "http://localhost:3000";

/** Where a form was sent on. */
async function sentTo(
  browser: Client,
  path: string,
  fields: Record<string, string>,
  headers = {},
): Promise<string | undefined> {
  const answer = await browser.form(path, fields, headers);
  expect(answer.status).toBe(303);
  expect(answer.text).not.toContain("<script");
  return answer.headers.location;
}

test("a form gets no tokens, which nobody would see; a program does", async () => {
  const app = await accountsApp();
  await person(app);
  const fields = { login: "ada", password: PASSWORD };
  expect(await sentTo(app.client(), LOGIN, { ...fields, deliver: "tokens" })).toBe("/login?error=invalid-request");
  expect(app.events.filter(({ event }) => event === "authn_token_created")).toEqual([]);
  expect(await sentTo(app.client(), LOGIN, { ...fields, deliver: "session" })).toBe("/");
  const answer = await app.client().post(LOGIN, { ...fields, deliver: "tokens" });
  expect(Object.keys(answer.json() as object)).toContain("accessToken");
});

describe("where a form is sent on", () => {
  const wrong = { login: "ada", password: "wrong" };
  test.each([
    ["no Referer: its page", LOGIN, wrong, undefined, "/login?error=invalid-credentials"],
    ["a page of this origin", LOGIN, wrong, `${ORIGIN}/in?a=1#x`, "/in?a=1&error=invalid-credentials"],
    [
      "an earlier outcome is replaced",
      LOGIN,
      wrong,
      `${ORIGIN}/in?error=x&reason=y&status=z`,
      "/in?error=invalid-credentials",
    ],
    ["another origin: its page", LOGIN, wrong, "https://evil.example/in", "/login?error=invalid-credentials"],
    ["another port: its page", LOGIN, wrong, "http://localhost:3001/in", "/login?error=invalid-credentials"],
    ["a path that is a host", LOGIN, wrong, `${ORIGIN}//evil.example/`, "/login?error=invalid-credentials"],
    ["a Referer that is no URL", LOGIN, wrong, "%%%", "/login?error=invalid-credentials"],
    ["a wrong field", LOGIN, { ...wrong, admin: "1" }, undefined, "/login?error=invalid-request"],
    ["what was asked for", FORGOT, { login: "ada" }, undefined, "/login?status=accepted"],
    ["what was asked for, of its page", FORGOT, { login: "ada" }, `${ORIGIN}/forgot`, "/forgot?status=accepted"],
    ["a log-in that is done", LOGIN, { login: "ada", password: PASSWORD }, `${ORIGIN}/in`, "/"],
    [
      "a token that is none is not repeated",
      RESET,
      { token: "<script>", password: "x" },
      undefined,
      "/reset-password?error=invalid-credentials",
    ],
  ] as const)("%s", async (_name, path, fields, referer, location) => {
    const app = await accountsApp();
    await person(app);
    expect(await sentTo(app.client(), path, fields, referer === undefined ? {} : { referer })).toBe(location);
  });

  test("to pages.enrol while a factor must be set up", async () => {
    const app = await accountsApp({ factors: { required: () => true } });
    await person(app);
    expect(await sentTo(app.client(), LOGIN, { login: "ada", password: PASSWORD })).toBe("/login/enrol");
  });

  const pages = { account: "/me", reauthenticate: "/again", enrol: "/factor" };

  test("what was done is told to the page", async () => {
    const app = await accountsApp({ pages });
    await person(app);
    const browser = app.client();
    await browser.logIn();
    const begun = await sentTo(browser, "/account/totp", {});
    expect(begun).toBe("/factor");
    expect(await sentTo(browser, "/account/totp/confirm", { code: "1" })).toBe("/factor?error=invalid-credentials");
    expect(await sentTo(browser, "/account/reauthenticate", { password: PASSWORD })).toBe("/me?status=confirmed");
    expect(await sentTo(browser, "/account/password", { current: PASSWORD, password: NEW_PASSWORD })).toBe(
      "/me?status=password-changed",
    );
    const { authenticator } = await enrol(app, browser);
    app.clock.advance(30_000);
    const code = authenticator.code(app.clock.now());
    const proof = await sentTo(browser, "/account/reauthenticate", { method: "totp", code });
    expect(proof).toBe("/me?status=confirmed");
    const [factor] = await app.accounts.factors.list("id-ada");
    const removed = await sentTo(browser, `/account/factors/${factor?.id ?? ""}/remove`, {});
    expect(removed).toBe("/me?status=factor-removed");
    expect(await app.accounts.factors.list("id-ada")).toEqual([]);
  });

  test.each([
    ["its own page, where the settings name one", pages, "/again"],
    ["the page of the form where they do not", { account: "/me", enrol: "/factor" }, "/factor"],
  ])("a proof that is too old leads to %s", async (_name, named, path) => {
    const app = await accountsApp({ pages: named });
    await person(app);
    const browser = app.client();
    await browser.logIn();
    app.clock.advance(300_000);
    expect(await sentTo(browser, "/account/totp", {})).toBe(`${path}?error=reauthentication-required`);
  });

  test("a wrong proof goes back to the page that asks for it", async () => {
    const app = await accountsApp({ pages });
    await person(app);
    const browser = app.client();
    await browser.logIn();
    const wrong = await sentTo(browser, "/account/reauthenticate", { password: "wrong" });
    expect(wrong).toBe("/again?error=invalid-credentials");
  });

  test.each([undefined, `${ORIGIN}/reset-password`])(
    "the reset page gets its token back, with the reasons, from the Referer %j",
    async (page) => {
      const app = await accountsApp();
      await person(app);
      const token = await resetToken(app);
      const headers = page === undefined ? {} : { referer: `${page}?token=${token}` };
      const refused = await sentTo(app.client(), RESET, { token, password: "short" }, headers);
      expect(refused).toBe(`/reset-password?token=${token}&error=password-refused&reason=too-short`);
      expect(await sentTo(app.client(), RESET, { token, password: NEW_PASSWORD })).toBe("/");
    },
  );

  test("a program gets JSON, whatever it accepts", async () => {
    const app = await accountsApp();
    await person(app);
    const answer = await app.client().post(LOGIN, wrong, { accept: "text/html", referer: `${ORIGIN}/in` });
    expect([answer.status, answer.headers.location]).toEqual([401, undefined]);
  });
});

describe("bodies", () => {
  const type = (value: string): Record<string, string> => ({ "content-type": value, accept: "application/json" });
  const form = type(FORM);
  const json = type("application/json");
  const bodies: readonly [string, Record<string, string>, string, 202 | 400 | 413 | 415][] = [
    ["JSON", json, '{"login":"ada"}', 202],
    ["JSON in UTF-8 by name", type("application/json; charset=utf-8"), '{"login":"ada"}', 202],
    ["a form", form, "login=ada", 202],
    ["a form in UTF-8 by name", type(`${FORM}; charset="UTF-8"`), "login=ada", 202],
    ["an unknown field", json, '{"login":"ada","x":1}', 400],
    ["an unknown field of a form", form, "login=ada&x=1", 400],
    ["a number", json, '{"login":1}', 400],
    ["null", json, '{"login":null}', 400],
    ["an object", json, '{"login":{"$ne":""}}', 400],
    ["an array", json, '{"login":["ada"]}', 400],
    ["a field twice", form, "login=ada&login=bob", 400],
    ["a field with brackets", form, "login[a]=ada", 400],
    ["__proto__ in JSON", json, '{"login":"ada","__proto__":{"x":1}}', 400],
    ["__proto__ in a form, which its parser drops", form, "login=ada&__proto__=1", 202],
    ["constructor", json, '{"login":"ada","constructor":{}}', 400],
    ["a list", json, '[{"login":"ada"}]', 400],
    ["no field", json, "{}", 400],
    ["broken JSON", json, '{"login":', 400],
    ["21 fields", form, Array.from({ length: 21 }, (_, count) => `a${count}=1`).join("&"), 413],
    ["too much JSON", json, JSON.stringify({ login: "a".repeat(17_000) }), 413],
    ["too long a form", form, `login=${"a".repeat(17_000)}`, 413],
    ["JSON in UTF-16", type("application/json; charset=utf-16"), '{"login":"ada"}', 415],
    ["a form in UTF-16", type(`${FORM}; charset=utf-16`), "login=ada", 415],
    ["a form in Latin 1", type(`${FORM}; charset=iso-8859-1`), "login=ada", 415],
    ["plain text", type("text/plain"), '{"login":"ada"}', 415],
    ["a form with files", type("multipart/form-data; boundary=x"), "--x--", 415],
    ["a compressed form", { ...form, "content-encoding": "gzip" }, gzipSync("login=ada").toString("latin1"), 415],
    ["compressed JSON", { ...json, "content-encoding": "gzip" }, gzipSync("{}").toString("latin1"), 415],
  ];
  test.each(bodies)("%s", async (_name, headers, body, status) => {
    const app = await accountsApp();
    await person(app);
    const server = await serve(app.app);
    const answer = await server.send(FORGOT, { method: "POST", headers, body });
    await server.close();
    const isForm = headers["content-type"]?.startsWith(FORM) === true;
    const code = { 202: undefined, 400: "invalid-request", 413: "payload-too-large", 415: "unsupported-media-type" }[
      status
    ];
    if (!isForm) expect(answer.status).toBe(status);
    else
      expect([answer.status, answer.headers.location]).toEqual([
        303,
        code === undefined ? "/login?status=accepted" : `/login?error=${code}`,
      ]);
    for (const part of ["ada", "bob", "$ne", "constructor", "__proto__"]) expect(answer.text).not.toContain(part);
    expect(({} as { x?: unknown }).x).toBeUndefined();
  });
});

describe("where the routes are", () => {
  test.each([
    ["as the setting says", "/account", "/account", "/account", 202],
    ["with a slash behind it", "/account/", "/account/", "/account", 202],
    ["in other letters of the request", "/account", "/account", "/ACCOUNT", 202],
    ["at the root", "/", "/", "", 202],
    ["elsewhere", "/account", "/elsewhere", "/elsewhere", 500],
    ["below a parameter", "/account", "/:tenant/account", "/acme/account", 500],
  ])("%s", async (_name, mountPath, mounted, asked, status) => {
    const app = await accountsApp({ mountPath });
    const outer = express();
    app.app.use(mounted, app.accounts.routes());
    outer.use(app.app);
    const answer = await app.client().post(`${asked}/password/forgot`, { login: "ada" });
    expect(answer.status).toBe(status);
    if (status === 500) expect(answer.text).toContain("mountPath");
  });

  test.each(["GET", "HEAD", "PUT", "DELETE", "PATCH"])("%s of a route for POST is not ours", async (method) => {
    const app = await accountsApp();
    for (const path of [FORGOT, RESET, LOGIN])
      expect((await app.client().post(path, undefined, {}, method)).status).toBe(404);
    expect((await app.client().post(`${FORGOT}/`, { login: "ada" })).status).toBe(202);
  });

  test("no GET and no HEAD changes anything, whatever its query and body", async () => {
    const store = new MemoryCredentialStore();
    const app = await accountsApp({
      stores: { credentials: store },
      users: {
        findByLogin: (login) => [...app.users.values()].find((user) => user.login === login),
        findById: (id) => app.users.get(id),
        create: () => undefined,
      },
    });
    await person(app);
    const token = await resetToken(app);
    const browser = app.client();
    await browser.logIn();
    const before = await store.listOf("id-ada");
    const sent = app.notices.length;
    const names = Object.getOwnPropertyNames(MemoryCredentialStore.prototype) as (keyof MemoryCredentialStore)[];
    const writes: string[] = [];
    for (const name of names.filter((one) => ["change", "advance", "addFailure", "clearFailures"].includes(one)))
      Object.defineProperty(store, name, { value: () => writes.push(name) });
    const paths = [
      "/login",
      "/logout",
      "/register",
      "/password",
      "/password/forgot",
      "/password/reset",
      "/email/verify",
    ];
    const queries = [
      "",
      `?token=${token}`,
      `?token=${token}&password=${encodeURIComponent(NEW_PASSWORD)}`,
      "?login=ada",
    ];
    for (const method of ["GET", "HEAD"])
      for (const path of [
        ...paths,
        "/totp",
        "/totp/confirm",
        "/sessions",
        "/factors",
        "/recovery-codes",
        "/login/factor",
      ])
        for (const query of queries) {
          await browser.post(`/account${path}${query}`, { token, password: NEW_PASSWORD, login: "ada" }, {}, method);
          await browser.post(`/account${path}${query}`, undefined, {}, method);
        }
    expect(writes).toEqual([]);
    expect(await store.listOf("id-ada")).toEqual(before);
    expect(app.notices).toHaveLength(sent);
    expect((await browser.get("/me")).status).toBe(200);
  });
});
