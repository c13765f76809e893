import type { Request } from "express";
import { z } from "zod";
import { parseOrigin, isLoopbackHost } from "../core/http/origin.js";
import { isLocalPath } from "../core/http/local-path.js";
import { durationSchema } from "../settings/durations.js";
import { addIssue, selectSchema, settingsObject, toggleable } from "../settings/object.js";
import { secretRingSchema } from "../settings/secrets.js";
import {
  CREDENTIAL_STORE_METHODS,
  type CredentialStore,
  SINGLE_USE_STORE_METHODS,
  type SingleUseStore,
} from "../stores/contracts.js";
import { hasMethods } from "../stores/forwarding.js";
import type { AccountUser, AccountUsers, Notify } from "./types.js";

const localPath = z.string().superRefine((path, context) => {
  if (isLocalPath(path) && !path.includes("?")) return;
  addIssue(context, {
    code: "wrong-value",
    message: "This is not a path of this origin.",
    remedy: "Write an absolute path without a query, such as /login.",
  });
});

/** One path, since links lead there. */
const mountPathSchema = localPath.superRefine((path, context) => {
  if (!/[:*+(){}[\]]/.test(path)) return;
  addIssue(context, {
    code: "wrong-value",
    message: "This is a pattern of many paths.",
    remedy: "Write one path without : * + and brackets, such as /account.",
  });
});

function functionSchema<T>(example: string): z.ZodType<T, T> {
  return z.custom<T>((value) => typeof value === "function", {
    error: "This is not a function.",
    params: { code: "wrong-type", remedy: `Write ${example}.` },
  });
}

/** An origin: https, or http for the local machine. */
const baseUrlSchema = z.string().superRefine((text, context) => {
  const origin = parseOrigin(text);
  const isRight =
    origin !== undefined && (origin.scheme === "https" || (origin.scheme === "http" && isLoopbackHost(origin.host)));
  if (isRight) return;
  addIssue(context, {
    code: origin?.scheme === "http" ? "unsafe-setting" : "wrong-value",
    message:
      origin?.scheme === "http"
        ? "Links with http: can be read and changed on their way."
        : "This is not an origin: scheme, host and, if it is not the usual one, port.",
    remedy: "Write the address of the app as its users see it, without a path: https://app.example.com.",
  });
});

const usersSchema = settingsObject({
  /** Returns the person who logs in with a name. Required. */
  findByLogin: functionSchema<AccountUsers["findByLogin"]>("findByLogin: (login) => db.findUser({ login })"),
  /** Returns the person with an id. Required. */
  findById: functionSchema<AccountUsers["findById"]>("findById: (id) => db.findUser({ id })"),
  /** Makes a person. Default: none, and so no registration. */
  create: functionSchema<NonNullable<AccountUsers["create"]>>(
    "create: ({ login, email }) => db.insertUser({ login, email })",
  ).optional(),
});

/** The least number of characters of any password (NIST SP 800-63B-4 3.1.1.2). */
const LEAST = 8;

const breachedServiceSchema = settingsObject({
  /** Asks the range API of Have I Been Pwned, with the first five characters of a hash. Required. */
  api: z.literal(true),
  /** Whether a password is allowed or refused when the service does not answer. Default: `"allow"`. */
  onError: z.enum(["allow", "refuse"]).default("allow"),
});

/** Settings of the check with Have I Been Pwned. */
export interface BreachedServiceSettings extends z.input<typeof breachedServiceSchema> {}

const breachedSchema = selectSchema<
  "list" | false | BreachedServiceSettings,
  "list" | false | z.output<typeof breachedServiceSchema>
>((value) => {
  if (value === false || value === "list") return z.literal(value);
  if (typeof value === "object" && value !== null) return breachedServiceSchema;
  return z.custom(() => false, {
    error: "This is no check for breached passwords.",
    params: { code: "wrong-value", remedy: 'Write "list", { api: true } or false.' },
  });
});

