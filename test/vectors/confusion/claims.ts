import { CLAIMS } from "./gate.js";

/** A claim as JSON text in place of the right one, and what the token is refused for. */
export interface ClaimCase {
  readonly claim: keyof typeof CLAIMS | "nbf" | "roles" | "fam" | "iat_ms";
  /** JSON text of its value; `undefined` leaves the claim out. */
  readonly json: string | undefined;
  readonly verdict:
    "accepted" | "claims" | "lifetime" | "expired" | "not-yet-valid" | "issuer" | "audience" | "malformed";
}

const { iat, exp } = CLAIMS;
/** A thousand million years, in seconds. */
const AEON = "31557600000000000";

const cases = (
  claim: ClaimCase["claim"],
  verdict: ClaimCase["verdict"],
  ...json: (string | undefined)[]
): ClaimCase[] => json.map((text) => ({ claim, json: text, verdict }));

/** What is no number at all. */
const NO_NUMBERS = [
  "null",
  "true",
  "false",
  "[]",
  `[${exp}]`,
  "{}",
  `{"valueOf":${exp}}`,
  '""',
  `"${exp}"`,
  `"${exp}.0"`,
  '"2026-01-01T12:30:00Z"',
  '"Infinity"',
  '"never"',
  '"1e400"',
  "1e400",
  "-1e400",
  "1e309",
];
/** What is no JSON: no payload that can be read. */
const NO_JSON = [
  "NaN",
  "Infinity",
  "-Infinity",
  "undefined",
  `0${exp}`,
  `+${exp}`,
  "0x7fffffff",
  `${exp}n`,
  ".5",
  "1.",
  "'1'",
  "",
  `${exp},`,
  "new Date()",
];

export const TIMES: readonly ClaimCase[] = [
  ...cases("exp", "accepted", `${exp}`, `${exp}.0`, `${exp}e0`, `${exp}0e-1`, `${iat + 1}`, `${exp + 5}`),
  ...cases(
    "exp",
    "claims",
    undefined,
    ...NO_NUMBERS,
    AEON,
    `${exp}.5`,
    "9007199254740993",
    "9223372036854775808",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "1".repeat(400),
    "1e308",
    "-9007199254740993",
    "5e-324",
  ),
  ...cases(
    "exp",
    "lifetime",
    "9007199254740991",
    "253402300800",
    "4294967296",
    "2147483648",
    `${exp + 6}`,
    `${exp}000`,
    "0",
    "-0",
    "-1",
    "1",
    `-${exp}`,
    "-9007199254740991",
    `${iat}`,
    `${iat - 1}`,
  ),
  ...cases("exp", "malformed", ...NO_JSON),
  ...cases("iat", "accepted", `${iat}.25`, `${iat + 5}`, `${iat - 5}`),
  ...cases("iat", "claims", undefined, ...NO_NUMBERS),
  ...cases(
    "iat",
    "lifetime",
    AEON,
    "0",
    "-0",
    "-1",
    `-${iat}`,
    `${iat - 6}`,
    `${iat}000`,
    "9007199254740991",
    "1".repeat(300),
    "-1e308",
  ),
  ...cases("iat", "not-yet-valid", `${iat + 6}`, `${exp - 1}`),
  ...cases("iat", "malformed", ...NO_JSON),
  ...cases("nbf", "accepted", undefined, "0", "-0", "-1", `${iat}`, `${iat}.5`, `${iat + 5}`, `-${AEON}`, "-1e308"),
  ...cases("nbf", "claims", ...NO_NUMBERS),
  ...cases("nbf", "not-yet-valid", AEON, `${iat + 6}`, `${exp}`, "9007199254740991", "1e308", "1".repeat(300)),
  ...cases("nbf", "malformed", ...NO_JSON),
  ...cases("iat_ms", "accepted", undefined, `${iat}000`),
  ...cases("iat_ms", "claims", ...NO_NUMBERS, `${AEON}000`, "0.5"),
];

const NO_TEXTS = ["null", "true", "0", "1e400", "[]", "{}", '{"toString":"user-1"}'];

