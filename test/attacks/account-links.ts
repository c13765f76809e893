import { type AccountsLab, NEW_PASSWORD, type Someone, WRONG } from "./accounts-app.js";
import { type Ask, type Attack, type Group, MARK, type Outcome, type Seen } from "./attack.js";
import { ACCOUNTS_ORIGIN, PASSWORD, type Visitor } from "./visitor.js";

const ENDED: Outcome = { refused: "invalid-credentials" };
const LET_IN: Outcome = { served: 200 };

const reset = (lab: AccountsLab, token: string, password = NEW_PASSWORD): Promise<Seen> =>
  lab.visitor().post("/account/password/reset", { token, password });

/** A link to a new password that is not, or no longer, good. */
const badReset = (
  name: string,
  reference: string,
  spoil: (lab: AccountsLab, token: string, ada: Someone) => unknown,
  differs: string,
  outcome = ENDED,
): Attack => ({
  name,
  reference,
  sequence: async ({ accounts }, twin) => {
    const ada = await accounts.person();
    const token = await accounts.resetToken(ada);
    const other = twin ? undefined : await spoil(accounts, token, ada);
    return reset(accounts, typeof other === "string" ? other : token);
  },
  outcome,
  twin: { differs, outcome: LET_IN },
});

/** What somebody holds when the owner resets the password. */
const survivor = (
  name: string,
  reference: string,
  hold: (lab: AccountsLab, ada: Someone) => Promise<() => Promise<Seen>>,
  outcome: Outcome,
): Attack => ({
  name,
  reference,
  sequence: async ({ accounts }, twin) => {
    const ada = await accounts.person();
    const use = await hold(accounts, ada);
    const token = await accounts.resetToken(ada);
    if (!twin) await reset(accounts, token);
    return use();
  },
  outcome,
  twin: { differs: "no reset", outcome: LET_IN },
});

/** A mail that a request with another host causes. */
const hostInLink = (name: string, reference: string, headers: Ask["headers"]): Attack => ({
  name,
  reference,
  sequence: async ({ accounts }, twin) => {
    const { login } = await accounts.person();
    await accounts.visitor().post("/account/password/forgot", { login }, twin ? {} : headers);
    return new URL((await accounts.noticesTo(login, 1))[0]?.link ?? "").origin;
  },
  outcome: { holds: "the link begins with baseUrl", evidence: ACCOUNTS_ORIGIN },
  twin: { differs: "without them", outcome: { holds: "the same", evidence: ACCOUNTS_ORIGIN } },
});

/** Someone registers an address. Another one, or the same, comes with the link. */
const verify = (browser: Visitor, token: string, password?: string): Promise<Seen> =>
  browser.post("/account/email/verify", { token, ...(password === undefined ? {} : { password }) });

/** A name that is not one address. */
const badLogin = (name: string, reference: string, bend: (login: string) => string): Attack => ({
  name,
  reference,
  sequence: async ({ accounts }, twin) => {
    const login = accounts.newLogin();
    return accounts.visitor().post("/account/register", { login: twin ? login : bend(login), password: PASSWORD });
  },
  outcome: { refused: "invalid-request" },
  twin: { differs: "the address alone", outcome: { served: 202 } },
});

