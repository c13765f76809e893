/**
 * What to write in place of an option of another package. A name that needs no explanation (`origin` for `origins`) is
 * not here: the suggestion of the nearest setting finds it. Nor is a name that is a setting here too.
 *
 * `translate` reads three forms: "… is limit here", "Write …", and anything else, which says why there is no such option.
 */
export const PEER_NAMES = {
  helmet: {
    action: 'Write frameOptions: "DENY" or "SAMEORIGIN", without an object.',
    dnsPrefetchControl: "This header is not sent: browsers never standardised it.",
    frameguard: 'helmet\'s frameguard is frameOptions here: "DENY", "SAMEORIGIN" or false.',
    hidePoweredBy: "X-Powered-By is always removed.",
    hsts: "helmet's hsts is strictTransportSecurity here; its maxAge is in seconds too.",
    ieNoOpen: "This header is not sent: only Internet Explorer read it.",
    noSniff: "X-Content-Type-Options: nosniff is always sent.",
    originAgentCluster: "This header is not sent: browsers do what it asks for by default.",
    permittedCrossDomainPolicies: "This header is not sent: only Flash read it.",
    policy: "Write the policy itself, without an object.",
    reportOnly: "Write contentSecurityPolicyReportOnly, a policy of its own, beside contentSecurityPolicy.",
    xContentTypeOptions: "X-Content-Type-Options: nosniff is always sent.",
    xDnsPrefetchControl: "This header is not sent: browsers never standardised it.",
    xDownloadOptions: "This header is not sent: only Internet Explorer read it.",
    xPermittedCrossDomainPolicies: "This header is not sent: only Flash read it.",
    xPoweredBy: "X-Powered-By is always removed.",
    xssFilter: 'helmet\'s xssFilter is xssProtection here: "0", "block" or false.',
  },
  cors: {
    optionsSuccessStatus: "A preflight is always answered with 204.",
    preflightContinue: "A preflight is always answered here; no route sees it.",
  },
  "express-rate-limit": {
    draft_polli_ratelimit_headers: 'It is headers: "draft-6" here.',
    handler:
      "Write onRefusal for your own body, and listen to the event excess_rate_limit_exceeded. The status is 429.",
    identifier: "express-rate-limit's identifier is name here.",
    keyGenerator:
      'express-rate-limit\'s keyGenerator is key here: "address", "principal" or a function of the request.',
    legacyHeaders: 'express-rate-limit\'s legacyHeaders is headers: "legacy" here; ["draft-8", "legacy"] sends both.',
    max: "express-rate-limit's max is limit here.",
    message: "Write onRefusal for a body of your own.",
    passOnStoreError: 'express-rate-limit\'s passOnStoreError: true is onStoreError: "allow" here.',
    requestPropertyName: "The property is always req.rateLimit.",
    requestWasSuccessful: 'Write count: "failures" and isFailure: (req, res) => boolean, which says the opposite.',
    skipFailedRequests:
      "All requests count; for one that is not to count, call req.rateLimit.refund() before you answer.",
    skipSuccessfulRequests: 'express-rate-limit\'s skipSuccessfulRequests: true is count: "failures" here.',
    standardHeaders: 'express-rate-limit\'s standardHeaders is headers here: "draft-8" or "draft-6".',
    statusCode: "The status is always 429.",
    validate: "Settings are always checked at start.",
    windowMs: "express-rate-limit's windowMs is windowSeconds here, in seconds instead of milliseconds.",
  },
  "express-session": {
    cookie: "Write its options beside the others: maxAge in seconds instead of milliseconds, sameSite, domain, path.",
    expires: "Write maxAge, in seconds.",
    genid: "Session ids are always 192 random bits.",
    httpOnly: "The cookie is always HttpOnly.",
    name: "express-session's name is cookieName here, without the prefix __Host-.",
    overwrite: "There is always one cookie.",
    priority: "There is no priority of cookies here.",
    proxy: "express-session's proxy is trustProxy of applySecurity here.",
    resave: "A session is saved when it has changed, never otherwise.",
    rolling: "Every use of a session extends it: maxAge is an idle time-out, in seconds.",
    saveUninitialized: "A session is saved once something is written to it, never before.",
    signed: "The cookie is always signed.",
    unset: "req.session = null always ends the session.",
  },
  jsonwebtoken: {
    algorithms: "jsonwebtoken's algorithms is algorithm here, one that signs and verifies.",
    allowInsecureKeySizes: "Keys always have the sizes that RFC 7518 requires.",
    allowInvalidAsymmetricKeyTypes: "The key always has the type of the algorithm.",
    clockTimestamp: "Pass a clock as the dependency: { clock }.",
    clockTolerance: "jsonwebtoken's clockTolerance is leewaySeconds here, in seconds too.",
    complete: "Claims are always returned without the header.",
    expiresIn: "jsonwebtoken's expiresIn is accessTokenMinutes here, in minutes, or accessTokenSeconds.",
    header: "The header is always written from algorithm and the key's kid.",
    ignoreExpiration: "Expiry is always checked; leewaySeconds allows for clocks that differ.",
    ignoreNotBefore: "nbf is always checked; leewaySeconds allows for clocks that differ.",
    jwtid: "Every token gets a jti of its own.",
    keyid: "Write keys, a list of which each entry may have a kid.",
    maxAge: "jsonwebtoken's maxAge is accessTokenMinutes here, in minutes, or accessTokenSeconds.",
    mutatePayload: "Your claims are never changed.",
    noTimestamp: "Every token has an iat.",
    nonce: "Access tokens have no nonce.",
    notBefore: "A token is valid at once; it has no nbf.",
    secretOrPrivateKey: "Write secret or privateKey.",
    secretOrKey: "Write secret or privateKey; the public key is derived from it.",
    secretOrPublicKey: "Write secret or privateKey; the public key is derived from it.",
    subject: "Pass the subject to jwt.issue(subject).",
  },
} as const;

