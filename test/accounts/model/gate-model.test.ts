import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { runs } from "../../property/seed.js";
import { inCi } from "../../support/in-ci.js";
import { Browser, isRequired, PASSWORD, type People, World } from "./world.js";

/** CI runs them all; elsewhere the seed is a new one in each run, so that many runs try what one does not. */
const SEQUENCES = inCi ? 10_000 : 1000;

/** Who acts: a person who knows everything of their own, or someone who has stolen every password and reads every mail. */
type Actor = "honest" | "thief";
type Name = keyof People;

interface Step {
  readonly actor: Actor;
  readonly browser: 0 | 1;
  readonly name: Name;
  readonly what: (typeof ACTIONS)[number];
  readonly variant: number;
}

const ACTIONS = [
  "log in",
  "log in for tokens",
  "wrong password",
  "prove a factor",
  "replay a code",
  "wrong code",
  "recovery code",
  "another's recovery code",
  "begin TOTP",
  "confirm TOTP",
  "confirm with a wrong code",
  "new recovery codes",
  "remove a factor",
  "reset",
  "old reset link",
  "change password",
  "log out",
  "prove again",
  "token from session",
  "back door",
  "back door for a token",
  "refresh",
  "make a key",
  "register",
  "confirm a registration",
  "end a session",
  "take the other's cookies",
  "pending as a cookie",
  "cookie as pending",
  "wait",
] as const;

const step = fc.record<Step>({
  actor: fc.constantFrom("honest", "thief", "thief"),
  browser: fc.constantFrom(0, 1),
  name: fc.constantFrom("ada", "ada", "bob", "root", "eve", "rootEve"),
  what: fc.constantFrom(...ACTIONS),
  variant: fc.nat(3),
});

/** Ways of the honest: the steps drawn by lot seldom take one to its end. */
const straight = (name: Name, ways: readonly Step["what"][]): Step[] =>
  ways.map((what) => ({ actor: "honest", browser: 0, name, what, variant: 0 }));
const STRAIGHT_IN = ["log in", "prove a factor", "token from session", "make a key"] as const;
const STRAIGHT_NEW = ["register", "confirm a registration", "begin TOTP", "confirm TOTP", "make a key"] as const;

const SECOND = ["totp", "recovery", "webauthn"];

/** What happened so far in one sequence. */
class Run {
  readonly honest: readonly Browser[];
  readonly thief: readonly Browser[];
  /** Codes that a shoulder surfer has seen, after they were used. */
  readonly seen: string[] = [];
  readonly recovery = new Map<string, string[]>();
  readonly oldLinks: string[] = [];
  /** People who have, or had, a second factor: nobody else can have proved one. */
  readonly everHad = new Set<string>();
  /** How many keys were made. */
  keys = 0;
  /** A factor that the thief has set up for a person who had none: from then on it is the thief's account. */
  readonly stolen = new Set<string>();
  /** The secret that a browser was given and has not confirmed. */
  readonly begun = new Map<Browser, { readonly id: string; readonly secret: string }>();

  constructor(
    readonly world: World,
    readonly people: People,
  ) {
    this.honest = [new Browser(world, "192.0.2.10"), new Browser(world, "192.0.2.11")];
    this.thief = [new Browser(world, "203.0.113.10"), new Browser(world, "203.0.113.11")];
  }

