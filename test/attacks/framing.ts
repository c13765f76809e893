import { type Attack, type Group, MARK, type Outcome, wire } from "./attack.js";

const NODE: Outcome = { node: 400 };
const PROBLEM: Outcome = { refused: "missing-credentials" };
const SMUGGLED = `GET /public HTTP/1.1\r\nHost: api.example.com\r\nX-Forwarded-For: {address}\r\nConnection: close\r\n\r\n`;

/** A request whose end two readers could see in two places. */
const post = (
  name: string,
  reference: string,
  lines: readonly string[],
  body: string,
  twin: readonly [string, string],
): Attack => ({
  name,
  reference,
  wire: wire("POST /tokens/revoke HTTP/1.1", ["Content-Type: application/json", ...lines], body),
  twin,
  served: 204,
  outcome: NODE,
});

/** The same with a second request behind it. In the twin nothing is in doubt: the second is an honest one, and both are served. */
const smuggling = (
  name: string,
  reference: string,
  lines: readonly string[],
  body: string,
  twin: readonly [string, string],
): Attack => ({
  name,
  reference,
  wire: wire("POST /tokens/revoke HTTP/1.1", ["Content-Type: application/json", ...lines], body + SMUGGLED).replace(
    "Connection: close\r\n",
    "",
  ),
  twin,
  served: 204,
  answers: 2,
  outcome: NODE,
});

const TOKEN = '{"refreshToken":"x"}';
const LENGTH = `Content-Length: ${TOKEN.length}`;
const CHUNKED = "Transfer-Encoding: chunked";
const CHUNKS = `${TOKEN.length.toString(16)}\r\n${TOKEN}\r\n0\r\n\r\n`;

const get = (name: string, reference: string, line: string, good: string, outcome: Outcome = NODE): Attack => ({
  name,
  reference,
  wire: wire("GET /public HTTP/1.1", [line]),
  twin: [line, good],
  outcome,
});

