import { SettingsError } from "portcullis";
import { type AccountsLab, NEW_PASSWORD, PENDING, type Someone } from "./accounts-app.js";
import type { Attack, Group, Outcome, Seen } from "./attack.js";
import { PASSWORD, SESSION, type Visitor } from "./visitor.js";

const STALE: Outcome = { refused: "reauthentication-required" };
const BEYOND: Outcome = { refused: "insufficient-scope" };
const NOBODY: Outcome = { refused: "missing-credentials" };
const LET_IN: Outcome = { served: 200 };
const FRESH_MS = 300_000;

type Json = Record<string, string>;

/** Somebody who is logged in does what needs a recent proof, five minutes later. The twin does it at once. */
const late = (
  name: string,
  reference: string,
  act: (browser: Visitor, lab: AccountsLab, ada: Someone) => Promise<Seen>,
  served = 200,
  factor = false,
): Attack => ({
  name,
  reference,
  sequence: async ({ accounts }, twin) => {
    const ada = await accounts.person({ factor });
    const browser = await accounts.loggedIn(ada);
    if (!twin) accounts.clock.advance(FRESH_MS);
    return act(browser, accounts, ada);
  },
  outcome: STALE,
  twin: { differs: "at once", outcome: { served } },
});

/** A session that was stolen before its owner changed something. */
const stolen = (
  name: string,
  reference: string,
  change: (owner: Visitor, lab: AccountsLab, ada: Someone) => Promise<unknown>,
): Attack => ({
  name,
  reference,
  sequence: async ({ accounts }, twin) => {
    const ada = await accounts.person();
    const [thief, owner] = [await accounts.loggedIn(ada), await accounts.loggedIn(ada)];
    if (!twin) await change(owner, accounts, ada);
    return thief.me();
  },
  outcome: NOBODY,
  twin: { differs: "nothing was changed", outcome: LET_IN },
});