  async take({ actor, browser, name, what, variant }: Step): Promise<void> {
    const id = this.people[name];
    const mine = actor === "honest" ? this.honest : this.thief;
    const client = mine[browser] as Browser;
    const other = mine[1 - browser] as Browser;
    const by = variant % 2 === 0 ? "cookies" : "token";
    const pending = variant < 2 || client.pending === undefined ? {} : { pending: client.pending };
    /** The thief knows the codes of a person only after having set up the factor. */
    const knows = actor === "honest" ? !this.stolen.has(id) : this.stolen.has(id);
    switch (what) {
      case "log in":
        return void (await client.post("/account/login", { login: id, password: PASSWORD }));
      case "log in for tokens":
        return void (await client.post("/account/login", { login: id, password: PASSWORD, deliver: "tokens" }));
      case "wrong password":
        return void (await client.post("/account/login", { login: id, password: "not the password" }));
      case "prove a factor": {
        const code = knows ? this.world.code(id) : "123456";
        const { status } = await client.post("/account/login/factor", { method: "totp", code, ...pending });
        if (status === 200) this.seen.push(code);
        return;
      }
      case "replay a code": {
        const code = this.seen[variant % Math.max(1, this.seen.length)] ?? "654321";
        const got = await client.post("/account/login/factor", { method: "totp", code, ...pending });
        expect(got.status, "a code that was used works again").not.toBe(200);
        return;
      }
      case "wrong code":
        return void (await client.post("/account/login/factor", { method: "totp", code: "000000", ...pending }));
      case "recovery code": {
        const code = knows ? this.recovery.get(id)?.pop() : undefined;
        const body = { method: "recovery", code: code ?? "0000-0000-0000-0000-0000-0000", ...pending };
        return void (await client.post("/account/login/factor", body));
      }
      case "another's recovery code": {
        const code = this.recovery.get(this.people.bob)?.[0] ?? "AAAA-AAAA-AAAA-AAAA-AAAA-AAAA";
        if (name === "bob") return;
        return void (await client.post("/account/login/factor", { method: "recovery", code, ...pending }));
      }
      case "begin TOTP": {
        const { status, body } = await client.post("/account/totp", pending, by);
        // Whose it is, only the confirmation tells.
        if (status === 200) this.begun.set(client, { id, secret: String(body.secret) });
        return;
      }
      case "confirm TOTP":
      case "confirm with a wrong code": {
        const begun = this.begun.get(client);
        const before = this.world.secrets.get(id);
        if (begun !== undefined) this.world.secrets.set("trial", begun.secret);
        const code = what === "confirm TOTP" && begun !== undefined ? this.world.code("trial") : "111111";
        const owners = await this.withFactor();
        const { status, body } = await client.post("/account/totp/confirm", { code, ...pending }, by);
        if (status !== 200 || begun === undefined) return;
        const now = await this.withFactor();
        const owner = [...now].find((one) => !owners.has(one)) ?? (await this.ownerOf(client, by)) ?? id;
        expect(before === undefined || owner !== undefined).toBe(true);
        this.world.secrets.set(owner, begun.secret);
        this.seen.push(code);
        if (actor === "thief") this.stolen.add(owner);
        else this.stolen.delete(owner);
        if (Array.isArray(body.recoveryCodes)) this.recovery.set(owner, body.recoveryCodes as string[]);
        return;
      }
      case "new recovery codes": {
        const owner = await this.ownerOf(client, by);
        const { status, body } = await client.post("/account/recovery-codes", {}, by);
        if (status === 201 && owner !== undefined) this.recovery.set(owner, body.recoveryCodes as string[]);
        return;
      }
      case "remove a factor": {
        const { body } = await client.get("/account/factors", by);
        const factors = (body.factors ?? []) as { id: string; method: string }[];
        const path = `/account/factors/${factors.find(({ method }) => method === "totp")?.id ?? "none"}`;
        if (variant < 2) await client.delete(path, by);
        else await client.post(`${path}/remove`, {}, by);
        return;
      }
      case "reset":
      case "old reset link": {
        if (what === "reset") {
          await client.post("/account/password/forgot", { login: id });
          // The notice is sent after the answer.
          await mail(() => this.world.links.has(id));
        }
        const token =
          what === "reset" ? this.world.links.get(id) : this.oldLinks[variant % Math.max(1, this.oldLinks.length)];
        if (token === undefined) return;
        const got = await client.post("/account/password/reset", { token, password: PASSWORD });
        if (what === "old reset link") expect(got.status, "a link that was used works again").not.toBe(200);
        if (got.status === 200) this.oldLinks.push(token);
        this.world.links.delete(id);
        return;
      }
      case "change password":
        return void (await client.post("/account/password", { current: PASSWORD, password: PASSWORD }, by));
      case "log out":
        return void (await client.post("/account/logout", pending, by));
      case "prove again": {
        const proof =
          variant % 2 === 0 ? { password: PASSWORD } : { method: "totp", code: knows ? this.world.code(id) : "123456" };
        return void (await client.post("/account/reauthenticate", proof));
      }
      case "token from session":
        return void (await client.post("/token", {}, by));
      case "register":
        await client.post("/account/register", { login: id, password: PASSWORD });
        // A name that is taken gets no link.
        return mail(() => this.world.registrations.has(id) || this.world.users.has(id));
      case "confirm a registration": {
        const token = this.world.registrations.get(id);
        if (token === undefined) return;
        const deliver = variant < 2 ? {} : { deliver: "tokens" };
        return void (await client.post("/account/email/verify", { token, password: PASSWORD, ...deliver }));
      }
      case "end a session": {
        const { body } = await client.get("/account/sessions", by);
        const all = (body.sessions ?? []) as { handle: string }[];
        const handle = all[variant % Math.max(1, all.length)]?.handle;
        return void (handle !== undefined && (await client.delete(`/account/sessions/${handle}`, by)));
      }
      case "back door": {
        if (!this.world.users.has(id)) return;
        const has = (await this.withFactor()).has(id) || isRequired(id);
        const { status } = await client.post(`/back-door/${id}`, {});
        // In a session of the same person, a renewal without methods proves nothing either.
        if (has) expect(status, "logIn without methods made a session").toBe(401);
        return;
      }
      case "back door for a token": {
        if (!this.world.users.has(id)) return;
        const has = (await this.withFactor()).has(id) || isRequired(id);
        const { status } = await client.post(`/back-door-token/${id}`, {});
        if (has) expect(status, "signAccessToken without methods made a token").toBe(401);
        return;
      }
      case "refresh":
        if (client.refreshToken === undefined) return;
        return void (await client.post("/tokens/refresh", { refreshToken: client.refreshToken }, "cookies"));
      case "make a key": {
        const principal = (await client.get("/me", by)).body as { id?: string; methods?: { method: string }[] };
        const { status } = await client.post("/keys", { name: "k", scopes: [] }, by);
        if (status !== 201) return;
        this.keys += 1;
        return this.checkProved(principal, "a key was made");
      }
      case "take the other's cookies":
        for (const [cookie, value] of other.cookies)
          if (variant > 1 || cookie.includes("login")) client.cookies.set(cookie, value);
        return;
      case "pending as a cookie":
        if (client.pending !== undefined) client.cookies.set("portcullis_login", client.pending);
        return;
      case "cookie as pending":
        client.pending = client.cookies.get("portcullis_login") ?? client.pending;
        return;
      case "wait":
        this.world.clock.advance([1000, 31_000, 120_000, 301_000][variant] ?? 0);
    }
  }

