import { gzipSync } from "node:zlib";
import { type AccountsLab, type Someone, WRONG } from "./accounts-app.js";
import { type Attack, type Group, MARK, type Outcome, type Seen } from "./attack.js";
import { ACCOUNTS_ORIGIN, PASSWORD, SESSION } from "./visitor.js";

const FORM: Outcome = { refused: "invalid-request" };
const REFUSED: Outcome = { refused: "invalid-credentials" };
const LET_IN: Outcome = { served: 200 };

/** A body of a log-in that is not what the route expects. */
const body = (
  name: string,
  reference: string,
  bend: (good: { login: string; password: string }) => unknown,
  outcome = FORM,
): Attack => ({
  name,
  reference,
  sequence: async ({ accounts }, twin) => {
    const good = { login: (await accounts.person()).login, password: PASSWORD };
    return accounts.visitor().post("/account/login", twin ? good : bend(good));
  },
  outcome,
  twin: { differs: "the name and the password as texts", outcome: LET_IN },
});

/** The body of a log-in as another kind of text. */
const header = (name: string, reference: string, headers: Record<string, string>, outcome: Outcome): Attack => ({
  name,
  reference,
  sequence: async ({ accounts }, twin) => {
    const { login } = await accounts.person();
    return accounts.visitor().post("/account/login", { login, password: PASSWORD }, twin ? {} : headers);
  },
  outcome,
  twin: { differs: "without the header", outcome: LET_IN },
});

/** A form that is sent on to a page of the app. The evidence is where to. */
const form = (
  name: string,
  reference: string,
  send: (lab: AccountsLab, ada: Someone) => Promise<Seen>,
  location: string,
): Attack => ({
  name,
  reference,
  sequence: async ({ accounts }, twin) => {
    const ada = await accounts.person();
    const fields = { login: ada.login, password: PASSWORD };
    const { status, headers } = twin
      ? await accounts.visitor().form("/account/login", fields)
      : await send(accounts, ada);
    return [status, headers.location];
  },
  outcome: { holds: `303 to \`${location}\``, evidence: [303, location] },
  twin: { differs: "the form of our page", outcome: { holds: "303 to `/`", evidence: [303, "/"] } },
});

/** A password that is nearly somebody's. Hashed with argon2. */
const nearly = (name: string, reference: string, own: string, other: (own: string) => string): Attack => ({
  name,
  reference,
  sequence: async ({ accounts }, twin) => {
    const ada = await accounts.person();
    accounts.hashesSlowly = true;
    try {
      await accounts.accounts.passwords.set(ada.id, own);
      return await accounts.visitor().logIn(ada, twin ? own : other(own));
    } finally {
      accounts.hashesSlowly = false;
    }
  },
  outcome: REFUSED,
  twin: { differs: "the password itself", outcome: LET_IN },
});

/** A password that somebody must not have. */
const weak = (name: string, reference: string, password: (ada: Someone) => string): Attack => ({
  name,
  reference,
  sequence: async ({ accounts }, twin) => {
    const ada = await accounts.person();
    const browser = await accounts.loggedIn(ada);
    const good = `nobody would think of that, ${MARK}`;
    return browser.post("/account/password", { current: PASSWORD, password: twin ? good : password(ada) });
  },
  outcome: { refused: "password-refused" },
  twin: { differs: "another one", outcome: { served: 204 } },
});

/** A log-in in another way than by POST to its path. */
const otherMethod = (
  name: string,
  reference: string,
  send: (lab: AccountsLab, query: string) => Promise<Seen>,
): Attack => ({
  name,
  reference,
  sequence: async ({ accounts }, twin) => {
    const { login } = await accounts.person();
    const query = new URLSearchParams({ login, password: PASSWORD }).toString();
    const answer = twin
      ? await accounts.visitor().post("/account/login", { login, password: PASSWORD })
      : await send(accounts, query);
    return [answer.status, answer.headers["set-cookie"]?.some((line) => line.startsWith(`${SESSION}=`)) ?? false];
  },
  outcome: { holds: "404, and no session", evidence: [404, false] },
  twin: { differs: "POST", outcome: { holds: "a session", evidence: [200, true] } },
});

