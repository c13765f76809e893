import { COOKIE, cookieOf, type Lab } from "./app.js";
import { type Ask, type Attack, type Group, MARK, type Outcome, SERVED } from "./attack.js";

const UNKNOWN: Outcome = { refused: "missing-credentials" };

const withCookie = (cookie: string, more: Ask = {}): Ask => ({ ...more, headers: { Cookie: cookie, ...more.headers } });

/** A cookie that is not quite the one given. */
const spoilt = (
  name: string,
  reference: string,
  spoil: (cookie: string, lab: Lab) => string | Promise<string>,
  outcome = UNKNOWN,
): Attack => ({
  name,
  reference,
  sequence: async (lab, twin) => {
    const cookie = await lab.logIn();
    return lab.send(withCookie(twin ? cookie : await spoil(cookie, lab)));
  },
  outcome,
  twin: { differs: "the cookie is as it was given", outcome: SERVED },
});

/** Logs in, does something, and comes back with the old cookie. */
const replay = (
  name: string,
  reference: string,
  happens: (lab: Lab, cookie: string) => unknown,
  differs: string,
): Attack => ({
  name,
  reference,
  sequence: async (lab, twin) => {
    const cookie = await lab.logIn();
    if (!twin) await happens(lab, cookie);
    return lab.send(withCookie(cookie));
  },
  outcome: UNKNOWN,
  twin: { differs, outcome: SERVED },
});

const logOut = (lab: Lab, cookie: string): Promise<unknown> =>
  lab.send(withCookie(cookie, { method: "POST", path: "/logout" }));