const passwordsSchema = settingsObject({
  /** Least number of characters of a password that is the only factor: 8 to 64 (NIST SP 800-63B-4 3.1.1.2). Default: `15`. */
  minLength: z.int().min(LEAST).max(64).default(15),
  /** Least number of characters of a password beside a second factor: 8 to 64, at most `minLength`. Default: `8`. */
  minLengthWithSecondFactor: z.int().min(LEAST).max(64).default(8),
  /** Most bytes of a password in UTF-8, after normalisation: 64 to 1024. Default: `1024`. */
  maxLength: z.int().min(64).max(1024).default(1024),
  /** Words that a password must not be, and that it must not merely add a few characters to: the name of the service. Default: none. */
  blockList: z.array(z.string().min(1).max(64)).max(1000).default([]),
  /**
   * Passwords that attackers try first: `"list"` compares with the bundled list of common passwords, `{ api: true,
   * onError }` asks the range API of Have I Been Pwned too, with the first five characters of a hash; `onError` says
   * whether a password is allowed or refused when the service does not answer. Default: `"list"`.
   */
  breached: breachedSchema.default("list"),
  /**
   * A secret that is hashed with each password and is not stored with them (NIST SP 800-63B-4 3.1.1.2). With a list, the
   * first is for new hashes, all verify. Without a pepper its passwords cannot be verified, so keep it. Default: none.
   */
  pepper: secretRingSchema.optional(),
  /** Number of failures in a row after which the password is disabled until a reset: 10 to 100. Default: `50`. */
  maxConsecutiveFailures: z.int().min(10).max(100).default(50),
}).superRefine(({ minLength, minLengthWithSecondFactor }, context) => {
  // A `minLength` out of its range has an issue of its own, and is nothing to compare with.
  if (minLengthWithSecondFactor <= minLength || minLength < LEAST) return;
  addIssue(context, {
    code: "contradiction",
    path: ["minLengthWithSecondFactor"],
    message: "A password beside a second factor would have to be longer than one that stands alone.",
    remedy: `Write at most ${minLength}.`,
  });
});

/** Settings of passwords. */
export interface PasswordSettings extends z.input<typeof passwordsSchema> {}
/** Settings of passwords with every default filled in. */
export interface ResolvedPasswordSettings extends z.output<typeof passwordsSchema> {}

const totpSchema = settingsObject({
  /** The name of the service in the authenticator app: 1 to 64 characters without a colon. Default: the host of `baseUrl`. */
  issuer: z
    .string()
    .refine((text) => /^[^:\u0000-\u001f\u007f-\u009f\p{Surrogate}]{1,64}$/u.test(text), {
      error: "Must be 1 to 64 characters without a colon or control characters",
    })
    .optional(),
});

/** Settings of authenticator apps. */
export interface TotpSettings extends z.input<typeof totpSchema> {}

const factorsSchema = settingsObject({
  /** Codes of an authenticator app (RFC 6238): `{ issuer }`, the name that the app shows; `false` for none. Default: the host of `baseUrl`. */
  totp: toggleable<TotpSettings, z.output<typeof totpSchema>>(() => totpSchema).prefault({}),
  /** Whether people with a second factor get ten recovery codes. Default: `true`. */
  recoveryCodes: z.boolean().default(true),
  /** Says whether a person must have a second factor. Default: nobody must. */
  required: functionSchema<(user: AccountUser) => boolean | Promise<boolean>>(
    'required: (user) => user.roles?.includes("admin") === true',
  ).optional(),
}).superRefine(({ totp, required }, context) => {
  if (required === undefined || totp !== false) return;
  addIssue(context, {
    code: "contradiction",
    path: ["required"],
    message: "A second factor is required, but people can set none up.",
    remedy: "Leave totp on, or remove required.",
  });
});

const pagesSchema = settingsObject({
  /** Where people log in. Default: `"/login"`. */
  login: localPath.default("/login"),
  /** Where people enter a code of a second factor. Default: `"/login/factor"`. */
  factor: localPath.default("/login/factor"),
  /** Where people set up a second factor, whether they must or want to. Default: `"/login/enrol"`. */
  enrol: localPath.default("/login/enrol"),
  /** Where people register. Default: that of `login`. */
  register: localPath.optional(),
  /** Where people ask for a link to a new password. Default: that of `login`. */
  forgotPassword: localPath.optional(),
  /** Where people confirm a registration; the link that `notify` gets leads to it, with `?token=`. Default: `"/verify-email"`. */
  verifyEmail: localPath.default("/verify-email"),
  /** Where people choose a new password; the link that `notify` gets leads to it, with `?token=`. Default: `"/reset-password"`. */
  resetPassword: localPath.default("/reset-password"),
  /** Where people see and change their account. Default: `"/"`. */
  account: localPath.default("/"),
  /** Where people prove again who they are; a form that needs it first leads to it. Default: that of `account`. */
  reauthenticate: localPath.optional(),
});