export const accountBodies: Group = {
  title: "Accounts: bodies, forms, names and passwords",
  attacks: [
    body("a field that the route does not know", "CWE-915", (good) => ({ ...good, factor: false, [MARK]: 1 })),
    body("a name as a list", "CWE-843", ({ login, password }) => ({ login: [login], password })),
    body("an operator in the place of a password", "CWE-943", ({ login }) => ({ login, password: { $ne: MARK } })),
    body("a number in the place of a password", "CWE-843", ({ login }) => ({ login, password: 1 })),
    body("null in the place of a password", "CWE-843", ({ login }) => ({ login, password: null })),
    body("a password that is empty", "CWE-521", ({ login }) => ({ login, password: "" })),
    body("two log-ins in one list", "CWE-843", (good) => [good, good]),
    body("a body that changes what every object has", "CWE-1321", (good) =>
      JSON.stringify(good).replace("{", `{"__proto__":{"${MARK}":1},`),
    ),
    body("a field named constructor", "CWE-1321", (good) => ({ ...good, constructor: { prototype: { [MARK]: 1 } } })),
    body(
      "a body ten thousand levels deep",
      "CWE-674",
      ({ login }) => `{"login":"${login}","password":${"[".repeat(5000)}${"]".repeat(5000)}}`,
    ),
    body(
      "a field twice, for two readers",
      "V15.3.7",
      ({ login, password }) => `{"login":"${login}","password":"${password}","password":null}`,
    ),
    body("a body of seventeen thousand bytes", "CWE-770", (good) => ({ ...good, password: "x".repeat(17_000) }), {
      refused: "payload-too-large",
    }),
    body(
      "a line of a log in the name",
      "CWE-117",
      (good) => ({ ...good, login: `${MARK}\r\nauthn_login_success` }),
      REFUSED,
    ),
    body("a NUL in the name", "CWE-626", (good) => ({ ...good, login: `${good.login}\0${MARK}` })),
    body(
      "half a character in the name",
      "CWE-176",
      ({ login, password }) => `{"login":"${login}\\ud800","password":"${password}"}`,
    ),
    body("a name of a thousand characters", "CWE-770", (good) => ({ ...good, login: "x".repeat(1000) })),
    body("a delivery that nobody has heard of", "CWE-20", (good) => ({ ...good, deliver: MARK })),
    header(
      "JSON as plain text, which a form can send",
      "V3.5.2",
      { "Content-Type": "text/plain" },
      { refused: "unsupported-media-type" },
    ),
    header(
      "JSON in UTF-16",
      "CWE-838",
      { "Content-Type": "application/json; charset=utf-16" },
      { refused: "unsupported-media-type" },
    ),
    header(
      "a body that says it is compressed",
      "CWE-409",
      { "Content-Encoding": "gzip" },
      { refused: "unsupported-media-type" },
    ),
    header(
      "login CSRF: a page of another site logs the victim in as the attacker",
      "CWE-352",
      { "Sec-Fetch-Site": "cross-site" },
      { refused: "cross-origin-refused" },
    ),
    header("login CSRF, by Origin", "CWE-352", { Origin: "https://evil.example" }, { refused: "cross-origin-refused" }),
    form(
      "JSON in a form, by a page of another kind",
      "V3.5.2",
      (lab, { login }) => lab.visitor().form("/account/login", JSON.stringify({ login, password: PASSWORD })),
      "/login?error=invalid-request",
    ),
    form(
      "a field of a form twice",
      "V15.3.7",
      (lab, { login }) =>
        lab.visitor().form("/account/login", `login=${login}&login=${login}&password=${encodeURIComponent(PASSWORD)}`),
      "/login?error=invalid-request",
    ),
    form(
      "a field of a form with brackets",
      "CWE-943",
      (lab, { login }) => lab.visitor().form("/account/login", `login=${login}&password[$ne]=${MARK}`),
      "/login?error=invalid-request",
    ),
    form(
      "a form in another encoding",
      "CWE-838",
      (lab, { login }) =>
        lab
          .visitor()
          .form(
            "/account/login",
            { login, password: PASSWORD },
            { "Content-Type": "application/x-www-form-urlencoded; charset=iso-8859-1" },
          ),
      "/login?error=unsupported-media-type",
    ),
    form(
      "a compressed form",
      "CWE-409",
      (lab, { login }) =>
        lab
          .visitor()
          .form("/account/login", gzipSync(`login=${login}`).toString("latin1"), { "Content-Encoding": "gzip" }),
      "/login?error=unsupported-media-type",
    ),
    form(
      "a form that is sent back to the site that it came from",
      "CWE-601",
      (lab, ada) =>
        lab
          .visitor()
          .form("/account/login", { login: ada.login, password: WRONG }, { Referer: "https://evil.example/login" }),
      "/login?error=invalid-credentials",
    ),
    form(
      "a form whose page has a path that is another host",
      "CWE-601",
      (lab, ada) =>
        lab
          .visitor()
          .form(
            "/account/login",
            { login: ada.login, password: WRONG },
            { Referer: `${ACCOUNTS_ORIGIN}//evil.example/` },
          ),
      "/login?error=invalid-credentials",
    ),
    form(
      "a token of a form that would write the next address",
      "CWE-601",
      (lab) => lab.visitor().form("/account/password/reset", { token: `x&error=none#${MARK}`, password: PASSWORD }),
      "/reset-password?error=invalid-credentials",
    ),
    otherMethod("a log-in by GET, with the password in the query", "CWE-598", (lab, query) =>
      lab.visitor().get(`/account/login?${query}`),
    ),
    otherMethod("a log-in by HEAD", "CWE-650", (lab, query) =>
      lab.visitor().send({ method: "HEAD", path: `/account/login?${query}` }),
    ),
    otherMethod("a log-in by PUT", "CWE-650", (lab, query) =>
      lab.visitor().send({ method: "PUT", path: `/account/login?${query}` }),
    ),
    {
      name: "another method by X-HTTP-Method-Override",
      reference: "CWE-650",
      sequence: async ({ accounts }, twin) => {
        const ada = await accounts.person({ factor: true });
        const browser = await accounts.loggedIn(ada);
        const [factor] = await accounts.accounts.factors.list(ada.id);
        const path = `/account/factors/${factor?.id}`;
        if (twin) await browser.delete(path);
        else
          await browser.post(`${path}?_method=DELETE`, { _method: "DELETE" }, { "X-HTTP-Method-Override": "DELETE" });
        return (await accounts.accounts.factors.list(ada.id)).length;
      },
      outcome: { holds: "nothing is deleted", evidence: 1 },
      twin: { differs: "by DELETE", outcome: { holds: "deleted", evidence: 0 } },
    },
    {
      name: "the routes at another path than the settings say",
      reference: "CWE-1188",
      sequence: async ({ accounts }, twin) => {
        const { login } = await accounts.person();
        const path = twin ? "/account/login" : "/elsewhere/login";
        return accounts.visitor().post(path, { login, password: PASSWORD });
      },
      outcome: { refused: "protection-not-run" },
      twin: { differs: "at that path", outcome: LET_IN },
    },
    {
      name: "passwords of sixteen thousand characters, to keep the hash busy",
      reference: "CVE-2014-9034",
      sequence: async ({ accounts }, twin) => {
        const ada = await accounts.person();
        const before = accounts.compared;
        const { status } = await accounts.visitor().logIn(ada, "x".repeat(twin ? 1024 : 16_000));
        return [status, accounts.compared - before];
      },
      outcome: { holds: "401 without a hash", evidence: [401, 0] },
      twin: { differs: "a thousand characters", outcome: { holds: "401 with one", evidence: [401, 1] } },
    },
    nearly("a password that is the same for 72 bytes", "CVE-2025-22228", `${"0123456789".repeat(8)} ${MARK}`, (own) =>
      own.slice(0, 72),
    ),
    nearly(
      "a password that is the same up to a NUL",
      "CWE-626",
      `seventeen letters\0and more ${MARK}`,
      (own) => own.split("\0")[0] ?? "",
    ),
    nearly("a password in another case", "V6.2.8", `Correct Horse Battery ${MARK}`, (own) => own.toLowerCase()),
    nearly("a password with a space behind it", "V6.2.8", `correct horse battery ${MARK}`, (own) => `${own} `),
    nearly(
      "a password with half a character behind it",
      "CWE-176",
      `correct horse battery ${MARK}`,
      (own) => `${own}\ud800`,
    ),
    nearly("a password of look-alikes", "CWE-176", `correct horse battery ${MARK}`, (own) =>
      own.replaceAll("o", "\u043e"),
    ),
    weak("a password that everyone tries first", "V6.2.4", () => "1qaz2wsx3edc4rfv"),
    weak("a password that everyone tries first, in wide letters", "V6.2.4", () => "１ＱＡＺ２ＷＳＸ３ＥＤＣ４ＲＦＶ"),
    weak("a password that is the person's own address", "V6.2.11", ({ login }) => login),
    weak("a password that is the name of the service, and a little more", "V6.2.11", () => "app.example.com2026"),
    weak("a password of fourteen characters without a second factor", "V6.2.1", () => "k8#vQz!pL2@wXm"),
    weak("a password of a thousand and twenty-five bytes", "CWE-770", () => "x".repeat(1025)),
  ],
};
