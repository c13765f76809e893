import type { Exchange, World } from "../world/world.js";
import { pause, virtualNow } from "../world/virtual-time.js";
import { Caller } from "./caller.js";

interface Key {
  readonly id: string;
  readonly key: string;
}

interface Tokens {
  readonly accessToken: string;
  readonly refreshToken: string;
}

/** Within this time every process must know of a revocation, in milliseconds. */
const KNOWN_MS = 1000;

const keyOf = (body: unknown): Key => {
  const { key, record } = body as { key: string; record: { id: string } };
  return { key, id: record.id };
};

/**
 * Somebody who uses the service as it is meant to be used, tries again after a 503, and knows at each step which answer is
 * right. `results` are the answers that count: those after the tries.
 */
export class HonestCaller extends Caller {
  readonly results: string[] = [];
  readonly #background: Promise<void>[] = [];
  #cookie: string | undefined;
  #keys: Key[] = [];
  #tokens: Tokens | undefined;
  /** Names of keys whose creation was refused, and must not be there. */
  readonly #refusedNames = new Set<string>();
  /** Credentials that were ended, and what each was. */
  readonly #ended: { readonly what: string; readonly headers: Readonly<Record<string, string>> }[] = [];
  #names = 0;

  async live(steps: number): Promise<void> {
    await pause(this.random.between(0, 400));
    await this.#logIn();
    for (let step = 0; step < steps; step += 1) {
      await pause(this.random.between(100, 700));
      await this.#choose()();
    }
    await Promise.all(this.#background);
    await this.#listKeys();
    for (const { what, headers } of this.#ended) await this.#checkRefused(`${what}, at the end`, headers, "the end");
  }

  #choose(): () => Promise<void> {
    const steps: (() => Promise<void>)[] = [
      () => this.#visit(),
      () => this.#createKey(),
      () => this.#listKeys(),
      () => this.#issue(),
      () => this.#logOut(),
    ];
    const [key] = this.#keys;
    if (key !== undefined)
      steps.push(
        () => this.#useKey(key),
        () => this.#useKey(key),
        () => this.#rotateKey(key),
        () => this.#rotateKey(key),
        () => this.#revokeKey(key),
      );
    const tokens = this.#tokens;
    if (tokens !== undefined)
      steps.push(
        () => this.#useToken(tokens),
        () => this.#refresh(tokens),
        () => this.#refresh(tokens),
        () => this.#revokeTokens(tokens),
        () => this.#revokeSubject(),
        () => this.#revokeEverything(),
      );
    return this.random.pick(steps as [() => Promise<void>]);
  }

  get #session(): Readonly<Record<string, string>> {
    return { cookie: this.#cookie ?? "" };
  }

  /** Tries until served, and notes the answer that counts. */
  async #tried(
    step: string,
    send: () => Promise<Exchange>,
    waitMs = 1000,
  ): Promise<{ last: Exchange; refused: Exchange[] }> {
    this.turn += 1;
    const tried = await this.persist(send, waitMs);
    this.results.push(`${step} ${tried.last.answer.status}`);
    for (const one of tried.refused) {
      if (one.answer.headers["retry-after"] === undefined && (this.world.weather !== "storm" || step === "refresh"))
        this.violation("d", `${step}: 503 without Retry-After`);
      if (this.world.weather !== "storm" && !one.wasFull)
        this.violation("d", `${step}: 503 while the store answers and no shared resource is full`);
    }
    return tried;
  }

