import { gzipSync } from "node:zlib";
import { parseSettings, SettingsError } from "portcullis";
import { managing } from "./api-keys.js";
import { type Attack, type Group, MARK, type Outcome, wire } from "./attack.js";

const FORM: Outcome = { refused: "invalid-request" };
const TYPE: Outcome = { refused: "unsupported-media-type" };
const LARGE: Outcome = { refused: "payload-too-large" };
const GOOD = '{"name":"x"}';

/** A body to `POST /api-keys`, whose caller may make keys. The twin sends a plain one. */
const body = (name: string, reference: string, text: string, outcome = FORM, good = GOOD): Attack => ({
  name,
  reference,
  sequence: async (lab, twin) => {
    const { key } = await lab.key({ scopes: ["api-keys:manage"] });
    return lab.send(managing(key, "", twin ? good : text));
  },
  outcome,
  twin: { differs: "the body", outcome: { served: 201 } },
});

/** A good body under a header that makes it something else. */
const header = (
  name: string,
  reference: string,
  bad: Record<string, string>,
  good: Record<string, string>,
  text = GOOD,
): Attack => ({
  name,
  reference,
  sequence: async (lab, twin) => {
    const { key } = await lab.key({ scopes: ["api-keys:manage"] });
    const ask = managing(key, "", text);
    return lab.send({ ...ask, headers: { ...ask.headers, ...(twin ? good : bad) } });
  },
  outcome: TYPE,
  twin: { differs: Object.keys(bad).join(), outcome: { served: 201 } },
});

