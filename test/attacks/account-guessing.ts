import { type AccountsLab, DEVICE, MOST_FAILURES, type Someone, WRONG } from "./accounts-app.js";
import { type Attack, type Group, MARK, type Outcome, type Seen } from "./attack.js";
import { PASSWORD, SESSION, shown, type Visitor } from "./visitor.js";

const LIMITED: Outcome = { refused: "rate-limited" };
const LOCKED: Outcome = { refused: "too-many-failures" };
const REFUSED: Outcome = { refused: "invalid-credentials" };
const LET_IN: Outcome = { served: 200 };

/** Two ways to fail, which must look the same. The twin compares with a request that succeeds, and sees the difference. */
const oracle = (
  name: string,
  reference: string,
  ask: (lab: AccountsLab) => Promise<readonly [one: Seen, other: Seen]>,
  twin?: (lab: AccountsLab) => Promise<readonly [one: Seen, other: Seen]>,
): Attack => ({
  name,
  reference,
  sequence: async ({ accounts }, isTwin) => {
    const [one, other] = await (isTwin && twin !== undefined ? twin(accounts) : ask(accounts));
    return shown(one) === shown(other);
  },
  outcome: { holds: "the same answer: status, headers, cookies and body", evidence: true },
  ...(twin === undefined
    ? {}
    : { twin: { differs: "the proof is right", outcome: { holds: "another answer", evidence: false } } }),
});

/** A log-in that fails for a reason, beside one with a wrong password. */
const silent = (
  name: string,
  make: (lab: AccountsLab) => Promise<readonly [login: string, password: string]>,
): Attack =>
  oracle(
    name,
    "CWE-204",
    async (lab) => {
      const [login, password] = await make(lab);
      return [await lab.visitor().logIn({ login }, password), await lab.visitor().logIn(await lab.person(), WRONG)];
    },
    async (lab) => {
      const ada = await lab.person();
      return [await lab.visitor().logIn(ada), await lab.visitor().logIn(ada, WRONG)];
    },
  );

async function guess(visitors: () => Visitor, { login }: Pick<Someone, "login">, times: number): Promise<void> {
  for (let tries = 0; tries < times; tries += 1) await visitors().logIn({ login }, WRONG);
}

/** Wrong proofs, and then the right one. The twin has fewer wrong ones. */
const guesses = (
  name: string,
  reference: string,
  times: { readonly attack: number; readonly twin: number },
  play: (lab: AccountsLab, times: number) => Promise<Seen>,
  { outcome = LIMITED, served = 200 }: { outcome?: Outcome; served?: number } = {},
): Attack => ({
  name,
  reference,
  sequence: ({ accounts }, twin) => play(accounts, twin ? times.twin : times.attack),
  outcome,
  twin: { differs: `${times.twin} wrong ones before the right one`, outcome: { served } },
});

/** Strangers have used up the password of someone. A visitor comes with the right one, and a cookie of a device. */
const device = (
  name: string,
  reference: string,
  spoil: (cookie: string, lab: AccountsLab) => string | Promise<string>,
): Attack => ({
  name,
  reference,
  sequence: async ({ accounts }, twin) => {
    const ada = await accounts.person();
    const cookie = (await accounts.loggedIn(ada)).cookies.get(DEVICE) ?? "";
    await guess(() => accounts.visitor(), ada, MOST_FAILURES);
    const visitor = accounts.visitor();
    visitor.cookies.set(DEVICE, twin ? cookie : await spoil(cookie, accounts));
    return visitor.logIn(ada);
  },
  outcome: LIMITED,
  twin: { differs: "the cookie as the owner has it", outcome: LET_IN },
});

const changeAt = (text: string, index: number): string =>
  `${text.slice(0, index)}${text[index] === "A" ? "B" : "A"}${text.slice(index + 1)}`;

async function disabled(lab: AccountsLab): Promise<Someone> {
  const ada = await lab.person();
  lab.users.set(ada.id, { id: ada.id, login: ada.login, disabled: true });
  return ada;
}

