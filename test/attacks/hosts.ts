import { type Attack, type Group, MARK, type Outcome, wire } from "./attack.js";
import type { Lab } from "./app.js";

const UNTRUSTED: Outcome = { refused: "untrusted-host" };
const OWN = "api.example.com";

const host = (name: string, reference: string, value: string, own = OWN): Attack => ({
  name,
  reference,
  ask: { path: "/public", headers: { Host: value } },
  twin: { headers: { Host: own } },
  outcome: UNTRUSTED,
});

/** A header by which a link, or the route itself, would be of the attacker's choosing. */
const linkOf = (name: string, reference: string, headers: Record<string, string>): Attack => ({
  name,
  reference,
  sequence: async (lab: Lab, twin) => {
    const { status, text, reached } = await lab.send({ path: "/link", headers: twin ? {} : headers });
    return { status, text, reached };
  },
  outcome: {
    holds: "200, the link names the service's own host",
    evidence: { status: 200, text: `{"link":"https://${OWN}/reset"}`, reached: [] },
  },
  twin: {
    differs: "without the header",
    outcome: {
      holds: "the same link",
      evidence: { status: 200, text: `{"link":"https://${OWN}/reset"}`, reached: [] },
    },
  },
});

export const hosts: Group = {
  title: "Host header and DNS rebinding",
  attacks: [
    host("Host of another site", "CWE-644", `${MARK}.example`),
    host("DNS rebinding: the attacker's name for our address", "CVE-2025-66414", `rebind.${MARK}.example:8080`),
    host("DNS rebinding: localhost", "CVE-2025-66414", "localhost"),
    host("DNS rebinding: the bare address", "CVE-2025-66414", "127.0.0.1"),
    host("our name as the beginning of another", "CWE-187", `${OWN}.${MARK}.example`),
    host("our name as the end of another label", "CWE-187", `evil-${OWN}`),
    host("a wildcard's name as the end of another label", "CWE-187", "evilapps.example.com", "evil.apps.example.com"),
    host("a wildcard's parent", "CWE-187", "apps.example.com", "shop.apps.example.com"),
    host("any character in the place of a dot", "CWE-625", "api-example.com"),
    host("user information before our name", "golang/go#78563", `${MARK}@${OWN}`),
    host("our name as user information", "golang/go#78563", `${OWN}@${MARK}.example`),
    host("a path after our name", "CWE-644", `${OWN}/${MARK}`),
    host("a fragment after our name", "CWE-644", `${OWN}#${MARK}.example`),
    host("a backslash after our name", "CWE-436", `${OWN}\\${MARK}.example`),
    host("a percent sign in our name", "CWE-436", "ap%69.example.com"),
    host("a port that is none", "RFC 3986 3.2.3", `${OWN}:${MARK}`),
    host("two ports", "rails/rails#37956", `${OWN}:443:80`),
    host("an address as one number", "CWE-1389", "2130706433"),
    host("text after an IPv6 address", "Kludex/starlette#3441", `[::1]${MARK}.example`),
    host("two closing dots", "CWE-1289", `${OWN}..`, `${OWN}.`),
    host("a list of hosts", "RFC 9112 3.2", `${OWN}, ${MARK}.example`),
    {
      name: "two Host lines",
      reference: "RFC 9112 3.2",
      wire: wire("GET /public HTTP/1.1", [`Host: ${MARK}.example`]),
      twin: [`Host: ${MARK}.example`, "X-Host: a"],
      outcome: UNTRUSTED,
    },
    {
      name: "two Host lines that agree",
      reference: "RFC 9112 3.2",
      wire: wire("GET /public HTTP/1.1", [`Host: ${OWN}`]),
      twin: [`Host: ${OWN}\r\nConn`, "Conn"],
      outcome: UNTRUSTED,
    },
    {
      name: "an absolute target that disagrees with Host",
      reference: "RFC 9112 3.2.2",
      wire: wire(`GET http://${MARK}.example/public HTTP/1.1`),
      twin: [`http://${MARK}.example/`, `http://${OWN}/`],
      outcome: UNTRUSTED,
    },
    {
      name: "HTTP/1.0 without Host",
      reference: "RFC 9112 3.2",
      wire: wire("GET /public HTTP/1.0").replace(`Host: ${OWN}`, "X-Host: a"),
      twin: ["X-Host: a", `Host: ${OWN}`],
      outcome: UNTRUSTED,
    },
    {
      name: "HTTP/1.1 without Host",
      reference: "RFC 9112 3.2",
      wire: wire("GET /public HTTP/1.1").replace(`Host: ${OWN}`, "X-Host: a"),
      twin: ["X-Host: a", `Host: ${OWN}`],
      outcome: { node: 400 },
    },
    linkOf("X-Forwarded-Host against a link", "expressjs/expressjs.com#481", { "X-Forwarded-Host": `${MARK}.example` }),
    linkOf("Forwarded, X-Host and their like against a link", "CWE-644", {
      Forwarded: `host=${MARK}.example`,
      "X-Host": `${MARK}.example`,
      "X-Forwarded-Server": `${MARK}.example`,
    }),
    {
      name: "X-Original-URL and X-Rewrite-URL to another route",
      reference: "CVE-2018-14773",
      ask: { path: "/guarded", headers: { "X-Original-URL": "/public", "X-Rewrite-URL": "/public" } },
      twin: { path: "/public" },
      outcome: { refused: "missing-credentials" },
    },
  ],
};