export const NAMES: readonly ClaimCase[] = [
  ...cases("sub", "claims", undefined, ...NO_TEXTS, '""', '["user-1"]'),
  ...cases("jti", "claims", undefined, ...NO_TEXTS, '""', '["token-1"]', JSON.stringify("j".repeat(256))),
  ...cases("jti", "accepted", JSON.stringify("j".repeat(255))),
  ...cases(
    "iss",
    "issuer",
    undefined,
    ...NO_TEXTS,
    '""',
    '["portcullis"]',
    '"Portcullis"',
    '"portcullis "',
    '"portcullis\\u0000"',
    '"*"',
    '"https://portcullis"',
  ),
  ...cases(
    "aud",
    "audience",
    undefined,
    ...NO_TEXTS,
    '""',
    '"*"',
    '"Portcullis"',
    '"portcullis "',
    '"portcullis,other"',
    '["other"]',
    '[["portcullis"]]',
    '["portcullis",0]',
    '[null,"portcullis"]',
    '{"0":"portcullis","length":1}',
  ),
  ...cases("aud", "accepted", '["portcullis"]', '["other","portcullis"]'),
  ...cases("scope", "claims", "null", "true", "0", "[]", '["read"]', "{}"),
  ...cases("scope", "accepted", undefined, '""', '"read write"'),
  ...cases(
    "roles",
    "claims",
    "null",
    '"admin"',
    "{}",
    "[1]",
    '["admin",null]',
    '[["admin"]]',
    '{"0":"admin","length":1}',
  ),
  ...cases("roles", "accepted", "[]", '["admin"]'),
  ...cases("fam", "claims", "null", "0", '""', "[]", "{}"),
];

/** Whole payloads. */
export const PAYLOADS: readonly {
  readonly name: string;
  readonly json: string;
  readonly verdict: ClaimCase["verdict"];
}[] = [
  ...[
    "null",
    "true",
    "0",
    '""',
    '"text"',
    "[]",
    `[${JSON.stringify(CLAIMS)}]`,
    "",
    " ",
    "{",
    "}",
    "{}{}",
    `${JSON.stringify(CLAIMS)}x`,
    `\ufeff${JSON.stringify(CLAIMS)}`,
    "'",
    "\u0000",
  ].map((json) => ({ name: json.slice(0, 20), json, verdict: "malformed" as const })),
  { name: "no claims", json: "{}", verdict: "claims" },
  { name: "claims in __proto__", json: `{"__proto__":${JSON.stringify(CLAIMS)}}`, verdict: "claims" },
  {
    name: "claims in constructor.prototype",
    json: `{"constructor":{"prototype":${JSON.stringify(CLAIMS)}}}`,
    verdict: "claims",
  },
  { name: "white space around", json: ` \r\n\t${JSON.stringify(CLAIMS, null, 1)} `, verdict: "accepted" },
  {
    name: "another subject in __proto__",
    json: JSON.stringify(CLAIMS).replace("{", '{"__proto__":{"sub":"admin"},'),
    verdict: "accepted",
  },
  // RFC 7519 section 4: of a name that stands twice the last counts.
  { name: "exp twice, endless last", json: JSON.stringify(CLAIMS).replace("}", ',"exp":1e400}'), verdict: "claims" },
  { name: "exp twice, endless first", json: JSON.stringify(CLAIMS).replace("{", '{"exp":1e400,'), verdict: "accepted" },
  { name: "sub twice, none last", json: JSON.stringify(CLAIMS).replace("}", ',"sub":null}'), verdict: "claims" },
  {
    name: "aud twice, another last",
    json: JSON.stringify(CLAIMS).replace("}", ',"aud":"other"}'),
    verdict: "audience",
  },
];

/** The right claims but for one. */
export function withClaim({ claim, json }: ClaimCase): string {
  const members = Object.entries(CLAIMS)
    .filter(([name]) => name !== claim)
    .map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`);
  return `{${[...members, ...(json === undefined ? [] : [`"${claim}":${json}`])].join(",")}}`;
}
