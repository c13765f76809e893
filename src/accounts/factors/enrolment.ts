import { randomBytes } from "node:crypto";
import type { Request } from "express";
import { z } from "zod";
import type { AuthenticationMethod } from "../../core/authentication.js";
import type { Refusal } from "../../core/response/problem.js";
import type { StoredCredential } from "../../stores/contracts.js";
import type { StoreTime } from "../../stores/health/store-time.js";
import { admission } from "../admit.js";
import type { AccountsContext } from "../context.js";
import { enterAfter } from "../gate/enter-after.js";
import type { Resumed } from "../gate/unfinished-log-ins.js";
import { codeField, tokenField } from "../http/fields.js";
import { type Exchange, isRefusal, type Reply, route, type Route } from "../http/route.js";
import { invalidCredentials, SESSION_ENDED } from "../refusals.js";
import { newId } from "../secrets.js";
import { loginOf } from "../sessions/login-of.js";
import type { Person } from "../types.js";
import { base32 } from "./base32.js";
import { evenIfLate, factorsChanged } from "./changed.js";
import { DIGITS, matchingStep, readCode, STEP_SECONDS } from "./one-time-code.js";
import { ENROLMENT_KIND, PASSWORD_KIND } from "../passwords/record.js";
import { personOf } from "./person-of.js";
import { newRecoveryCodes } from "./recovery-codes.js";
import { showCodes } from "./shown-codes.js";
import { openTotp, sealTotp, TOTP } from "./totp.js";

const LIFE_MS = 600_000;
/** RFC 4226 section 4 recommends 160 bits. */
const SECRET_BYTES = 20;

const startBody = z.strictObject({
  /** What the person calls the authenticator app. */
  name: z
    .string()
    .regex(/^[^\u0000-\u001f\u007f-\u009f\p{Surrogate}]{1,64}$/u)
    .optional(),
  /** Of a client without cookies: what the log-in answered. */
  pending: tokenField.optional(),
});
const confirmBody = z.strictObject({ code: codeField, pending: tokenField.optional() });

/** What an authenticator app needs. */
export interface TotpEnrolment {
  /** The secret as people type it: 32 characters of base32. */
  readonly secret: string;
  /** The `otpauth:` URI for a QR code. */
  readonly uri: string;
}

/** Who sets up a factor: someone logged in, or a log-in that owes it. */
interface Enroller {
  readonly person: Person;
  /** What they had before it was seen that their log-in holds. */
  readonly credentials: readonly StoredCredential[];
  /** Names the log-in, the session or the tokens: what one of them has begun, no other goes on with. */
  readonly by: string;
  readonly resumed?: Resumed;
}