  async #served(
    step: string,
    send: () => Promise<Exchange>,
    right: readonly number[],
    waitMs?: number,
  ): Promise<{ last: Exchange; refused: Exchange[] }> {
    const { last, refused } = await this.#tried(step, send, waitMs);
    const { status } = last.answer;
    const wasServed = right.includes(status);
    if (!wasServed) {
      const invariant = status === 503 || this.world.weather !== "storm" ? "d" : "c";
      this.violation(
        invariant,
        `${step}: ${status} instead of ${right.join(" or ")}${refused.length === 0 ? "" : `, after ${refused.length} times 503`}`,
      );
    }
    return { last, refused };
  }

  async #logIn(): Promise<void> {
    const { last } = await this.#served(
      "log in",
      () => this.send("log in", "POST", "/login", { body: { id: this.name } }),
      [200],
    );
    this.#cookie = last.answer.cookies[0]?.split(";")[0];
  }

  async #visit(): Promise<void> {
    await this.#served("visit", () => this.send("visit", "GET", "/me", { headers: this.#session }), [200]);
  }

  async #createKey(): Promise<void> {
    let name = "";
    const { last } = await this.#served(
      "create key",
      () => {
        name = `${this.name}-${(this.#names += 1)}`;
        const sent = name;
        return this.send("create key", "POST", "/api-keys", { headers: this.#session, body: { name } }).then(
          (exchange) => {
            if (exchange.answer.status === 503 && !isInDoubt(this.world, exchange)) this.#refusedNames.add(sent);
            return exchange;
          },
        );
      },
      [201],
    );
    if (last.answer.status === 201) this.#keys.push(keyOf(last.answer.body));
  }

  async #listKeys(): Promise<void> {
    const { last } = await this.#served(
      "list keys",
      () => this.send("list keys", "GET", "/api-keys?limit=100", { headers: this.#session }),
      [200],
    );
    if (last.answer.status !== 200) return;
    const { records } = last.answer.body as { records: { id: string; name: string; revokedAt: number | null }[] };
    for (const { id } of this.#keys) {
      if (!records.some((record) => record.id === id && record.revokedAt === null))
        this.violation("c", "list keys: a key that was given out is not there");
    }
    for (const { name } of records)
      if (this.#refusedNames.has(name)) this.violation("c", "create key: refused with 503, and made all the same");
  }

  async #useKey({ key }: Key): Promise<void> {
    await this.#served("use key", () => this.send("use key", "GET", "/me", { headers: { "x-api-key": key } }), [200]);
  }

  async #rotateKey(old: Key): Promise<void> {
    const { last, refused } = await this.#tried("rotate key", () =>
      this.send("rotate key", "POST", `/api-keys/${old.id}/rotate`, { headers: this.#session, body: {} }),
    );
    this.#keys = this.#keys.filter(({ id }) => id !== old.id);
    if (last.answer.status === 201) {
      this.#keys.push(keyOf(last.answer.body));
      this.#expectRefused("rotated key", { "x-api-key": old.key });
    } else if (!refused.some((one) => isInDoubt(this.world, one))) {
      this.violation(
        "c",
        `rotate key: ${last.answer.status} after ${refused.length} times 503; the old key is dead and nobody has the new one`,
      );
    }
  }

  async #revokeKey({ id, key }: Key): Promise<void> {
    // After a 503 the revocation may have taken effect; then there is nothing left to revoke.
    const { last, refused } = await this.#served(
      "revoke key",
      () => this.send("revoke key", "DELETE", `/api-keys/${id}`, { headers: this.#session }),
      [204, 404],
    );
    if (last.answer.status === 404 && refused.length === 0)
      this.violation("c", "revoke key: 404 for a key that was given out");
    this.#keys = this.#keys.filter((one) => one.id !== id);
    this.#expectRefused("revoked key", { "x-api-key": key });
  }

  async #issue(): Promise<void> {
    const { last } = await this.#served(
      "issue tokens",
      () => this.send("issue tokens", "POST", "/tokens/issue", { body: { id: this.name } }),
      [200],
    );
    if (last.answer.status === 200) this.#tokens = last.answer.body as unknown as Tokens;
  }

  async #useToken({ accessToken }: Tokens): Promise<void> {
    await this.#served(
      "use token",
      () => this.send("use token", "GET", "/me", { headers: { authorization: `Bearer ${accessToken}` } }),
      [200],
    );
  }

  async #refresh({ refreshToken }: Tokens): Promise<void> {
    // Some clients come back at once, some much later: a phone in a pocket.
    const waitMs = this.random.chance(0.3) ? 15_000 : 1000;
    const { last } = await this.#served(
      "refresh",
      () => this.send("refresh", "POST", "/tokens/refresh", { body: { refreshToken } }),
      [200],
      waitMs,
    );
    this.#tokens = last.answer.status === 200 ? (last.answer.body as unknown as Tokens) : undefined;
  }

  async #revokeTokens({ accessToken, refreshToken }: Tokens): Promise<void> {
    this.#tokens = undefined;
    await this.#served(
      "revoke tokens",
      () => this.send("revoke tokens", "POST", "/tokens/revoke", { body: { refreshToken } }),
      [204],
    );
    this.#expectRefused("revoked token", { authorization: `Bearer ${accessToken}` });
  }

  async #revokeSubject(): Promise<void> {
    const accessToken = this.#tokens?.accessToken ?? "";
    this.#tokens = undefined;
    await this.#served(
      "revoke subject",
      () => this.send("revoke subject", "POST", "/subjects/revoke", { headers: this.#session }),
      [200],
    );
    this.#expectRefused("token of a revoked subject", { authorization: `Bearer ${accessToken}` });
  }

  /** Sessions, tokens and keys together. What is made afterwards works. */
  async #revokeEverything(): Promise<void> {
    const session = this.#session;
    const keys = this.#keys.splice(0);
    const accessToken = this.#tokens?.accessToken ?? "";
    this.#tokens = undefined;
    await this.#served(
      "revoke everything",
      () => this.send("revoke everything", "POST", "/everything/revoke", { body: { id: this.name } }),
      [200],
    );
    this.#expectRefused("session of whom everything was revoked", session);
    this.#expectRefused("token of whom everything was revoked", { authorization: `Bearer ${accessToken}` });
    for (const { key } of keys) this.#expectRefused("key of whom everything was revoked", { "x-api-key": key });
    await this.#logIn();
    for (let at = 0; at < this.world.processes.length; at += 1)
      await this.#served(
        "visit anew",
        () => this.send("visit anew", "GET", "/me", { headers: this.#session, at }),
        [200],
      );
  }

  async #logOut(): Promise<void> {
    const headers = this.#session;
    await this.#served("log out", () => this.send("log out", "POST", "/logout", { headers }), [200]);
    this.#expectRefused("session after log-out", headers);
    await this.#logIn();
  }

  /** Invariant (b): a second after the acknowledgement every process refuses, or answers 503, and from then on. */
  #expectRefused(what: string, headers: Readonly<Record<string, string>>): void {
    const during = `${this.turn} checked`;
    this.#ended.push({ what, headers });
    this.#background.push(pause(KNOWN_MS).then(() => this.#checkRefused(what, headers, during)));
  }

  async #checkRefused(what: string, headers: Readonly<Record<string, string>>, during: string): Promise<void> {
    for (let at = 0; at < this.world.processes.length; at += 1) {
      const { answer, process } = await this.send(`check ${what}`, "GET", "/me", { headers, at, during });
      if (answer.status !== 401 && answer.status !== 503)
        this.violation("b", `${what}: ${answer.status} in ${process}, at ${virtualNow()} ms`);
    }
  }
}

/** Whether nobody can know what became of a call: the answer to its COMMIT was lost, or the whole server failed. */
function isInDoubt({ server }: World, { operation, began }: Exchange): boolean {
  return operation.inDoubt || (server !== undefined && server.troubleUntil >= began);
}
