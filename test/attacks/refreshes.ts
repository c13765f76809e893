import type { IssuedTokens } from "portcullis";
import { type Attack, type Group, json, MARK, type Outcome, SERVED } from "./attack.js";
import { refresh } from "./tokens.js";

const INVALID: Outcome = { refused: "invalid-credentials" };
const FORM: Outcome = { refused: "invalid-request" };

const body = (name: string, reference: string, make: (refreshToken: string) => unknown, outcome = FORM): Attack => ({
  name,
  reference,
  sequence: async (lab, twin) => {
    const { refreshToken } = await lab.tokens();
    return lab.send({ ...json(twin ? { refreshToken } : make(refreshToken)), path: "/tokens/refresh" });
  },
  outcome,
  twin: { differs: "the body is as it should be", outcome: SERVED },
});

export const refreshes: Group = {
  title: "Refresh tokens",
  attacks: [
    {
      name: "theft: the thief uses a token its owner has used",
      reference: "RFC 9700 4.14.2",
      sequence: async (lab, twin) => {
        const { refreshToken } = await lab.tokens();
        const next = (await refresh(lab, refreshToken)).json() as IssuedTokens;
        lab.clock.advance(60_000);
        return refresh(lab, twin ? next.refreshToken : refreshToken);
      },
      outcome: INVALID,
      twin: { differs: "the token is the newest", outcome: SERVED },
    },
    {
      name: "theft: the thief was first, the owner comes after",
      reference: "V10.4.5",
      sequence: async (lab, twin) => {
        const { refreshToken } = await lab.tokens();
        const stolen = (await refresh(lab, refreshToken)).json() as IssuedTokens;
        lab.clock.advance(60_000);
        if (!twin) await refresh(lab, refreshToken);
        return refresh(lab, stolen.refreshToken);
      },
      outcome: INVALID,
      twin: { differs: "the owner has not come back, so nothing shows", outcome: SERVED },
    },
    {
      name: "the access token of a thief who was found out",
      reference: "V10.4.5",
      sequence: async (lab, twin) => {
        const { refreshToken } = await lab.tokens();
        const stolen = (await refresh(lab, refreshToken)).json() as IssuedTokens;
        lab.clock.advance(60_000);
        if (!twin) await refresh(lab, refreshToken);
        return lab.send({ headers: { Authorization: `Bearer ${stolen.accessToken}` } });
      },
      outcome: INVALID,
      twin: { differs: "the owner has not come back", outcome: SERVED },
    },
    {
      name: "a grandparent within the grace of its child",
      reference: "django-oauth/django-oauth-toolkit#1617",
      sequence: async (lab, twin) => {
        const { refreshToken } = await lab.tokens();
        const child = (await refresh(lab, refreshToken)).json() as IssuedTokens;
        if (!twin) await refresh(lab, child.refreshToken);
        return refresh(lab, refreshToken);
      },
      outcome: INVALID,
      twin: { differs: "the child has not been used: a lost answer, given again", outcome: SERVED },
    },
    {
      name: "a race: twenty refreshes at once",
      reference: "CWE-362",
      sequence: async (lab) => {
        const { refreshToken } = await lab.tokens();
        const answers = await Promise.all(Array.from({ length: 20 }, () => refresh(lab, refreshToken)));
        const successors = new Set(answers.map((answer) => (answer.json() as IssuedTokens).refreshToken));
        return [
          new Set(answers.map(({ status }) => status)).size,
          answers[0]?.status,
          successors.size,
          (await refresh(lab, [...successors][0])).status,
        ];
      },
      outcome: { holds: "all get one successor, which works", evidence: [1, 200, 1, 200] },
    },
    {
      name: "kept alive beyond the absolute end by steady use",
      reference: "V10.4.8",
      sequence: async (lab, twin) => {
        let current = (await lab.tokens()).refreshToken;
        for (let day = 0; day < (twin ? 3 : 30); day += 1) {
          lab.clock.advance(86_400_000);
          const answer = await refresh(lab, current);
          if (answer.status !== 200) return answer;
          current = (answer.json() as IssuedTokens).refreshToken;
        }
        return refresh(lab, current);
      },
      outcome: INVALID,
      twin: { differs: "three days", outcome: SERVED },
    },
    {
      name: "which refresh tokens exist, by the answer",
      reference: "CWE-204",
      sequence: async (lab) => {
        const [used, revoked] = [await lab.tokens(), await lab.tokens()];
        await refresh(lab, used.refreshToken);
        await lab.security.jwt.revokeFamily(revoked.refreshToken);
        lab.clock.advance(60_000);
        const texts = new Set<string>();
        for (const each of ["x", `rt_${"A".repeat(22)}.${"A".repeat(43)}`, used.refreshToken, revoked.refreshToken]) {
          const { status, text } = await refresh(lab, each);
          texts.add(`${status} ${text}`);
        }
        return [texts.size, [...texts][0]?.slice(0, 3)];
      },
      outcome: { holds: "malformed, unknown, used, revoked: one answer", evidence: [1, "401"] },
    },
    body("an access token as refresh token", "V9.2.2", () => ({ refreshToken: "a.b.c" }), INVALID),
    body(
      "the right id with another secret",
      "CWE-347",
      (token) => ({ refreshToken: `${token.slice(0, 26)}${"A".repeat(43)}` }),
      INVALID,
    ),
    body("more scopes at refreshing", "CWE-269", (refreshToken) => ({ refreshToken, scope: `admin ${MARK}` })),
    body("an operator in place of a token", "CWE-943", () => ({ refreshToken: { $ne: MARK } })),
    body("a list in place of a token", "V15.3.5", (refreshToken) => ({ refreshToken: [refreshToken] })),
    body(
      "a token lent by the prototype",
      "CWE-1321",
      (refreshToken) => `{"__proto__":{"refreshToken":"${refreshToken}"}}`,
    ),
  ],
};