export const accountLinks: Group = {
  title: "Accounts: links, reset and registration",
  attacks: [
    {
      name: "a mail scanner opens the link before its owner",
      reference: "emdash-cms/emdash#3298",
      sequence: async ({ accounts }) => {
        const token = await accounts.resetToken(await accounts.person());
        const scanner = accounts.visitor();
        const path = `/account/password/reset?token=${token}`;
        const opened = [await scanner.get(path), await scanner.send({ method: "HEAD", path })];
        return [...opened, await reset(accounts, token)].map(({ status }) => status);
      },
      outcome: { holds: "nothing is spent by GET or HEAD", evidence: [404, 404, 200] },
    },
    {
      name: "a mail scanner opens the link of a registration",
      reference: "emdash-cms/emdash#3298",
      sequence: async ({ accounts }) => {
        const browser = accounts.visitor();
        const token = await accounts.registration(browser, accounts.newLogin());
        const scanned = await accounts.visitor().get(`/account/email/verify?token=${token}`);
        return [scanned.status, (await verify(browser, token)).status];
      },
      outcome: { holds: "nothing is spent by GET", evidence: [404, 200] },
    },
    badReset("a link used twice", "V6.4.1", (lab, token) => reset(lab, token), "the first time"),
    badReset(
      "a link that a newer one replaced",
      "growthbook/growthbook#1648",
      (lab, _token, ada) => lab.resetToken(ada, 2).then(() => undefined),
      "no newer one",
    ),
    badReset("a link after twenty minutes", "V6.4.1", (lab) => lab.clock.advance(1_200_000), "at once"),
    badReset("a link that ends otherwise", "CWE-330", (_lab, token) => `${token.slice(0, -4)}AAAA`, "as it was sent"),
    badReset("a link with another one behind it", "CWE-1289", (_lab, token) => `${token}${token}`, "alone"),
    badReset(
      "the link of somebody who was disabled since",
      "V7.4.2",
      (lab, _token, ada) => {
        const user = lab.users.get(ada.id);
        if (user !== undefined) lab.users.set(ada.id, { ...user, disabled: true });
      },
      "not disabled",
    ),
    badReset(
      "a link in a mailbox that its owner has left",
      "CWE-640",
      (lab, _token, ada) => {
        const user = lab.users.get(ada.id);
        if (user !== undefined) lab.users.set(ada.id, { ...user, email: lab.newLogin() });
      },
      "the same address",
    ),
    badReset(
      "the link of a registration, to reset a password",
      "CWE-843",
      (lab) => lab.registration(lab.visitor(), lab.newLogin()),
      "the link of a reset",
    ),
    {
      name: "the link of a reset, to finish a registration",
      reference: "CWE-843",
      sequence: async ({ accounts }, twin) => {
        const browser = accounts.visitor();
        const registered = await accounts.registration(browser, accounts.newLogin());
        return verify(browser, twin ? registered : await accounts.resetToken(await accounts.person()));
      },
      outcome: ENDED,
      twin: { differs: "the link of the registration", outcome: LET_IN },
    },
    {
      name: "one link ten times at once",
      reference: "CWE-362",
      sequence: async ({ accounts }) => {
        const token = await accounts.resetToken(await accounts.person());
        const answers = await Promise.all(Array.from({ length: 10 }, () => reset(accounts, token)));
        return answers.filter(({ status }) => status === 200).length;
      },
      outcome: { holds: "it is used once", evidence: 1 },
    },
    {
      name: "a link in the query of the request",
      reference: "CWE-598",
      sequence: async ({ accounts }, twin) => {
        const token = await accounts.resetToken(await accounts.person());
        const body = { password: NEW_PASSWORD, ...(twin ? { token } : {}) };
        return accounts.visitor().post(`/account/password/reset?token=${token}`, body);
      },
      outcome: { refused: "invalid-request" },
      twin: { differs: "in the body too", outcome: LET_IN },
    },
    hostInLink("the link's host from X-Forwarded-Host", "CWE-644", { "X-Forwarded-Host": "evil.example" }),
    hostInLink("the link's host from Forwarded, X-Host and their like", "CWE-644", {
      Forwarded: "host=evil.example",
      "X-Host": "evil.example",
      "X-Original-Host": "evil.example",
      "X-Forwarded-Server": "evil.example",
    }),
    {
      name: "the link's host from Host",
      reference: "CWE-644",
      sequence: async ({ accounts }, twin) => {
        const { login } = await accounts.person();
        return accounts.visitor().post("/account/password/forgot", { login }, twin ? {} : { Host: "evil.example" });
      },
      outcome: { refused: "untrusted-host" },
      twin: { differs: "our own host", outcome: { served: 202 } },
    },
    {
      name: "two addresses for one link, as a list",
      reference: "CVE-2023-7028",
      sequence: async ({ accounts }, twin) => {
        const { login } = await accounts.person();
        return accounts
          .visitor()
          .post("/account/password/forgot", { login: twin ? login : [login, `${MARK}@evil.example`] });
      },
      outcome: { refused: "invalid-request" },
      twin: { differs: "one", outcome: { served: 202 } },
    },
    {
      name: "a look-alike of the address, to get its mail",
      reference: "CVE-2019-19844",
      sequence: async ({ accounts }) => {
        const login = `k${accounts.newLogin()}`;
        await accounts.person({ login, email: login });
        // The Kelvin sign is a k in lower case.
        await accounts.visitor().post("/account/password/forgot", { login: login.replace(/^k/, "\u212a") });
        const mails = await accounts.noticesTo(login, 1);
        return mails.map(({ user }) => user.email === login);
      },
      outcome: { holds: "mail goes to the address that is stored", evidence: [true] },
    },
    {
      name: "a flood of mail to somebody",
      reference: "CWE-799",
      sequence: async ({ accounts }) => {
        const { login } = await accounts.person();
        for (let asked = 0; asked < 20; asked += 1)
          await accounts.visitor().post("/account/password/forgot", { login });
        return (await accounts.noticesTo(login, 3)).length;
      },
      outcome: { holds: "three mails in an hour that twenty strangers ask in", evidence: 3 },
    },
    {
      name: "a new password that everyone tries first",
      reference: "V6.2.4",
      sequence: async ({ accounts }, twin) => {
        const token = await accounts.resetToken(await accounts.person());
        return reset(accounts, token, twin ? NEW_PASSWORD : "1qaz2wsx3edc4rfv");
      },
      outcome: { refused: "password-refused" },
      twin: { differs: "another one", outcome: LET_IN },
    },
    survivor(
      "a session of before the reset",
      "nhost/nhost#4192",
      async (lab, ada) => {
        const browser = await lab.loggedIn(ada);
        return () => browser.me();
      },
      { refused: "missing-credentials" },
    ),
    survivor(
      "an access token of before the reset",
      "nhost/nhost#4192",
      async (lab, ada) => {
        const { accessToken } = (await lab.visitor().logIn(ada, undefined, { deliver: "tokens" })).json() as Record<
          string,
          string
        >;
        return () => lab.visitor().get("/me", { Authorization: `Bearer ${accessToken}` });
      },
      ENDED,
    ),
    survivor(
      "a refresh token of before the reset",
      "nhost/nhost#4192",
      async (lab, ada) => {
        const { refreshToken } = (await lab.visitor().logIn(ada, undefined, { deliver: "tokens" })).json() as Record<
          string,
          string
        >;
        return () => lab.visitor().post("/tokens/refresh", { refreshToken });
      },
      ENDED,
    ),
    survivor("the old password after the reset", "CWE-613", async (lab, ada) => () => lab.visitor().logIn(ada), ENDED),
    {
      name: "an account hijacked before it is made: the victim confirms the attacker's registration",
      reference: "CWE-287",
      sequence: async ({ accounts }, twin) => {
        const attacker = accounts.visitor();
        const token = await accounts.registration(attacker, accounts.newLogin());
        return verify(twin ? attacker : accounts.visitor(), token);
      },
      outcome: { refused: "missing-credentials" },
      twin: { differs: "the browser that registered", outcome: LET_IN },
    },
    {
      name: "an account hijacked before it is made: the attacker's password after the victim's registration",
      reference: "CWE-287",
      sequence: async ({ accounts }, twin) => {
        const login = accounts.newLogin();
        await accounts.registration(accounts.visitor(), login, WRONG);
        const victim = accounts.visitor();
        await verify(victim, await accounts.registration(victim, login, PASSWORD, 2));
        return accounts.visitor().logIn({ login }, twin ? PASSWORD : WRONG);
      },
      outcome: ENDED,
      twin: { differs: "the victim's password", outcome: LET_IN },
    },
    {
      name: "the attacker's registration finished after the victim's",
      reference: "CWE-287",
      sequence: async ({ accounts }, twin) => {
        const login = accounts.newLogin();
        const attacker = accounts.visitor();
        const planted = await accounts.registration(attacker, login, WRONG);
        const victim = accounts.visitor();
        if (!twin) await verify(victim, await accounts.registration(victim, login, PASSWORD, 2));
        return verify(attacker, planted);
      },
      outcome: ENDED,
      twin: { differs: "the victim has not registered", outcome: LET_IN },
    },
    {
      name: "a registration of a name that is taken, to change its password",
      reference: "CWE-287",
      sequence: async ({ accounts }, twin) => {
        const ada = await accounts.person();
        await accounts.visitor().post("/account/register", { login: ada.login, password: WRONG });
        return accounts.visitor().logIn(ada, twin ? PASSWORD : WRONG);
      },
      outcome: ENDED,
      twin: { differs: "the owner's password", outcome: LET_IN },
    },
    {
      name: "the link of a registration after a day",
      reference: "V6.4.1",
      sequence: async ({ accounts }, twin) => {
        const browser = accounts.visitor();
        const token = await accounts.registration(browser, accounts.newLogin());
        accounts.clock.advance(twin ? 86_399_000 : 86_400_000);
        return verify(browser, token);
      },
      outcome: ENDED,
      twin: { differs: "a second before", outcome: LET_IN },
    },
    badLogin("a line of a mail's head in the address", "CWE-93", (login) => `${login}\r\nBcc: ${MARK}@evil.example`),
    badLogin("two addresses in one", "CVE-2023-7028", (login) => `${login},${MARK}@evil.example`),
    badLogin("an address with a name around it", "CWE-93", (login) => `${MARK} <${login}>`),
    badLogin("an invisible character in the address", "CWE-1007", (login) => login.replace("@", "\u200b@")),
    badLogin("a character that turns the direction around", "CWE-1007", (login) => login.replace("@", "\u202e@")),
    badLogin("a space at the end of the address", "CWE-1289", (login) => `${login} `),
    {
      name: "a role for oneself at registration",
      reference: "CWE-915",
      sequence: async ({ accounts }, twin) => {
        const body = { login: accounts.newLogin(), password: PASSWORD, ...(twin ? {} : { roles: ["admin"] }) };
        return accounts.visitor().post("/account/register", body);
      },
      outcome: { refused: "invalid-request" },
      twin: { differs: "without the field", outcome: { served: 202 } },
    },
  ],
};