export const accountGuessing: Group = {
  title: "Accounts: what answers tell, and guessing",
  attacks: [
    silent("which names exist, by a log-in", async (lab) => [lab.newLogin(), WRONG]),
    silent("who is disabled, by a log-in with the right password", async (lab) => [
      (await disabled(lab)).login,
      PASSWORD,
    ]),
    silent("who has a second factor, by a log-in with a wrong password", async (lab) => [
      (await lab.person({ factor: true })).login,
      WRONG,
    ]),
    silent("who has no password, by a log-in", async (lab) => {
      const ada = await lab.person();
      await lab.accounts.passwords.remove(ada.id);
      return [ada.login, WRONG];
    }),
    silent("which names exist, by a password of sixteen thousand characters", async (lab) => [
      (await lab.person()).login,
      "x".repeat(16_000),
    ]),
    {
      name: "which names exist, by the work of a log-in",
      reference: "CWE-208",
      sequence: async ({ accounts }, twin) => {
        const { login } = await accounts.person();
        const before = accounts.compared;
        await accounts.visitor().logIn({ login: twin ? login : accounts.newLogin() }, WRONG);
        return accounts.compared - before;
      },
      outcome: { holds: "one hash for a name that nobody has", evidence: 1 },
      twin: { differs: "a name that somebody has", outcome: { holds: "one hash", evidence: 1 } },
    },
    {
      name: "which names exist, by how long the disk takes",
      reference: "CWE-208",
      sequence: async ({ accounts }, twin) => {
        const { login } = await accounts.person();
        const before = accounts.written;
        await accounts.visitor().logIn({ login: twin ? login : accounts.newLogin() }, WRONG);
        return accounts.written - before;
      },
      outcome: { holds: "one record changed for a name that nobody has", evidence: 1 },
      twin: { differs: "a name that somebody has", outcome: { holds: "one record changed", evidence: 1 } },
    },
    oracle("which names exist, by asking for a new password", "CWE-204", async (lab) => [
      await lab.visitor().post("/account/password/forgot", { login: lab.newLogin() }),
      await lab.visitor().post("/account/password/forgot", { login: (await lab.person()).login }),
    ]),
    oracle("who is disabled, by asking for a new password", "CWE-204", async (lab) => [
      await lab.visitor().post("/account/password/forgot", { login: (await disabled(lab)).login }),
      await lab.visitor().post("/account/password/forgot", { login: (await lab.person()).login }),
    ]),
    oracle("which names exist, by registering them", "CWE-204", async (lab) => [
      await lab.visitor().post("/account/register", { login: lab.newLogin(), password: PASSWORD }),
      await lab.visitor().post("/account/register", { login: (await lab.person()).login, password: PASSWORD }),
    ]),
    oracle("which links were real, by using them", "CWE-204", async (lab) => {
      const token = await lab.resetToken(await lab.person());
      const body = { token, password: PASSWORD };
      await lab.visitor().post("/account/password/reset", body);
      const never = { token: token.replace(/^.{8}/, "AAAAAAAA"), password: PASSWORD };
      const [used, unknown] = [
        await lab.visitor().post("/account/password/reset", body),
        await lab.visitor().post("/account/password/reset", never),
      ];
      return [used, unknown];
    }),
    oracle(
      "whether a code was right but used, by sending it again",
      "CWE-204",
      async (lab) => {
        const ada = await lab.person({ factor: true });
        const code = lab.code(ada);
        await (await lab.owing(ada)).factor(code);
        return [await (await lab.owing(ada)).factor(code), await (await lab.owing(ada)).factor(lab.wrongCode(ada))];
      },
      async (lab) => {
        const ada = await lab.person({ factor: true });
        return [
          await (await lab.owing(ada)).factor(lab.wrongCode(ada)),
          await (await lab.owing(ada)).factor(lab.code(ada)),
        ];
      },
    ),
    guesses("passwords guessed one after the other", "CWE-307", { attack: 10, twin: 9 }, async (lab, times) => {
      const [ada, eve] = [await lab.person(), lab.visitor()];
      await guess(() => eve, ada, times);
      return eve.logIn(ada);
    }),
    guesses(
      "the address in other words before the proxy's, for each guess",
      "CWE-348",
      { attack: 10, twin: 9 },
      async (lab, times) => {
        const [ada, address] = [await lab.person(), lab.anotherAddress()];
        let tries = 0;
        await guess(() => lab.visitor(`203.0.113.${(tries += 1)}, ${address}`), ada, times);
        return lab.visitor(address).logIn(ada);
      },
    ),
    guesses("the name in other spellings, for each guess", "CWE-178", { attack: 10, twin: 9 }, async (lab, times) => {
      const [ada, eve] = [await lab.person(), lab.visitor()];
      const spell = (at: number): string => ada.login.slice(0, at) + ada.login.slice(at).toUpperCase();
      for (let tries = 0; tries < times; tries += 1) await eve.logIn({ login: spell(tries) }, WRONG);
      return eve.logIn(ada);
    }),
    guesses("one password tried on many names", "CWE-307", { attack: 20, twin: 19 }, async (lab, times) => {
      const [ada, eve] = [await lab.person(), lab.visitor()];
      for (let tries = 0; tries < times; tries += 1) await eve.logIn({ login: lab.newLogin() });
      return eve.logIn(ada);
    }),
    guesses(
      "passwords guessed from many addresses",
      "V6.3.1",
      { attack: MOST_FAILURES, twin: MOST_FAILURES - 1 },
      async (lab, times) => {
        const ada = await lab.person();
        await guess(() => lab.visitor(), ada, times);
        return lab.visitor().logIn(ada);
      },
    ),
    guesses(
      "passwords guessed slowly, a few a day",
      "CWE-307",
      { attack: MOST_FAILURES, twin: MOST_FAILURES - 1 },
      async (lab, times) => {
        const ada = await lab.person();
        for (let tries = 0; tries < times; tries += 1) {
          await lab.visitor().logIn(ada, WRONG);
          lab.clock.advance(28_800_000);
        }
        lab.clock.advance(31 * 86_400_000);
        return lab.visitor().logIn(ada);
      },
      { outcome: REFUSED },
    ),
    {
      name: "a hundred guesses at once",
      reference: "GeorgeHulpoi/payload-totp#74",
      sequence: async ({ accounts }) => {
        const ada = await accounts.person();
        const before = accounts.comparedWithReal;
        await Promise.all(Array.from({ length: 100 }, () => accounts.visitor().logIn(ada, WRONG)));
        return accounts.comparedWithReal - before <= MOST_FAILURES;
      },
      outcome: { holds: "no more than fifty are compared with the password", evidence: true },
    },
    guesses("the password guessed with a stolen session", "CWE-307", { attack: 10, twin: 9 }, async (lab, times) => {
      const browser = await lab.loggedIn(await lab.person());
      for (let tries = 0; tries < times; tries += 1) await browser.post("/account/reauthenticate", { password: WRONG });
      return browser.post("/account/reauthenticate", { password: PASSWORD });
    }),
    guesses(
      "the password guessed by changing it",
      "CWE-307",
      { attack: 10, twin: 9 },
      async (lab, times) => {
        const browser = await lab.loggedIn(await lab.person());
        const password = `a new password ${MARK}`;
        for (let tries = 0; tries < times; tries += 1)
          await browser.post("/account/password", { current: WRONG, password });
        return browser.post("/account/password", { current: PASSWORD, password });
      },
      { served: 204 },
    ),
    guesses(
      "the password of a registration guessed with its link",
      "CWE-307",
      { attack: 10, twin: 9 },
      async (lab, times) => {
        const token = await lab.registration(lab.visitor(), lab.newLogin());
        const eve = lab.visitor();
        for (let tries = 0; tries < times; tries += 1)
          await eve.post("/account/email/verify", { token, password: WRONG });
        return eve.post("/account/email/verify", { token, password: PASSWORD });
      },
    ),
    {
      name: "strangers lock the owner out",
      reference: "CWE-645",
      sequence: async ({ accounts }, twin) => {
        const ada = await accounts.person();
        const own = await accounts.loggedIn(ada);
        own.cookies.delete(SESSION);
        await guess(() => accounts.visitor(), ada, MOST_FAILURES);
        return (await (twin ? accounts.visitor() : own).logIn(ada)).status;
      },
      outcome: { holds: "the owner gets in with a device that is known", evidence: 200 },
      twin: { differs: "a device that is not known", outcome: { holds: "nobody else does", evidence: 429 } },
    },
    {
      name: "strangers lock out an owner who has logged out",
      reference: "CWE-645",
      sequence: async ({ accounts }, twin) => {
        const ada = await accounts.person();
        const own = await accounts.loggedIn(ada);
        await own.post("/account/logout");
        await guess(() => accounts.visitor(), ada, MOST_FAILURES);
        return (await (twin ? accounts.visitor() : own).logIn(ada)).status;
      },
      outcome: { holds: "the owner gets in with a device that is known", evidence: 200 },
      twin: { differs: "a device that is not known", outcome: { holds: "nobody else does", evidence: 429 } },
    },
    {
      name: "strangers lock out an owner who logs in with the address in place of the name",
      reference: "CWE-645",
      sequence: async ({ accounts }, twin) => {
        const email = accounts.newLogin();
        const ada = await accounts.person({ email, emailVerified: !twin });
        const own = await accounts.loggedIn(ada);
        own.cookies.delete(SESSION);
        await guess(() => accounts.visitor(), { login: email }, MOST_FAILURES);
        return (await own.logIn({ login: email })).status;
      },
      outcome: { holds: "the owner gets in with a device that is known", evidence: 200 },
      twin: {
        differs: "an address that nobody has verified",
        outcome: { holds: "it may be somebody else's: the device is not known for it", evidence: 429 },
      },
    },
    device("a known device, with its id changed", "CWE-347", (cookie) => changeAt(cookie, 0)),
    device("a known device, with its signatures changed", "CWE-347", (cookie) =>
      [30, 70, 120].reduce(changeAt, cookie),
    ),
    device(
      "a known device of the attacker's own account",
      "CWE-639",
      async (_cookie, lab) => (await lab.loggedIn(await lab.person())).cookies.get(DEVICE) ?? "",
    ),
    device("the id of a known device with the signatures of another", "CWE-347", async (cookie, lab) => {
      const other = (await lab.loggedIn(await lab.person())).cookies.get(DEVICE) ?? "";
      return `${cookie.slice(0, 22)}${other.slice(22)}`;
    }),
    guesses(
      "passwords guessed with a stolen device",
      "CWE-307",
      { attack: MOST_FAILURES, twin: 9 },
      async (lab, times) => {
        const ada = await lab.person();
        const cookie = (await lab.loggedIn(ada)).cookies.get(DEVICE) ?? "";
        const stolen = (): Visitor => {
          const visitor = lab.visitor();
          visitor.cookies.set(DEVICE, cookie);
          return visitor;
        };
        await guess(stolen, ada, times);
        return stolen().logIn(ada);
      },
    ),
    {
      name: "a known device in the place of a session",
      reference: "CWE-287",
      sequence: async ({ accounts }, twin) => {
        const browser = await accounts.loggedIn(await accounts.person());
        if (!twin) browser.cookies.delete(SESSION);
        return browser.me();
      },
      outcome: { refused: "missing-credentials" },
      twin: { differs: "with the session", outcome: LET_IN },
    },
    guesses(
      "codes guessed over many log-ins",
      "eugenioenko/autentico#360",
      { attack: 5, twin: 4 },
      async (lab, times) => {
        const ada = await lab.person({ factor: true });
        for (let tries = 0; tries < times; tries += 1) await (await lab.owing(ada)).factor(lab.wrongCode(ada));
        return (await lab.owing(ada)).factor(lab.code(ada));
      },
      { outcome: LOCKED },
    ),
    {
      name: "twenty codes guessed at once",
      reference: "GeorgeHulpoi/payload-totp#74",
      sequence: async ({ accounts }) => {
        const ada = await accounts.person({ factor: true });
        const browser = await accounts.owing(ada);
        const code = accounts.wrongCode(ada);
        const answers = await Promise.all(Array.from({ length: 20 }, () => browser.factor(code)));
        return answers.filter(({ status }) => status === 401).length;
      },
      outcome: { holds: "five are looked at", evidence: 5 },
    },
    guesses(
      "codes guessed between the log-ins of their owner",
      "pypi/warehouse#8456",
      { attack: 3, twin: 2 },
      async (lab, rounds) => {
        const ada = await lab.person({ factor: true });
        for (let round = 0; round < rounds; round += 1) {
          for (let tries = 0; tries < 4; tries += 1) await (await lab.owing(ada)).factor(lab.wrongCode(ada));
          await (await lab.owing(ada)).factor(lab.code(ada));
          lab.clock.advance(30_000);
        }
        return (await lab.owing(ada)).factor(lab.code(ada));
      },
      { outcome: LOCKED },
    ),
    guesses(
      "codes guessed, and the failures wiped out by a reset",
      "CWE-307",
      { attack: 5, twin: 4 },
      async (lab, times) => {
        const ada = await lab.person({ factor: true });
        for (let tries = 0; tries < times; tries += 1) await (await lab.owing(ada)).factor(lab.wrongCode(ada));
        const token = await lab.resetToken(ada, times === 5 ? 4 : 3);
        const browser = lab.visitor();
        await browser.post("/account/password/reset", { token, password: `${ada.id} has a new long password` });
        return browser.factor(lab.code(ada));
      },
      { outcome: LOCKED },
    ),
  ],
};