/** The schema of `AccountsSettings`. */
export const accountsSchema = settingsObject({
  /** The origin of the app as its users see it; every link is built from it, never from Host. Required. */
  baseUrl: baseUrlSchema,
  /** Where `routes()` is mounted: not outside `session.path`. Default: `"/account"`. */
  mountPath: mountPathSchema.default("/account"),
  /** The app's own table of users: `{ findByLogin, findById, create? }`. Required. */
  users: usersSchema,
  /** Sends people mail, or tells them otherwise. Without it there is no reset, and registration is by user name. Default: none. */
  notify: functionSchema<Notify>("notify: ({ kind, user, link }) => mailer.send(user.email, kind, link)").optional(),
  /** Passwords: rules, hashing, failures. `false` when people have none. Default: on. */
  passwords: toggleable<PasswordSettings, ResolvedPasswordSettings>(() => passwordsSchema).prefault({}),
  /** Second factors. Default: codes of an authenticator app, and recovery codes. */
  factors: factorsSchema.prefault({}),
  /** Paths of the app's own pages, to which a form is sent on. Default: a path for each. */
  pages: pagesSchema.prefault({}),
  /** Where a form goes after a log-in. Default: `"/"`. */
  afterLogin: localPath.default("/"),
  /** Where a form goes after a log-out. Default: `"/"`. */
  afterLogout: localPath.default("/"),
  /**
   * Makes the page that shows new recovery codes to a browser without JavaScript: `(codes, req, next) => html`, with every
   * value escaped. They are in no other answer to a form. `next` is the path at which the person goes on. Default: a plain
   * page.
   */
  showRecoveryCodes: functionSchema<(codes: readonly string[], req: Request, next: string) => string>(
    "showRecoveryCodes: (codes) => render(codes)",
  ).optional(),
  /** How long a proof of identity is fresh enough to change a password or a factor, in seconds: 60 to 3600. Default: `300`. */
  freshSeconds: durationSchema("seconds", 60, 3600).default(300),
  /**
   * How long a log-in with `remember` lasts without use, in seconds: at least `session.maxAge`. Default: `2592000` (30 days), or
   * `session.maxAge` if that is longer.
   */
  rememberSeconds: durationSchema("seconds", 60, 34_560_000).optional(),
  /**
   * What ends when a password is reset or a factor is taken away: sessions and token families always; with
   * `"everything"` API keys too. Default: `"sessions"`.
   */
  onCompromise: z.enum(["sessions", "everything"]).default("sessions"),
  /** How long a request waits for a store of accounts, in milliseconds: 10 to 10000. Default: `250`. */
  storeTimeoutMs: z.int().min(10).max(10_000).default(250),
  /** Stores of the app's own for what people prove, and for what can be used once. Default: `database` and `redis`, or memory. */
  stores: settingsObject({
    /** Passwords, factors and links. Default: the database of `applySecurity`, or memory. */
    credentials: storeSchema<CredentialStore>(CREDENTIAL_STORE_METHODS).optional(),
    /** Log-ins that are not finished. Default: Redis or the database of `applySecurity`, or memory. */
    singleUse: storeSchema<SingleUseStore>(SINGLE_USE_STORE_METHODS).optional(),
  }).prefault({}),
}).superRefine(({ passwords, factors }, context) => {
  if (passwords !== false || factors.totp === false) return;
  addIssue(context, {
    code: "contradiction",
    path: ["factors", "totp"],
    message: "A second factor needs a first one, but passwords are off.",
    remedy: "Turn passwords on, or write factors: { totp: false }.",
  });
});

function storeSchema<Store>(methods: Readonly<Record<string, "required" | "optional">>): z.ZodType<Store, Store> {
  return z.custom<Store>((value) => hasMethods(value, methods), {
    error: "This store lacks a method of its contract.",
    params: { code: "wrong-type", remedy: `Give it these methods: ${Object.keys(methods).join(", ")}.` },
  });
}

/** Settings of `createAccounts`. */
export interface AccountsSettings extends z.input<typeof accountsSchema> {}
/** Settings of accounts with every default filled in. */
export interface ResolvedAccountsSettings extends z.output<typeof accountsSchema> {
  readonly rememberSeconds: number;
}
