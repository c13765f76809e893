import { requestContext } from "../../core/request-events.js";
import type { CredentialStore, StoredCredential } from "../../stores/contracts.js";
import type { StoreTime } from "../../stores/health/store-time.js";
import type { AccountsContext } from "../context.js";
import type { Exchange } from "../http/route.js";
import type { Person } from "../types.js";
import { type Failures, opensAt, withFailure, withoutFailure } from "./attempts.js";
import type { CodeCheck, SecondFactor } from "./factor.js";
import { matchingStep, readCode } from "./one-time-code.js";

/** An authenticator app that a person has confirmed: one, so its name is their id. */
export const TOTP = "totp";

/** Changes that one request tries again when others changed the factor meanwhile: more than can succeed in a day. */
const TRIES = 16;

const WRONG: CodeCheck = Object.freeze({ verdict: "wrong" });

/** Encrypts the secret of an authenticator app for one person and one factor. */
export function sealTotp({ secrets }: AccountsContext, secret: Buffer, personId: string, factorId: string): string {
  return secrets.seal(secret, boundTo(personId, factorId));
}

/** The secret; `undefined` when no key of `secretKey` opens it. */
export function openTotp({ secrets }: AccountsContext, { id, ownerId, data }: StoredCredential): Buffer | undefined {
  return typeof data.secret === "string" ? secrets.open(data.secret, boundTo(ownerId, id)) : undefined;
}

function boundTo(personId: string, factorId: string): string {
  return `totp\n${factorId}\n${personId}`;
}

/** Codes of an authenticator app, as a second factor. */
export function createTotp(context: AccountsContext): SecondFactor {
  const { credentials, host, notices } = context;
  const { runtime } = host;

  /**
   * Counts an attempt as a failure before its code is looked at, so that parallel attempts are no more than their number.
   *
   * @returns the failures with this one, or when the factor opens again
   */
  async function count(personId: string, first: StoredCredential, now: number, time: StoreTime): Promise<Counted> {
    let factor: StoredCredential | undefined = first;
    for (let tries = 0; tries < TRIES && factor !== undefined; tries += 1) {
      const before = failuresOf(factor);
      const opens = opensAt(before, now);
      if (opens > now) return { opens };
      const after = withFailure(before, now);
      if (await write(factor, after, time)) return { after };
      factor = await credentials.read((store) => store.find(TOTP, personId), personId, time);
      if (factor?.id !== first.id) return { opens: now + 1000 };
    }
    return { opens: now + 1000 };
  }

  /** A code that was right was no failure. What cannot be written is left: the factor then counts one too many. */
  async function giveBack(personId: string, id: string, moment: number, time: StoreTime): Promise<void> {
    try {
      for (let tries = 0; tries < TRIES; tries += 1) {
        const factor = await credentials.read((store) => store.find(TOTP, personId), personId, time);
        if (factor?.id !== id || (await write(factor, withoutFailure(failuresOf(factor), moment), time))) return;
      }
    } catch {
      // The code is spent, so its owner gets in. The guard of the store has announced what happened.
    }
  }

  function write({ id, ownerId, version, data }: StoredCredential, to: Failures, time: StoreTime): Promise<boolean> {
    const update = { id, version, failures: to.inARow, data: { ...data, failedAt: to.at } };
    return credentials.write(
      (store: CredentialStore, call) => store.change(ownerId, { update: [update] }, call),
      ownerId,
      time,
    );
  }

  /** Says that the factor is closed for a while now: to the log, and to its owner, whose password someone may know. */
  function announceLock(person: Person, { req }: Exchange): void {
    const facts = { source: "accounts", reason: TOTP, ...requestContext(req), subject: person.id };
    runtime.events.emit("authn_login_lock", () => facts);
    notices.send({ kind: "factor-locked", user: person.user });
  }

  async function check(
    person: Person,
    [factor]: readonly StoredCredential[],
    typed: string,
    exchange: Exchange,
  ): Promise<CodeCheck> {
    const code = readCode(typed);
    // What cannot be a code is no guess.
    if (factor === undefined || code === undefined) return WRONG;
    const secret = openTotp(context, factor);
    if (secret === undefined) {
      runtime.events.emit("portcullis_misconfigured", () => ({ source: "accounts", reason: "totp-secret-unreadable" }));
      return WRONG;
    }
    const { time } = exchange;
    const now = runtime.clock.now();
    const counted = await count(person.id, factor, now, time);
    if ("opens" in counted) return { verdict: "locked", retryAfterSeconds: Math.ceil((counted.opens - now) / 1000) };
    const step = matchingStep(secret, code, now);
    const announceFailure = (): void => {
      if (opensAt(counted.after, now) > now) announceLock(person, exchange);
    };
    if (step === undefined || step <= factor.counter) {
      announceFailure();
      return WRONG;
    }
    const spend = async () => {
      const { id } = factor;
      if (await credentials.write((store, call) => store.advance(id, step, now, call), person.id, time)) {
        await giveBack(person.id, id, counted.after.at.at(-1) ?? now, time);
        return {};
      }
      announceFailure();
      return undefined;
    };
    return { verdict: "right", spend };
  }

  return {
    method: "totp",
    kind: TOTP,
    isFactor: true,
    canEnrol: true,
    usable: (all) => all.filter(({ kind, confirmedAt }) => kind === TOTP && confirmedAt !== null),
    check,
  };
}

type Counted = { readonly after: Failures } | { readonly opens: number };

function failuresOf({ failures, data }: StoredCredential): Failures {
  const { failedAt } = data;
  return { inARow: failures, at: Array.isArray(failedAt) ? failedAt.filter((at) => typeof at === "number") : [] };
}