/** What to write in place of an option that belongs in one of the settings, by its name in another package. */
export const TOP_LEVEL_NAMES: Readonly<Record<string, string>> = {
  helmet: "helmet is headers here.",
  contentSecurityPolicy: "Write headers: { contentSecurityPolicy: … }.",
  strictTransportSecurity: "Write headers: { strictTransportSecurity: … }.",
  hsts: "Write headers: { strictTransportSecurity: … }.",
  origin: "Write cors: { origins: […] }.",
  origins: "Write cors: { origins: […] }.",
  allowedHosts: "allowedHosts is trustedHosts here.",
  windowMs: "Write rateLimit: { windowSeconds: … }, in seconds instead of milliseconds.",
  limit: "Write rateLimit: { limit: … }.",
  max: "Write rateLimit: { limit: … }.",
  cookie: "Write session: { … }, with the options of the cookie in it.",
  secret: "Write secretKey, from which the secrets of all protections are derived, or session: { secret: … }.",
  expiresIn: "Write jwt: { accessTokenMinutes: … }.",
};

interface Translated {
  /** What follows the sentence "There is no setting …", if anything does. */
  readonly says?: string;
  readonly remedy: string;
  /** The setting that was meant. */
  readonly meant?: string;
}

/**
 * Turns an entry of the tables into an issue.
 *
 * @param value the value of the option: a number is repeated in the remedy, in the unit of the setting
 */
export function translate(entry: string, value: unknown): Translated {
  if (entry.startsWith("Write ")) return { remedy: entry };
  const [, meant, of = "", fixed, choices] = IS_HERE.exec(entry) ?? [];
  if (meant === undefined) return { says: entry, remedy: "Remove the setting." };
  const write = fixed ?? choices ?? inUnit(entry, value);
  return {
    says: entry,
    meant,
    remedy: write === undefined ? `Write ${meant}${of} instead.` : `Write ${meant}: ${write}.`,
  };
}

/** "is headers: "legacy" here", "is trustProxy of applySecurity here", "is frameOptions here: "DENY" or false." */
const IS_HERE = /\bis (\w+)( of \w+)?(?:: ("[^"]*"))? here(?:: (.+)\.$)?/;

function inUnit(entry: string, value: unknown): string | undefined {
  if (typeof value !== "number" || entry.includes("in minutes")) return undefined;
  const inSetting = entry.includes("instead of milliseconds") ? value / 1000 : value;
  return Number.isSafeInteger(inSetting) ? String(inSetting) : undefined;
}
