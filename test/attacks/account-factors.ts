import { Authenticator } from "../accounts/support/authenticator.js";
import { type AccountsLab, PENDING, type Someone } from "./accounts-app.js";
import type { Attack, Group, Outcome, Seen } from "./attack.js";
import { SESSION, type Visitor } from "./visitor.js";

const REFUSED: Outcome = { refused: "invalid-credentials" };
const NOBODY: Outcome = { refused: "missing-credentials" };
const LET_IN: Outcome = { served: 200 };

/** Someone with an authenticator app logs in with their password, and then with a code that is not quite theirs. */
const badCode = (
  name: string,
  reference: string,
  code: (lab: AccountsLab, someone: Someone) => string | Promise<string>,
  differs: string,
  good: (lab: AccountsLab, someone: Someone) => string = (lab, someone) => lab.code(someone),
): Attack => ({
  name,
  reference,
  sequence: async ({ accounts }, twin) => {
    const ada = await accounts.person({ factor: true });
    const given = twin ? good(accounts, ada) : await code(accounts, ada);
    return (await accounts.owing(ada)).factor(given);
  },
  outcome: REFUSED,
  twin: { differs, outcome: LET_IN },
});

/** The same with a recovery code. */
const badRecovery = (
  name: string,
  reference: string,
  code: (lab: AccountsLab, ada: Someone) => Promise<string | undefined>,
): Attack => ({
  name,
  reference,
  sequence: async ({ accounts }, twin) => {
    const ada = await accounts.person({ factor: true });
    const given = await code(accounts, ada);
    return (await accounts.owing(ada)).factor((twin ? ada.recoveryCodes[9] : given) ?? "", "recovery");
  },
  outcome: REFUSED,
  twin: { differs: "an unused code of this person", outcome: LET_IN },
});

/** With the password alone, another way to get something. The twin has given the code too. */
const wayAround = (
  name: string,
  reference: string,
  act: (browser: Visitor) => Promise<Seen>,
  outcome = NOBODY,
  served = 200,
): Attack => ({
  name,
  reference,
  sequence: async ({ accounts }, twin) => {
    const ada = await accounts.person({ factor: true });
    return act(twin ? await accounts.loggedIn(ada) : await accounts.owing(ada));
  },
  outcome,
  twin: { differs: "the code was given", outcome: { served } },
});

/** A door of the app that has forgotten about factors. */
const otherDoor = (name: string, what: "session" | "family" | "token"): Attack => ({
  name,
  reference: "VilnaCRM-Org/user-service#472",
  sequence: async ({ accounts }, twin) => {
    const ada = await accounts.person({ factor: !twin });
    const { status, text, headers } = await accounts.visitor().post(`/other-door/${ada.id}/${what}`);
    return [status, text.includes("factor-required"), headers["set-cookie"] !== undefined];
  },
  outcome: { holds: "the call rejects with `factor-required`", evidence: [401, true, false] },
  twin: {
    differs: "the person has no factor",
    outcome: { holds: "made", evidence: [200, false, what === "session"] },
  },
});

/** A log-in that owes a code goes on in another way than it began, or after something has happened. */
const badPending = (
  name: string,
  reference: string,
  goOn: (lab: AccountsLab, browser: Visitor, ada: Someone) => Promise<Seen>,
  differs: string,
): Attack => ({
  name,
  reference,
  sequence: async ({ accounts }, twin) => {
    const ada = await accounts.person({ factor: true });
    const browser = await accounts.owing(ada);
    return twin ? browser.factor(accounts.code(ada)) : goOn(accounts, browser, ada);
  },
  outcome: REFUSED,
  twin: { differs, outcome: LET_IN },
});

const moved = (lab: AccountsLab, from: Visitor, ada: Someone): Promise<Seen> => {
  const secret = from.cookies.get(PENDING);
  return lab.visitor().factor(lab.code(ada), "totp", { pending: secret });
};