const JSON_TYPE = { "Content-Type": "application/json" };
const base = { secretKey: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E", trustedHosts: ["a.example"] };

/** What reading settings does: the paths it complains of, and whether objects have been changed by it. */
function settingsOutcome(text: string): unknown {
  try {
    parseSettings({ ...base, ...(JSON.parse(text) as object) });
    return "taken";
  } catch (error) {
    return error instanceof SettingsError ? error.issues.map(({ code, path }) => `${code} ${path}`) : error;
  }
}

const settings = (name: string, text: string, issues: readonly string[], good: string): Attack => ({
  name,
  reference: "CWE-1321",
  sequence: async (_lab, twin) => [settingsOutcome(twin ? good : text), ({} as { polluted?: unknown }).polluted],
  outcome: { holds: "the start is refused, no object is changed", evidence: [issues, undefined] },
  twin: {
    differs: "a setting that there is",
    outcome: { holds: "the settings are taken", evidence: ["taken", undefined] },
  },
});

const chunked = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`;
const long = JSON.stringify({ name: "x", metadata: { a: "y".repeat(20_000) } });

export const bodies: Group = {
  title: "Bodies and settings: pollution, reflection, size",
  attacks: [
    body("__proto__ beside the fields", "CWE-1321", `{"name":"x","__proto__":{"polluted":"${MARK}"}}`),
    body(
      "__proto__ in metadata",
      "CWE-1321",
      `{"name":"x","metadata":{"__proto__":{"polluted":"${MARK}"}}}`,
      FORM,
      `{"name":"x","metadata":{"proto":{"polluted":"${MARK}"}}}`,
    ),
    body(
      "constructor.prototype beside the fields",
      "CWE-1321",
      `{"name":"x","constructor":{"prototype":{"polluted":"${MARK}"}}}`,
    ),
    body("fields lent by the prototype", "CWE-1321", '{"__proto__":{"name":"x"}}'),
    {
      name: "constructor.prototype in metadata, which is kept as data",
      reference: "V15.3.6",
      sequence: async (lab) => {
        const { key } = await lab.key({ scopes: ["api-keys:manage"] });
        const { status } = await lab.send(
          managing(key, "", `{"name":"x","metadata":{"constructor":{"prototype":{"polluted":"${MARK}"}}}}`),
        );
        return [status, ({} as { polluted?: unknown }).polluted];
      },
      outcome: { holds: "201, no object is changed", evidence: [201, undefined] },
    },
    body("an unknown field whose name is markup", "CWE-79", `{"name":"x","<script>${MARK}":1}`),
    body("a value that is no JSON, to be seen in the message", "CWE-209", `{"name":${MARK}`),
    body(
      "a scope that is markup",
      "CWE-79",
      `{"name":"x","scopes":["<img src=${MARK}>"]}`,
      FORM,
      '{"name":"x","scopes":[]}',
    ),
    body("a name with a line break, for the log", "CWE-117", `{"name":"x\\r\\n${MARK}: forged"}`),
    body("a name with a NUL", "CWE-626", `{"name":"x\\u0000${MARK}"}`),
    body(
      "a name with half of a surrogate pair",
      "CWE-176",
      `{"name":"\\ud800${MARK}"}`,
      FORM,
      `{"name":"\\ud83d\\ude00${MARK}"}`,
    ),
    body("a list in place of an object", "V15.3.5", '[{"name":"x"}]'),
    body("null in place of an object", "V15.3.5", "null"),
    body("a number in place of text", "V15.3.5", '{"name":1}'),
    body(
      "a limit at infinity",
      "CWE-1284",
      '{"name":"x","rateLimit":{"limit":1e400,"windowSeconds":60}}',
      FORM,
      '{"name":"x","rateLimit":{"limit":1,"windowSeconds":60}}',
    ),
    body(
      "five thousand brackets",
      "CWE-674",
      `{"name":"x","metadata":{"a":${"[".repeat(5000)}${"]".repeat(5000)}}}`,
      FORM,
      '{"name":"x","metadata":{"a":[[[]]]}}',
    ),
    body("a body of 20 KB", "CWE-770", long, LARGE),
    {
      name: "a body of 20 KB that does not say so",
      reference: "CWE-770",
      sequence: async (lab, twin) => {
        const { key } = await lab.key({ scopes: ["api-keys:manage"] });
        const lines = [
          "POST /api-keys HTTP/1.1",
          "Host: api.example.com",
          "X-Forwarded-Proto: https",
          "X-Forwarded-For: {address}",
          `X-API-Key: ${key}`,
          "Content-Type: application/json",
        ];
        return lab.wire(
          [...lines, "Transfer-Encoding: chunked", "Connection: close", "", chunked(twin ? GOOD : long)].join("\r\n"),
        );
      },
      outcome: LARGE,
      twin: { differs: "the body", outcome: { served: 201 } },
    },
    header("a packed body", "CWE-409", { "Content-Encoding": "gzip" }, {}),
    header("a form", "V3.5.2", { "Content-Type": "application/x-www-form-urlencoded" }, JSON_TYPE),
    header("a form of parts", "V3.5.2", { "Content-Type": `multipart/form-data; boundary=${MARK}` }, JSON_TYPE),
    header("text", "V3.5.2", { "Content-Type": "text/plain" }, JSON_TYPE),
    header("a type that only begins like JSON", "CWE-187", { "Content-Type": "application/json-seq" }, JSON_TYPE),
    header(
      "JSON in another charset",
      "CWE-436",
      { "Content-Type": "application/json; charset=iso-8859-1" },
      { "Content-Type": "application/json; charset=utf-8" },
    ),
    header(
      "JSON in UTF-7, which is decoded after others have looked",
      "CWE-436",
      { "Content-Type": "application/json; charset=utf-7" },
      { "Content-Type": "application/json; charset=utf-8" },
    ),
    header(
      "JSON in UTF-16, by a quoted name",
      "CWE-436",
      { "Content-Type": 'application/json; charset="utf-16"' },
      { "Content-Type": 'application/json; charset="utf-8"' },
    ),
    {
      name: "a bomb: 4 MB packed into 4 KB",
      reference: "CWE-409",
      sequence: (lab, twin) => {
        // Latin-1 holds every byte as it is, and so it is sent.
        const packed = gzipSync(" ".repeat(4_000_000)).toString("latin1");
        const lines = (length: number): string[] => ["Content-Type: application/json", `Content-Length: ${length}`];
        const plain = '{"refreshToken":"x"}';
        return lab.wire(
          twin
            ? wire("POST /tokens/revoke HTTP/1.1", lines(plain.length), plain)
            : wire("POST /tokens/revoke HTTP/1.1", [...lines(packed.length), "Content-Encoding: gzip"], packed),
        );
      },
      outcome: TYPE,
      twin: { differs: "the body is not packed", outcome: { served: 204 } },
    },
    settings(
      "settings with __proto__",
      '{"session":{"__proto__":{"polluted":1}}}',
      ["unknown-setting session.__proto__"],
      '{"session":{"maxAge":60}}',
    ),
    settings(
      "settings with constructor",
      '{"session":{"constructor":{"prototype":{"polluted":1}}}}',
      ["unknown-setting session.constructor"],
      '{"session":{"maxAge":60}}',
    ),
  ],
};