export const sessions: Group = {
  title: "Sessions and cookies",
  attacks: [
    {
      name: "fixation: the victim logs in on a session the attacker has begun",
      reference: "CWE-384",
      sequence: async (lab, twin) => {
        const planted = cookieOf(await lab.send({ method: "POST", path: "/note" }));
        const mine = await lab.logIn("ada", { Cookie: planted });
        return lab.send(withCookie(twin ? mine : planted));
      },
      outcome: UNKNOWN,
      twin: { differs: "the cookie is the one given at log-in", outcome: SERVED },
    },
    {
      name: "fixation: the victim logs in with an id the attacker has made up",
      reference: "V7.2.4",
      sequence: async (lab) => {
        const planted = `${COOKIE}=s%3A${"a".repeat(32)}.${"A".repeat(43)}`;
        const mine = await lab.logIn("ada", { Cookie: planted });
        return [
          mine.includes("a".repeat(32)),
          (await lab.send(withCookie(planted))).status,
          (await lab.send(withCookie(mine))).status,
        ];
      },
      outcome: { holds: "the id is not adopted", evidence: [false, 401, 200] },
    },
    replay("replay after log-out", "V7.4.1", logOut, "no log-out"),
    replay("replay after an hour without use", "V7.3.1", (lab) => lab.clock.advance(3_600_000), "no hour"),
    replay(
      "replay after another log-in on the same session",
      "V7.2.4",
      (lab, cookie) => lab.logIn("ada", { Cookie: cookie }),
      "no second log-in",
    ),
    replay(
      "replay after all sessions of the user were ended",
      "V7.4.2",
      (lab) => lab.security.sessions.end("ada"),
      "they were not ended",
    ),
    {
      name: "kept alive beyond the absolute end by steady use",
      reference: "V7.3.2",
      sequence: async (lab, twin) => {
        const cookie = await lab.logIn();
        // Every half hour; an absolute life is as long as the settings say.
        for (let halfHours = 0; halfHours < (twin ? 4 : 200); halfHours += 1) {
          lab.clock.advance(1_800_000);
          const answer = await lab.send(withCookie(cookie));
          if (answer.status !== 200) return answer;
        }
        return lab.send(withCookie(cookie));
      },
      outcome: UNKNOWN,
      twin: { differs: "two hours of use", outcome: SERVED },
    },
    {
      name: "a slow request brings the session back after log-out",
      reference: "expressjs/session#632",
      sequence: async (lab, twin) => {
        const cookie = await lab.logIn();
        let letGo = (): void => undefined;
        lab.gate = new Promise((resolve) => (letGo = resolve));
        const slow = lab.send(withCookie(cookie, { path: "/hold" }));
        // The slow one has its session when a request sent after it is answered.
        await lab.send(withCookie(cookie));
        if (!twin) await logOut(lab, cookie);
        letGo();
        await slow;
        return lab.send(withCookie(cookie));
      },
      outcome: UNKNOWN,
      twin: { differs: "no log-out meanwhile", outcome: SERVED },
    },
    spoilt("cookie tossing: a second cookie of our name", "V3.3.3", (cookie) => `${COOKIE}=${MARK}; ${cookie}`, {
      refused: "ambiguous-credentials",
    }),
    spoilt(
      "cookie tossing: the attacker's own session beside the victim's",
      "RFC 6265 8.6",
      async (cookie, lab) => `${cookie}; ${await lab.logIn("mallory")}`,
      { refused: "ambiguous-credentials" },
    ),
    spoilt("a cookie without its prefix, which a subdomain can set", "V3.3.1", (cookie) =>
      cookie.replace("__Host-", ""),
    ),
    spoilt("a cookie whose prefix is in another case", "V3.3.1", (cookie) => cookie.replace("__Host-", "__host-")),
    spoilt("a cookie without a name, whose value reads as ours", "CVE-2022-2860", (cookie) => `=${cookie}`),
    spoilt("a cookie of another name that ends in ours", "CWE-187", (cookie) => `x${cookie}`),
    spoilt("a signature with one character changed", "CWE-347", (cookie) =>
      cookie.replace(/.$/, (last) => (last === "A" ? "B" : "A")),
    ),
    spoilt("an id without a signature", "CWE-347", (cookie) => cookie.slice(0, cookie.lastIndexOf("."))),
    spoilt("another spelling of the same bytes", "CWE-1289", (cookie) => cookie.replace("s%3A", "s%3a")),
    spoilt("a cookie in quotes", "CWE-1289", (cookie) => cookie.replace(/=(.*)$/, '="$1"')),
    spoilt("a session in an object's clothes", "CWE-502", () => `${COOKIE}=${encodeURIComponent(`j:{"${MARK}":1}`)}`),
    {
      name: "a session in the query",
      reference: "CWE-598",
      sequence: async (lab, twin) => {
        const cookie = await lab.logIn();
        return lab.send(twin ? withCookie(cookie) : { path: `/guarded?${cookie}` });
      },
      outcome: UNKNOWN,
      twin: { differs: "in the cookie", outcome: SERVED },
    },
    {
      name: "a session and a key of somebody else in one request",
      reference: "RFC 6750 2",
      sequence: async (lab, twin) => {
        const cookie = await lab.logIn();
        const { key } = await lab.key({ ownerId: "mallory" });
        return lab.send(withCookie(cookie, { headers: twin ? {} : { "X-API-Key": key } }));
      },
      outcome: { refused: "ambiguous-credentials" },
      twin: { differs: "without the key", outcome: SERVED },
    },
    {
      name: "a session reaches for scopes it was not given",
      reference: "V8.2.1",
      sequence: async (lab, twin) =>
        lab.send(withCookie(await lab.logIn(twin ? "ada" : "mallory"), { path: "/orders" })),
      outcome: { refused: "insufficient-scope" },
      twin: { differs: "the user has the scope", outcome: SERVED },
    },
    {
      name: "the browser keeps what the logged-out user saw",
      reference: "V14.3.1",
      sequence: async (lab) => {
        const { headers } = (await logOut(lab, await lab.logIn())) as Awaited<ReturnType<Lab["send"]>>;
        return [
          headers["clear-site-data"],
          headers["cache-control"],
          headers["set-cookie"]?.[0]?.slice(0, COOKIE.length + 12),
        ];
      },
      outcome: {
        holds: "Clear-Site-Data, no-store, cookie taken back",
        evidence: ['"cache", "cookies", "storage"', "no-store", `${COOKIE}=; Max-Age=0`],
      },
    },
  ],
};