export const accountFactors: Group = {
  title: "Accounts: around the second factor",
  attacks: [
    wayAround("a session by the password alone", "V6.3.4", (browser) => browser.me()),
    wayAround("tokens by the password alone, where the app makes them", "VilnaCRM-Org/user-service#472", (browser) =>
      browser.post("/token"),
    ),
    wayAround(
      "an API key by the password alone",
      "V6.3.4",
      (browser) => browser.post("/keys", { name: "k" }),
      NOBODY,
      201,
    ),
    wayAround("the account's routes by the password alone", "V6.3.4", (browser) => browser.get("/account/factors")),
    wayAround("the pending log-in in the place of a session", "CWE-288", (browser) => {
      const secret = browser.cookies.get(PENDING);
      if (secret !== undefined) browser.cookies.set(SESSION, secret);
      return browser.me();
    }),
    {
      name: "the pending log-in in the place of a token",
      reference: "CWE-288",
      sequence: async ({ accounts }, twin) => {
        const ada = await accounts.person({ factor: !twin });
        const { pending, accessToken } = (
          await accounts.visitor().logIn(ada, undefined, { deliver: "tokens" })
        ).json() as {
          pending?: string;
          accessToken?: string;
        };
        return accounts.visitor().get("/me", { Authorization: `Bearer ${pending ?? accessToken}` });
      },
      outcome: REFUSED,
      twin: { differs: "the person has no factor, and the answer has tokens", outcome: LET_IN },
    },
    otherDoor("a log-in by another door of the app", "session"),
    otherDoor("tokens by another door of the app", "family"),
    otherDoor("one token by another door of the app", "token"),
    {
      name: "a reset in the place of the factor",
      reference: "V6.4.3",
      sequence: async ({ accounts }, twin) => {
        const ada = await accounts.person({ factor: !twin });
        const token = await accounts.resetToken(ada, twin ? 1 : 3);
        const browser = accounts.visitor();
        await browser.post("/account/password/reset", { token, password: `${ada.id} has a new long password` });
        return browser.me();
      },
      outcome: NOBODY,
      twin: { differs: "the person has no factor", outcome: LET_IN },
    },
    {
      name: "a recovery code without the password",
      reference: "calcom/cal.diy#10600",
      sequence: async ({ accounts }, twin) => {
        const ada = await accounts.person({ factor: true });
        const browser = twin ? await accounts.owing(ada) : accounts.visitor();
        return browser.factor(ada.recoveryCodes[0] ?? "", "recovery");
      },
      outcome: REFUSED,
      twin: { differs: "after the password", outcome: LET_IN },
    },
    {
      name: "a pending log-in that may only set up a factor, for everything else",
      reference: "V6.3.3",
      sequence: async ({ accounts }, twin) => {
        const root = await accounts.person({ roles: ["admin"] });
        const browser = await accounts.owing(root);
        if (twin) await accounts.enrol(root, browser);
        return browser.post("/token");
      },
      outcome: NOBODY,
      twin: { differs: "the factor was set up", outcome: LET_IN },
    },
    {
      name: "a new factor set up by a log-in that owes the old one",
      reference: "CWE-288",
      sequence: async ({ accounts }, twin) => {
        const someone = await accounts.person(twin ? { roles: ["admin"] } : { factor: true });
        return (await accounts.owing(someone)).post("/account/totp", {});
      },
      outcome: REFUSED,
      twin: { differs: "the person has none, and must have one", outcome: LET_IN },
    },
    {
      name: "an enrolment that began before the owner's, finished after it",
      reference: "CWE-367",
      sequence: async ({ accounts }, twin) => {
        const root = await accounts.person({ roles: ["admin"] });
        const browser = await accounts.owing(root);
        if (!twin) await accounts.enrol(root, await accounts.owing(root));
        return browser.post("/account/totp", {});
      },
      outcome: REFUSED,
      twin: { differs: "the owner has not set one up", outcome: LET_IN },
    },
    {
      name: "an enrolment without its code turns the old factor off",
      reference: "V6.5.1",
      sequence: async ({ accounts }) => {
        const ada = await accounts.person({ factor: true });
        await (await accounts.loggedIn(ada)).post("/account/totp", {});
        return (await accounts.owing(ada)).factor(accounts.code(ada));
      },
      outcome: LET_IN,
    },
    badCode(
      "the code of a factor that was never confirmed",
      "CWE-287",
      async (lab, ada) => {
        const browser = await lab.loggedIn(ada);
        const { secret } = (await browser.post("/account/totp", {})).json() as { secret: string };
        return new Authenticator(secret).code(lab.clock.now());
      },
      "that of the confirmed one",
    ),
    badCode(
      "a code used twice",
      "V6.5.1",
      async (lab, ada) => {
        const code = lab.code(ada);
        await (await lab.owing(ada)).factor(code);
        return code;
      },
      "a new one",
    ),
    badCode(
      "the code that confirmed the factor, used again",
      "teamhanko/hanko#2723",
      (lab, ada) => lab.code(ada, -1),
      "the next one",
    ),
    badCode(
      "a code of a step-up, used again at log-in",
      "better-auth/better-auth#10423",
      async (lab, ada) => {
        const browser = await lab.loggedIn(ada);
        const code = lab.code(ada);
        await browser.post("/account/reauthenticate", { method: "totp", code });
        return code;
      },
      "a new one",
    ),
    badCode(
      "the code of somebody else",
      "CWE-639",
      async (lab) => lab.code(await lab.person({ factor: true })),
      "their own",
    ),
    badCode("a code of a minute ago", "RFC 6238 5.2", (lab, ada) => lab.code(ada, -2), "the one shown now"),
    badCode(
      "a code of a minute from now",
      "RFC 6238 5.2",
      (lab, ada) => lab.code(ada, 2),
      "one of half a minute from now",
      (lab, ada) => lab.code(ada, 1),
    ),
    badCode(
      "a code in the digits of another script",
      "CWE-1289",
      (lab, ada) => lab.code(ada).replace(/\d/g, (digit) => String.fromCodePoint(0x0660 + Number(digit))),
      "in ASCII",
    ),
    badCode("a code with a sign, as a number reads it", "CWE-1289", (lab, ada) => `+${lab.code(ada)}`, "without"),
    {
      name: "one code in several log-ins at once",
      reference: "CWE-362",
      sequence: async ({ accounts }) => {
        const ada = await accounts.person({ factor: true });
        const browsers = await Promise.all(Array.from({ length: 4 }, () => accounts.owing(ada)));
        const code = accounts.code(ada);
        const answers = await Promise.all(browsers.map((browser) => browser.factor(code)));
        return answers.map(({ status }) => status).sort();
      },
      outcome: { holds: "one is let in", evidence: [200, 401, 401, 401] },
    },
    badRecovery("a recovery code used twice", "V6.5.1", async (lab, ada) => {
      const [code = ""] = ada.recoveryCodes;
      await (await lab.owing(ada)).factor(code, "recovery");
      return code;
    }),
    badRecovery(
      "a recovery code of somebody else",
      "CWE-639",
      async (lab) => (await lab.person({ factor: true })).recoveryCodes[0],
    ),
    {
      name: "a recovery code of before the new ones",
      reference: "CWE-613",
      sequence: async ({ accounts }, twin) => {
        const ada = await accounts.person({ factor: true });
        const made = (await (await accounts.loggedIn(ada)).post("/account/recovery-codes")).json() as {
          recoveryCodes: string[];
        };
        const [code = ""] = twin ? made.recoveryCodes : ada.recoveryCodes;
        return (await accounts.owing(ada)).factor(code, "recovery");
      },
      outcome: REFUSED,
      twin: { differs: "one of the new ones", outcome: LET_IN },
    },
    {
      name: "one recovery code in several log-ins at once",
      reference: "CWE-362",
      sequence: async ({ accounts }) => {
        const ada = await accounts.person({ factor: true });
        const browsers = await Promise.all(Array.from({ length: 4 }, () => accounts.owing(ada)));
        const answers = await Promise.all(browsers.map((one) => one.factor(ada.recoveryCodes[0] ?? "", "recovery")));
        return answers.map(({ status }) => status).sort();
      },
      outcome: { holds: "one is let in", evidence: [200, 401, 401, 401] },
    },
    badPending(
      "a pending log-in in another browser",
      "CWE-488",
      (lab, _browser, ada) => lab.visitor().factor(lab.code(ada)),
      "the same browser",
    ),
    badPending("the secret of the cookie, sent in the body", "CWE-488", moved, "in the cookie"),
    {
      name: "the secret of the body, sent in the cookie",
      reference: "CWE-488",
      sequence: async ({ accounts }, twin) => {
        const ada = await accounts.person({ factor: true });
        const { pending } = (await accounts.visitor().logIn(ada, undefined, { deliver: "tokens" })).json() as {
          pending: string;
        };
        const browser = accounts.visitor();
        if (!twin) browser.cookies.set(PENDING, pending);
        return browser.factor(accounts.code(ada), "totp", twin ? { pending } : {});
      },
      outcome: REFUSED,
      twin: { differs: "in the body", outcome: LET_IN },
    },
    badPending(
      "a pending log-in after five minutes",
      "CWE-613",
      (lab, browser, ada) => {
        lab.clock.advance(300_000);
        return browser.factor(lab.code(ada));
      },
      "at once",
    ),
    badPending(
      "a pending log-in after a reset of the password",
      "CWE-613",
      async (lab, browser, ada) => {
        const token = await lab.resetToken(ada, 3);
        await lab.visitor().post("/account/password/reset", { token, password: `${ada.id} has a new long password` });
        return browser.factor(lab.code(ada));
      },
      "no reset",
    ),
    badPending(
      "a pending log-in after the person was disabled",
      "V7.4.2",
      (lab, browser, ada) => {
        const user = lab.users.get(ada.id);
        if (user !== undefined) lab.users.set(ada.id, { ...user, disabled: true });
        return browser.factor(lab.code(ada));
      },
      "not disabled",
    ),
    badPending(
      "a pending log-in that was finished, once more",
      "CWE-294",
      async (lab, browser, ada) => {
        const secret = browser.cookies.get(PENDING) ?? "";
        await browser.factor(lab.code(ada));
        lab.clock.advance(30_000);
        const again = lab.visitor();
        again.cookies.set(PENDING, secret);
        return again.factor(lab.code(ada));
      },
      "the first time",
    ),
    badPending(
      "a pending log-in after log-out",
      "V7.4.1",
      async (lab, browser, ada) => {
        const secret = browser.cookies.get(PENDING) ?? "";
        await browser.post("/account/logout");
        browser.cookies.set(PENDING, secret);
        return browser.factor(lab.code(ada));
      },
      "no log-out",
    ),
    {
      name: "the password named as the second factor",
      reference: "CWE-20",
      sequence: async ({ accounts }, twin) => {
        const ada = await accounts.person({ factor: true });
        return (await accounts.owing(ada)).factor(accounts.code(ada), twin ? "totp" : "pwd");
      },
      outcome: { refused: "invalid-request" },
      twin: { differs: "the name of the factor", outcome: LET_IN },
    },
    {
      name: "the last factor of someone who must have one, taken away",
      reference: "V6.3.3",
      sequence: async ({ accounts }, twin) => {
        const root = await accounts.person(twin ? {} : { roles: ["admin"] });
        const browser = twin ? await accounts.loggedIn(root) : await accounts.owing(root);
        await accounts.enrol(root, browser);
        const [factor] = await accounts.accounts.factors.list(root.id);
        return browser.delete(`/account/factors/${factor?.id}`);
      },
      outcome: { refused: "factor-needed" },
      twin: { differs: "nothing asks for one", outcome: { served: 204 } },
    },
    {
      name: "somebody else's factor, taken away",
      reference: "CWE-639",
      sequence: async ({ accounts }, twin) => {
        const [ada, eve] = [await accounts.person({ factor: true }), await accounts.person({ factor: true })];
        const [factor] = await accounts.accounts.factors.list(twin ? eve.id : ada.id);
        return (await accounts.loggedIn(eve)).delete(`/account/factors/${factor?.id}`);
      },
      outcome: { refused: "not-found" },
      twin: { differs: "their own", outcome: { served: 204 } },
    },
    {
      name: "a secret of a factor, or a code, in the list of factors",
      reference: "V15.3.1",
      sequence: async ({ accounts }) => {
        const ada = await accounts.person({ factor: true });
        const { text } = await (await accounts.loggedIn(ada)).get("/account/factors");
        return Object.keys((JSON.parse(text) as { factors: object[] }).factors[0] ?? {});
      },
      outcome: { holds: "id, kind, name and times alone", evidence: ["id", "method", "name", "createdAt", "usedAt"] },
    },
  ],
};