export const accountStepUp: Group = {
  title: "Accounts: step-up, sessions, log-out",
  attacks: [
    late("a session left open", "V7.5.1", (browser) => browser.get("/fresh")),
    late("a session left open, to set up a factor of the attacker's", "V7.5.1", (browser) =>
      browser.post("/account/totp"),
    ),
    late(
      "a session left open, to make recovery codes",
      "V7.5.1",
      (browser) => browser.post("/account/recovery-codes"),
      201,
      true,
    ),
    late(
      "a session left open, to take the factor away",
      "V7.5.1",
      async (browser, lab, { id }) => {
        const [factor] = await lab.accounts.factors.list(id);
        return browser.delete(`/account/factors/${factor?.id}`);
      },
      204,
      true,
    ),
    {
      name: "a session made fresh by using it",
      reference: "auth0/auth0-server-python#161",
      sequence: async ({ accounts }, twin) => {
        const browser = await accounts.loggedIn(await accounts.person());
        for (let minute = 0; minute < (twin ? 4 : 5); minute += 1) {
          await browser.me();
          accounts.clock.advance(60_000);
        }
        return browser.get("/fresh");
      },
      outcome: STALE,
      twin: { differs: "after four minutes", outcome: LET_IN },
    },
    {
      name: "a token made fresh by a refresh",
      reference: "brandhaug/b2b-saas-starter#335",
      sequence: async ({ accounts }, twin) => {
        const ada = await accounts.person();
        const program = accounts.visitor();
        const first = (await program.logIn(ada, undefined, { deliver: "tokens" })).json() as Json;
        accounts.clock.advance(twin ? FRESH_MS - 1000 : FRESH_MS);
        const tokens = (await program.post("/tokens/refresh", { refreshToken: first["refreshToken"] })).json() as Json;
        return program.get("/fresh", { Authorization: `Bearer ${tokens["accessToken"]}` });
      },
      outcome: STALE,
      twin: { differs: "within the time", outcome: LET_IN },
    },
    {
      name: "a token made fresh by the password",
      reference: "RFC 9470 3",
      sequence: async ({ accounts }, twin) => {
        const ada = await accounts.person();
        const program = accounts.visitor();
        const { accessToken } = (await program.logIn(ada, undefined, { deliver: "tokens" })).json() as Json;
        const browser = twin ? await accounts.loggedIn(ada) : program;
        const headers = twin ? {} : { Authorization: `Bearer ${accessToken}` };
        return browser.post("/account/reauthenticate", { password: PASSWORD }, headers);
      },
      outcome: STALE,
      twin: { differs: "a session", outcome: LET_IN },
    },
    {
      name: "support acts as somebody, and changes their account",
      reference: "brandhaug/b2b-saas-starter#335",
      sequence: async ({ accounts }, twin) => {
        const browser = await accounts.loggedIn(await accounts.person());
        if (!twin) await browser.post(`/act-as/${(await accounts.person()).id}`);
        return browser.post("/account/totp");
      },
      outcome: BEYOND,
      twin: { differs: "as themselves", outcome: LET_IN },
    },
    {
      name: "support acts as somebody, and counts as their recent proof",
      reference: "brandhaug/b2b-saas-starter#335",
      sequence: async ({ accounts }, twin) => {
        const browser = await accounts.loggedIn(await accounts.person());
        if (!twin) await browser.post(`/act-as/${(await accounts.person()).id}`);
        return browser.get("/fresh");
      },
      outcome: BEYOND,
      twin: { differs: "as themselves", outcome: LET_IN },
    },
    {
      name: "a new API key as a recent proof",
      reference: "CWE-287",
      sequence: async ({ accounts }, twin) => {
        const browser = await accounts.loggedIn(await accounts.person());
        const { key } = (await browser.post("/keys", { name: "k" })).json() as Json;
        return twin ? browser.get("/fresh") : accounts.visitor().get("/fresh", { "X-API-Key": key });
      },
      outcome: BEYOND,
      twin: { differs: "the session that made it", outcome: LET_IN },
    },
    {
      name: "an API key on the routes of the account",
      reference: "CWE-269",
      sequence: async ({ accounts }, twin) => {
        const browser = await accounts.loggedIn(await accounts.person());
        const { key } = (await browser.post("/keys", { name: "k" })).json() as Json;
        const path = "/account/sessions";
        return twin ? browser.get(path) : accounts.visitor().get(path, { "X-API-Key": key });
      },
      outcome: BEYOND,
      twin: { differs: "the session that made it", outcome: LET_IN },
    },
    {
      name: "a recent proof by a token of another issuer",
      reference: "CWE-347",
      sequence: async ({ accounts, security }, twin) => {
        const ada = await accounts.person();
        const own = (await accounts.visitor().logIn(ada, undefined, { deliver: "tokens" })).json() as Json;
        const foreign = twin ? own["accessToken"] : await security.jwt.signAccessToken(ada.id);
        return accounts.visitor().get("/fresh", { Authorization: `Bearer ${foreign}` });
      },
      outcome: { refused: "invalid-credentials" },
      twin: { differs: "a token of this app", outcome: LET_IN },
    },
    {
      name: "the password in the place of a factor that was proved before",
      reference: "V6.3.4",
      sequence: async ({ accounts }, twin) => {
        const ada = await accounts.person({ factor: true });
        const browser = await accounts.loggedIn(ada);
        accounts.clock.advance(FRESH_MS);
        const proof = twin ? { method: "totp", code: accounts.code(ada) } : { password: PASSWORD };
        await browser.post("/account/reauthenticate", proof);
        return browser.get("/fresh");
      },
      outcome: STALE,
      twin: { differs: "a code", outcome: LET_IN },
    },
    {
      name: "one of two proofs that are asked for",
      reference: "V7.5.1",
      sequence: async ({ accounts }, twin) => {
        const ada = await accounts.person({ factor: true });
        const browser = await accounts.loggedIn(ada);
        accounts.clock.advance(FRESH_MS);
        await browser.post("/account/reauthenticate", { method: "totp", code: accounts.code(ada) });
        if (twin) await browser.post("/account/reauthenticate", { password: PASSWORD });
        return browser.get("/fresh-both");
      },
      outcome: STALE,
      twin: { differs: "both", outcome: LET_IN },
    },
    {
      name: "somebody else's code as a proof",
      reference: "CWE-639",
      sequence: async ({ accounts }, twin) => {
        const [ada, eve] = [await accounts.person({ factor: true }), await accounts.person({ factor: true })];
        const browser = await accounts.loggedIn(ada);
        const code = accounts.code(twin ? ada : eve);
        return browser.post("/account/reauthenticate", { method: "totp", code });
      },
      outcome: { refused: "invalid-credentials" },
      twin: { differs: "their own", outcome: LET_IN },
    },
    {
      name: "a guard whose proof is never recent enough, so that people learn to repeat their password",
      reference: "authup/authup#3233",
      sequence: async ({ accounts }, twin) => {
        try {
          accounts.accounts.requireFresh({ withinSeconds: twin ? 60 : 0 });
          return "made";
        } catch (error) {
          return error instanceof SettingsError ? error.issues.map(({ path }) => path) : error;
        }
      },
      outcome: { holds: "the start stops", evidence: ["withinSeconds"] },
      twin: { differs: "a minute", outcome: { holds: "made", evidence: "made" } },
    },
    {
      name: "the cookie of before a proof, used after it",
      reference: "V7.2.4",
      sequence: async ({ accounts }, twin) => {
        const browser = await accounts.loggedIn(await accounts.person());
        const before = browser.cookies.get(SESSION) ?? "";
        await browser.post("/account/reauthenticate", { password: PASSWORD });
        if (!twin) browser.cookies.set(SESSION, before);
        return browser.me();
      },
      outcome: NOBODY,
      twin: { differs: "the cookie of after it", outcome: LET_IN },
    },
    {
      name: "fixation: the victim logs in on a session that the attacker has begun",
      reference: "CWE-384",
      sequence: async ({ accounts }, twin) => {
        const ada = await accounts.person();
        const browser = accounts.visitor();
        await browser.post("/note");
        const planted = browser.cookies.get(SESSION) ?? "";
        await browser.logIn(ada);
        if (!twin) browser.cookies.set(SESSION, planted);
        return browser.me();
      },
      outcome: NOBODY,
      twin: { differs: "the cookie that the log-in gave", outcome: LET_IN },
    },
    {
      name: "fixation: the victim's browser has a pending log-in of the attacker",
      reference: "CWE-384",
      sequence: async ({ accounts }, twin) => {
        const [ada, eve] = [await accounts.person({ factor: true }), await accounts.person({ factor: true })];
        const browser = accounts.visitor();
        if (!twin) browser.cookies.set(PENDING, (await accounts.owing(eve)).cookies.get(PENDING) ?? "");
        await browser.logIn(ada);
        await browser.factor(accounts.code(ada));
        return ((await browser.me()).json() as Json)["id"] === ada.id;
      },
      outcome: { holds: "the victim is logged in as themselves", evidence: true },
      twin: { differs: "without it", outcome: { holds: "the same", evidence: true } },
    },
    stolen("a stolen session after the password was changed", "V7.4.3", (owner) =>
      owner.post("/account/password", { current: PASSWORD, password: NEW_PASSWORD }),
    ),
    stolen("a stolen session after a factor was set up", "V7.4.3", (owner, lab, ada) => lab.enrol(ada, owner)),
    stolen("a stolen session after support took the factors away", "V7.4.3", (_owner, lab, ada) =>
      lab.accounts.factors.resetAll(ada.id),
    ),
    stolen("a stolen session after its owner ended it", "V7.5.2", async (owner) => {
      const { sessions } = (await owner.get("/account/sessions")).json() as {
        sessions: { handle: string; isCurrent: boolean }[];
      };
      for (const { handle, isCurrent } of sessions) if (!isCurrent) await owner.delete(`/account/sessions/${handle}`);
    }),
    {
      name: "a new password without the old one",
      reference: "V6.2.3",
      sequence: async ({ accounts }, twin) => {
        const browser = await accounts.loggedIn(await accounts.person());
        const body = { password: NEW_PASSWORD, ...(twin ? { current: PASSWORD } : {}) };
        return browser.post("/account/password", body);
      },
      outcome: { refused: "invalid-credentials" },
      twin: { differs: "with it", outcome: { served: 204 } },
    },
    {
      name: "a new password by somebody who is disabled, in a session that was left",
      reference: "V7.4.2",
      sequence: async ({ accounts }, twin) => {
        const ada = await accounts.person({ factor: true });
        const browser = await accounts.loggedIn(ada);
        if (!twin) accounts.users.set(ada.id, { id: ada.id, login: ada.login, disabled: true });
        return browser.post("/account/recovery-codes");
      },
      outcome: NOBODY,
      twin: { differs: "not disabled", outcome: { served: 201 } },
    },
    {
      name: "the sessions of other people, listed",
      reference: "CWE-639",
      sequence: async ({ accounts }) => {
        const [ada, eve] = [await accounts.person(), await accounts.person()];
        await accounts.loggedIn(ada);
        const { sessions } = (await (await accounts.loggedIn(eve)).get("/account/sessions")).json() as {
          sessions: { isCurrent: boolean }[];
        };
        return sessions.map(({ isCurrent }) => isCurrent);
      },
      outcome: { holds: "one's own alone", evidence: [true] },
    },
    {
      name: "somebody else's session, ended",
      reference: "CWE-639",
      sequence: async ({ accounts }, twin) => {
        const [ada, eve] = [await accounts.person(), await accounts.person()];
        const [hers, mine] = [await accounts.loggedIn(ada), await accounts.loggedIn(eve)];
        const { sessions } = (await (twin ? mine : hers).get("/account/sessions")).json() as { sessions: Json[] };
        return mine.delete(`/account/sessions/${sessions[0]?.["handle"]}`);
      },
      outcome: { refused: "not-found" },
      twin: { differs: "one's own", outcome: { served: 204 } },
    },
    {
      name: "a session replayed after log-out",
      reference: "V7.4.1",
      sequence: async ({ accounts }, twin) => {
        const browser = await accounts.loggedIn(await accounts.person());
        const cookie = browser.cookies.get(SESSION) ?? "";
        if (!twin) await browser.post("/account/logout");
        browser.cookies.set(SESSION, cookie);
        return browser.me();
      },
      outcome: NOBODY,
      twin: { differs: "no log-out", outcome: LET_IN },
    },
    {
      name: "a token replayed after log-out",
      reference: "V7.4.1",
      sequence: async ({ accounts }, twin) => {
        const program = accounts.visitor();
        const tokens = (await program.logIn(await accounts.person(), undefined, { deliver: "tokens" })).json() as Json;
        const headers = { Authorization: `Bearer ${tokens["accessToken"]}` };
        if (!twin) await program.post("/account/logout", {}, headers);
        return program.get("/me", headers);
      },
      outcome: { refused: "invalid-credentials" },
      twin: { differs: "no log-out", outcome: LET_IN },
    },
    {
      name: "somebody else's log-in ended by a form of another site",
      reference: "CWE-352",
      sequence: async ({ accounts }, twin) => {
        const browser = await accounts.loggedIn(await accounts.person());
        const site = twin ? "same-origin" : "cross-site";
        return browser.post("/account/logout", {}, { "Sec-Fetch-Site": site });
      },
      outcome: { refused: "cross-origin-refused" },
      twin: { differs: "a form of ours", outcome: { served: 204 } },
    },
  ],
};