/** `POST /totp` and `POST /totp/confirm`: an authenticator app is set up, and takes effect with its first code. */
export function totpEnrolment(context: AccountsContext): {
  readonly routes: readonly Route[];
  enrolment(req: Request): Promise<TotpEnrolment | undefined>;
} {
  const { holdings, unfinished, deliveries, credentials, settings, host } = context;
  const { clock } = host.runtime;
  const admit = admission(settings, clock);

  /**
   * A log-in that owes a factor goes before a session: whoever has just given a password is sent here by its answer.
   *
   * @param access what a session, or a token, must be good for
   */
  async function enrollerOf(
    exchange: Pick<Exchange, "req" | "time">,
    pending: string | undefined,
    access: "person" | "fresh",
  ): Promise<Enroller | Refusal> {
    const { req } = exchange;
    const resumed = await unfinished.resume(exchange, pending, "enrolment");
    if (!("code" in resumed)) {
      const { person, credentials: held, pending: logIn } = resumed;
      return { person, credentials: held, by: logIn.id, resumed };
    }
    if (pending !== undefined || req.principal === undefined) return resumed;
    const refusal = admit(req, access);
    if (refusal !== undefined) return refusal;
    const person = await personOf(context, exchange);
    if ("code" in person) return person;
    const held = await holdings.credentialsOf(person.id, exchange.time);
    if (!(await host.isInForce(req))) return SESSION_ENDED;
    return { person, credentials: held, by: loginOf(req.principal) };
  }

  async function start(exchange: Exchange<z.output<typeof startBody>>): Promise<Reply> {
    const { body, time } = exchange;
    const enroller = await enrollerOf(exchange, body.pending, "fresh");
    if ("code" in enroller) return enroller;
    const { id, login } = enroller.person;
    const secret = randomBytes(SECRET_BYTES);
    const now = clock.now();
    const factorId = newId();
    const entry: StoredCredential = {
      id: factorId,
      ownerId: id,
      kind: ENROLMENT_KIND,
      name: id,
      data: {
        secret: sealTotp(context, secret, id, factorId),
        by: enroller.by,
        ...(body.name === undefined ? {} : { name: body.name }),
      },
      createdAt: now,
      confirmedAt: null,
      usedAt: null,
      expiresAt: now + LIFE_MS,
      counter: -1,
      failures: 0,
      version: 0,
    };
    const change = { removeKinds: [ENROLMENT_KIND], insert: [entry] };
    await credentials.write((store, call) => store.change(id, change, call), id, time);
    return { status: 200, body: { ...shown(login, secret) }, next: "enrol" };
  }

  function shown(login: string, bytes: Buffer): TotpEnrolment {
    const secret = base32(bytes);
    return { secret, uri: otpauthUri(issuerOf(context), login, secret) };
  }

  async function enrolment(req: Request): Promise<TotpEnrolment | undefined> {
    const time = credentials.time();
    const enroller = await enrollerOf({ req, time }, undefined, "fresh");
    if ("code" in enroller) return undefined;
    const begun = await openEnrolmentOf(enroller, time);
    const secret = begun === undefined ? undefined : openTotp(context, begun);
    return secret === undefined ? undefined : shown(enroller.person.login, secret);
  }

  /** What this log-in has begun. Another one may know the secret of what it has begun itself. */
  async function openEnrolmentOf(
    { person: { id }, by }: Enroller,
    time: StoreTime,
  ): Promise<StoredCredential | undefined> {
    const found = await credentials.read((store) => store.find(ENROLMENT_KIND, id), id, time);
    return found?.data.by !== by || (found.expiresAt ?? 0) <= clock.now() ? undefined : found;
  }

  async function confirm(exchange: Exchange<z.output<typeof confirmBody>>): Promise<Reply> {
    const { req, body, time } = exchange;
    const enroller = await enrollerOf(exchange, body.pending, "person");
    if ("code" in enroller) return enroller;
    const { person, resumed } = enroller;
    const passwords = enroller.credentials.filter(({ kind }) => kind === PASSWORD_KIND);
    const wrong = invalidCredentials("wrong-totp", person.id);
    const now = clock.now();
    const begun = await openEnrolmentOf(enroller, time);
    if (begun === undefined) return wrong;
    const secret = openTotp(context, begun);
    const code = readCode(body.code);
    const step = secret === undefined || code === undefined ? undefined : matchingStep(secret, code, now);
    if (step === undefined) return wrong;
    // Before the factor is there, and once more after that: a process that dies in between leaves nobody logged in without it.
    const ending = context.compromise.of(person.id, { reason: "factor-added" });
    await evenIfLate(async () => void (await ending.end(req.principal)));
    const confirmed: StoredCredential = {
      ...begun,
      data: withoutBy(begun.data),
      kind: TOTP,
      confirmedAt: now,
      usedAt: now,
      expiresAt: null,
      // The code that confirms is spent.
      counter: step,
      version: 0,
    };
    const recovery = newRecoveryCodes(context, person.id);
    const change = {
      remove: [begun.id],
      removeKinds: [TOTP, ...recovery.change.removeKinds],
      // A person whose password was reset meanwhile gets no factor of someone who knew the old one.
      update: passwords.map(({ id, version }) => ({ id, version })),
      insert: [confirmed, ...recovery.change.insert],
    };
    const insert = async (): Promise<AuthenticationMethod | Refusal> => {
      const isDone = await credentials.write(
        (store, call) => store.change(person.id, change, call),
        person.id,
        time,
        ending.endIfLate,
      );
      return isDone ? { method: "totp", at: now } : wrong;
    };
    const method = await (resumed === undefined ? insert() : unfinished.take(exchange, body.pending, insert));
    if ("code" in method) return method;
    const recoveryCodes = recovery.codes;
    if (recoveryCodes.length > 0) context.notices.send({ kind: "recovery-codes-made", user: person.user });
    // A session says what was proved, so it goes on. A token does not, and ends with everything else.
    const isRenewed =
      resumed === undefined &&
      req.principal?.kind === "session" &&
      (await evenIfLate(() => deliveries.renew(exchange, person, [method])));
    const isReplaced = resumed?.pending.deliver === "session";
    const keep = isRenewed || isReplaced ? req.principal : undefined;
    await evenIfLate(() =>
      factorsChanged(context, { person, kind: "factor-added", reason: "totp-added", req, ending, keep }),
    );
    if (resumed === undefined) return showCodes(context, req, { status: 200 }, recoveryCodes, settings.pages.account);
    const { remember, deliver, methods, returnTo } = resumed.pending;
    const restsOn = [confirmed, ...passwords].map(({ id }) => id);
    const arrival = { person, remember, deliver, returnTo, methods: [...methods, method], restsOn };
    const reply = await enterAfter(context, exchange, arrival, "factor-added");
    if (isRefusal(reply)) return reply;
    const next = reply.returnTo ?? (reply.next === "login" ? settings.pages.login : settings.afterLogin);
    return showCodes(context, req, reply, recoveryCodes, next);
  }

  const routes = [
    route({ method: "POST", path: "/totp", body: startBody, access: "anyone", page: "enrol", handle: start }),
    route({
      method: "POST",
      path: "/totp/confirm",
      body: confirmBody,
      access: "anyone",
      page: "enrol",
      handle: confirm,
    }),
  ];
  return { routes, enrolment };
}

/** A factor belongs to the person, and no more to the log-in that set it up. */
function withoutBy({ by: _by, ...data }: StoredCredential["data"]): StoredCredential["data"] {
  return data;
}

function issuerOf({ settings }: AccountsContext): string {
  const { totp } = settings.factors;
  return (totp === false ? undefined : totp.issuer) ?? new URL(settings.baseUrl).hostname;
}

/** The key URI that authenticator apps read from a QR code. */
function otpauthUri(issuer: string, account: string, secret: string): string {
  const [service, name] = [issuer, account].map(encodeURIComponent);
  return `otpauth://totp/${service}:${name}?secret=${secret}&issuer=${service}&algorithm=SHA1&digits=${DIGITS}&period=${STEP_SECONDS}`;
}