export const framing: Group = {
  title: "Framing: request smuggling, header injection, slowness",
  attacks: [
    smuggling("CL.TE: Content-Length before Transfer-Encoding", "RFC 9112 6.1", [LENGTH, CHUNKED], CHUNKS, [
      `${LENGTH}\r\n`,
      "",
    ]),
    smuggling(
      "TE.CL: Transfer-Encoding before Content-Length",
      "RFC 9112 6.1",
      [CHUNKED, "Content-Length: 4"],
      CHUNKS,
      ["Content-Length: 4\r\n", ""],
    ),
    smuggling("two lengths that differ", "RFC 9112 6.3", [LENGTH, "Content-Length: 0"], TOKEN, [
      "Content-Length: 0\r\n",
      "",
    ]),
    post("two lengths that agree", "RFC 9112 6.3", [LENGTH, LENGTH], TOKEN, [`${LENGTH}\r\n${LENGTH}`, LENGTH]),
    post("a list of lengths", "RFC 9112 6.3", [`${LENGTH}, ${TOKEN.length}`], TOKEN, [`, ${TOKEN.length}`, ""]),
    post("a length with a sign", "CWE-444", [`Content-Length: +${TOKEN.length}`], TOKEN, ["+", ""]),
    post("a length in hexadecimal", "CWE-444", [`Content-Length: 0x${TOKEN.length.toString(16)}`], TOKEN, [
      `0x${TOKEN.length.toString(16)}`,
      String(TOKEN.length),
    ]),
    post("a length beyond 64 bits", "CWE-190", [`Content-Length: ${2n ** 64n + BigInt(TOKEN.length)}`], TOKEN, [
      String(2n ** 64n + BigInt(TOKEN.length)),
      String(TOKEN.length),
    ]),
    smuggling("chunked, and then something else", "RFC 9112 6.1", ["Transfer-Encoding: chunked, identity"], CHUNKS, [
      ", identity",
      "",
    ]),
    smuggling("a space before the colon", "RFC 9112 5.1", ["Transfer-Encoding : chunked"], CHUNKS, [" :", ":"]),
    smuggling("a vertical tab before chunked", "CWE-444", ["Transfer-Encoding: \x0bchunked"], CHUNKS, ["\x0b", ""]),
    smuggling("chunked on a folded line", "RFC 9112 5.2", ["Transfer-Encoding:\r\n chunked"], CHUNKS, [
      "\r\n chunked",
      " chunked",
    ]),
    post("a chunk of negative size", "RFC 9112 7.1", [CHUNKED], `-1\r\n${SMUGGLED}`, [`-1\r\n${SMUGGLED}`, CHUNKS]),
    post("a chunk size in C's notation", "RFC 9112 7.1", [CHUNKED], `0x${CHUNKS}`, ["0x", ""]),
    post("a chunk size beyond 64 bits", "CWE-190", [CHUNKED], `1000000000000000${CHUNKS}`, ["1000000000000000", ""]),
    post("a chunk longer than its size", "RFC 9112 7.1", [CHUNKED], CHUNKS.replace("}\r\n", "}xx\r\n"), ["}xx", "}"]),
    post("a bare line feed after a chunk's extension", "RFC 9112 7.1.1", [CHUNKED], CHUNKS.replace("\r\n", ";a\n"), [
      ";a\n",
      ";a\r\n",
    ]),
    {
      name: "a second request in the body of a GET",
      reference: "CWE-444",
      sequence: async (lab) => {
        const { status, responses, reached } = await lab.wire(
          wire("GET /guarded HTTP/1.1", [`Content-Length: ${SMUGGLED.length}`], SMUGGLED),
        );
        return { status, responses, reached };
      },
      outcome: { holds: "401, once; the body is a body", evidence: { status: 401, responses: 1, reached: [] } },
    },
    {
      name: "a transfer coding nobody knows, a request behind it",
      reference: "RFC 9112 6.1",
      sequence: async (lab) => {
        const { status, responses, reached } = await lab.wire(
          wire("GET /guarded HTTP/1.1", ["Transfer-Encoding: xchunked"], SMUGGLED),
        );
        return { status, responses, reached };
      },
      outcome: { holds: "401, once; all that follows is body", evidence: { status: 401, responses: 1, reached: [] } },
    },
    {
      name: "credentials and a host in the trailer of a body",
      reference: "RFC 9110 6.5.1",
      sequence: async (lab, twin) => {
        const { key } = await lab.key();
        const field = `X-API-Key: ${key}\r\n`;
        const sent = wire("POST /guarded HTTP/1.1", [CHUNKED], `1\r\nx\r\n0\r\n${twin ? "" : field}\r\n`);
        return lab.wire(twin ? sent.replace("Connection:", `${field}Connection:`) : sent);
      },
      outcome: PROBLEM,
      twin: { differs: "the key stands in the header", outcome: { served: 200 } },
    },
    {
      name: "h2c: an upgrade past the proxy",
      reference: "CWE-444",
      wire: wire("GET /guarded HTTP/1.1", ["Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"]),
      twin: ["/guarded", "/public"],
      outcome: PROBLEM,
    },
    {
      name: "the first line of HTTP/2",
      reference: "RFC 9113 3.4",
      wire: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      outcome: NODE,
    },
    {
      name: "HTTP/0.9",
      reference: "RFC 9112 2.3",
      wire: "GET /public\r\n\r\n",
      outcome: { refused: "untrusted-host", over: "http" },
    },
    {
      name: "a tunnel through us",
      reference: "CWE-441",
      wire: wire(`CONNECT ${MARK}.example:443 HTTP/1.1`),
      outcome: { node: "closed" },
    },
    get("a folded header line", "RFC 9112 5.2", "X-A: a\r\n b", "X-A: a b"),
    get("a bare carriage return in a header", "RFC 9112 2.2", `X-A: a\rX-API-Key: ${MARK}`, "X-A: a"),
    get("a bare line feed in a header", "RFC 9112 2.2", `X-A: a\nX-API-Key: ${MARK}`, "X-A: a"),
    get("NUL in a header", "RFC 9110 5.5", `X-A: a\0${MARK}`, "X-A: a"),
    get("a space in a header's name", "RFC 9112 5.1", `X A: ${MARK}`, `X-A: ${MARK}`),
    get("a header before its name", "RFC 9112 2.2", ` X-A: ${MARK}`.replace(" ", ": "), `X-A: ${MARK}`),
    {
      name: "an escape sequence for the log in the target",
      reference: "CWE-117",
      wire: wire(`GET /public\x1b[31m${MARK} HTTP/1.1`),
      twin: [`\x1b[31m${MARK}`, ""],
      outcome: NODE,
    },
    {
      name: "response splitting by an encoded line break",
      reference: "CWE-113",
      ask: { path: `/guarded?next=%0d%0aSet-Cookie:%20${MARK}=1%0d%0a%0d%0a${MARK}` },
      twin: { path: `/public?next=%0d%0aSet-Cookie:%20${MARK}=1%0d%0a%0d%0a${MARK}` },
      outcome: PROBLEM,
    },
    {
      name: "response splitting by characters that lose their high byte",
      reference: "CVE-2016-2216",
      // U+010D and U+010A, which are CR and LF in the lower eight bits.
      wire: wire("GET /public HTTP/1.1", [
        `X-API-Key: mcp_${Buffer.from("\u010d\u010aSet-Cookie: a").toString("latin1")}${MARK}`,
      ]),
      twin: ["X-API-Key", "X-Other"],
      outcome: { refused: "invalid-credentials" },
    },
    {
      name: "headers of 17 KB",
      reference: "CWE-770",
      wire: wire("GET /public HTTP/1.1", [`X-A: ${"a".repeat(17_000)}`]),
      twin: ["a".repeat(17_000), "a".repeat(12_000)],
      outcome: { node: 431 },
    },
    {
      name: "slow headers, which never end",
      reference: "CVE-2007-6750",
      wire: wire("GET /public HTTP/1.1").trimEnd(),
      impatient: true,
      twin: ["Connection: close", "Connection: close\r\n\r\n"],
      outcome: { node: 408 },
    },
    {
      name: "a slow body, which never ends",
      reference: "CWE-400",
      wire: wire("POST /tokens/revoke HTTP/1.1", ["Content-Type: application/json", "Content-Length: 21"], TOKEN),
      impatient: true,
      twin: ["Length: 21", "Length: 20"],
      served: 204,
      outcome: { node: 408 },
    },
    {
      name: "a slow body from nobody: not waited for",
      reference: "CWE-400",
      wire: wire("POST /api-keys HTTP/1.1", ["Content-Type: application/json", "Content-Length: 9000"], "{"),
      outcome: PROBLEM,
    },
  ],
};