  /** The people of this sequence who have a second factor now. */
  async withFactor(): Promise<Set<string>> {
    const found = new Set<string>();
    for (const id of Object.values(this.people) as string[])
      if ((await this.world.accounts.factors.list(id)).some(({ method }) => method === "totp")) found.add(id);
    return found;
  }

  async ownerOf(client: Browser, by: "cookies" | "token"): Promise<string | undefined> {
    return ((await client.get("/me", by)).body as { id?: string }).id;
  }

  /** What every credential that works must show. A browser that has none would ask as nobody. */
  async check(): Promise<void> {
    for (const id of await this.withFactor()) this.everHad.add(id);
    for (const client of [...this.honest, ...this.thief])
      for (const by of client.credentials()) {
        const { status, body } = await client.get("/me", by);
        if (status !== 200) continue;
        const principal = body as { id: string; methods: { method: string }[] };
        await this.checkProved(principal, `a ${by === "token" ? "token" : "session"} works`);
        if (!this.thief.includes(client)) continue;
        const has = (await this.withFactor()).has(principal.id);
        expect(has && !this.stolen.has(principal.id), "a thief without the factor is logged in").toBe(false);
      }
  }

  async checkProved(
    { id, methods = [] }: { id?: string; methods?: { method: string }[] },
    what: string,
  ): Promise<void> {
    if (id === undefined) return;
    const owes = (await this.withFactor()).has(id) || isRequired(id);
    const proved = methods.some(({ method }) => SECOND.includes(method));
    expect(proved && !this.everHad.has(id), `${what} by a factor that ${id} never had`).toBe(false);
    expect(owes && !proved, `${what} for ${id.replace(/\d+/, "")} without the second factor`).toBe(false);
  }
}

/** Waits for mail that may come: it is sent after the answer. */
async function mail(hasCome: () => boolean): Promise<void> {
  for (let turn = 0; turn < 20 && !hasCome(); turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

describe("the gate", () => {
  test("lets no sequence of requests reach a session, a token or a key without the factor", async () => {
    let world = new World();
    let sequences = 0;
    const reached = new Map<string, number>();
    const count = (what: string, times: number): void => void reached.set(what, (reached.get(what) ?? 0) + times);
    const examples: [Step[]][] = [
      [straight("ada", STRAIGHT_IN)],
      [straight("bob", STRAIGHT_IN)],
      [straight("eve", STRAIGHT_NEW)],
      [straight("rootEve", STRAIGHT_NEW)],
    ];
    await world.security.ready();
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 14 }), async (steps) => {
        // What was left behind by earlier sequences would fill the stores.
        if ((sequences += 1) % 500 === 0) {
          await world.security.close();
          world = new World();
          await world.security.ready();
        }
        const run = new Run(world, await world.people());
        for (const one of steps) {
          await run.take(one);
          await run.check();
        }
        count("keys", run.keys);
        count("people made", [run.people.eve, run.people.rootEve].filter((id) => world.users.has(id)).length);
        for (const client of run.honest)
          for (const by of client.credentials()) {
            const { body } = await client.get("/me", by);
            const methods = (body.methods ?? []) as { method: string }[];
            const what = `${by} ${methods
              .map(({ method }) => method)
              .sort()
              .join("+")}`;
            count(what, 1);
          }
      }),
      { numRuns: runs(SEQUENCES), examples },
    );
    await world.security.close();
    // A server that refuses everything would pass as well.
    for (const what of ["cookies pwd", "cookies pwd+totp", "token pwd", "token pwd+totp", "keys", "people made"])
      expect(reached.get(what) ?? 0, what).toBeGreaterThan(0);
  }, 1_200_000);
});
