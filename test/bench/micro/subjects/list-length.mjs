// Whether a decision costs more when the list is longer: trusted hosts, CORS origins, addresses and CIDR ranges.
import { built } from "../support/built.mjs";
import { interleave, median, ratio } from "../support/interleave.mjs";
import { options } from "../support/options.mjs";
import { short, table, title } from "../support/table.mjs";

const { decideHost } = await built("trusted-host/decide.js");
const { HostPatterns } = await built("trusted-host/host-patterns.js");
const { decide: decideCors } = await built("cors/decide.js");
const { compileCors } = await built("cors/compile.js");
const { corsSchema } = await built("cors/settings.js");
const { AddressList } = await built("core/http/address-list.js");
const { parse } = await built("settings/object.js");

const LENGTHS = [1, 10, 100, 1000];
const BATCH = 1000;

/** One kind of decision: a list of that length, and what is asked of it; each question must be answered by `expected`. */
const KINDS = [
  ...["listed, as written", "listed, other case", "not listed"].map((kind) => ({
    name: `host: ${kind}`,
    make: (length) => hostList(length, kind),
  })),
  ...["below a wildcard", "not below a wildcard"].map((kind) => ({
    name: `host: ${kind}`,
    make: (length) => hostList(length, kind),
  })),
  ...["listed", "not listed", "preflight, listed"].map((kind) => ({
    name: `origin: ${kind}`,
    make: (length) => originList(length, kind),
  })),
  ...["below a wildcard", "not below a wildcard"].map((kind) => ({
    name: `origin: ${kind}`,
    make: (length) => originList(length, kind),
  })),
  {
    name: "address: IPv4, listed",
    make: (length) =>
      addressList(
        length,
        (i) => ipv4(i),
        (i) => ipv4(i),
        true,
      ),
  },
  {
    name: "address: IPv6, listed",
    make: (length) =>
      addressList(
        length,
        (i) => ipv6(i),
        (i) => ipv6(i),
        true,
      ),
  },
  {
    name: "range: IPv4, inside",
    make: (length) =>
      addressList(
        length,
        (i) => `${ipv4(i, 0)}/24`,
        (i) => ipv4(i),
        true,
      ),
  },
  {
    name: "range: IPv4, outside",
    make: (length) =>
      addressList(
        length,
        (i) => `${ipv4(i, 0)}/24`,
        (i) => `203.0.113.${i & 255}`,
        false,
      ),
  },
  {
    name: "range: IPv6, inside",
    make: (length) =>
      addressList(
        length,
        (i) => `2001:db8:${i.toString(16)}::/48`,
        (i) => ipv6(i),
        true,
      ),
  },
  {
    name: "range: IPv6, outside",
    make: (length) =>
      addressList(
        length,
        (i) => `2001:db8:${i.toString(16)}::/48`,
        (i) => `3fff:${(i & 4095).toString(16)}::1`,
        false,
      ),
  },
];

title(
  "Lists: nanoseconds a decision by the length of the list",
  "The entries asked for change from call to call. The last column is the median of the ratios of the rounds.",
);
const rows = KINDS.flatMap(({ name, make }) =>
  LENGTHS.map((length) => ({ name, ...checked(name, make(length)), operations: BATCH })),
);
const measured = await interleave(rows, { ms: options.ms / 2 });
const lines = KINDS.map(({ name }, kind) => {
  const ofKind = measured.slice(kind * LENGTHS.length, (kind + 1) * LENGTHS.length);
  return [name, ...ofKind.map(({ nanoseconds }) => short(median(nanoseconds))), short(ratio(ofKind.at(-1), ofKind[0]))];
});
table(["decision", ...LENGTHS.map((length) => `${length}`), "1,000 : 1"], lines);

/** A measurement of wrong answers would be worth nothing. */
function checked(name, { ask, questions, expected }) {
  const wrong = questions.find((question) => ask(question) !== expected);
  if (wrong !== undefined) throw new Error(`${name}: ${JSON.stringify(wrong)} is not answered by ${expected}`);
  return {
    run() {
      let count = 0;
      for (let i = 0, at = 0; i < BATCH; i += 1) {
        if (ask(questions[at]) === expected) count += 1;
        at = at + 1 === questions.length ? 0 : at + 1;
      }
      return count;
    },
  };
}

function hostList(length, kind) {
  const wild = kind.endsWith("wildcard");
  const policy = {
    hosts: new HostPatterns(numbers(length).map((i) => (wild ? `*.tenant${i}.example.com` : `tenant${i}.example.com`))),
    exemptPaths: new Set(),
  };
  const text = {
    "listed, as written": (i) => `tenant${i}.example.com`,
    "listed, other case": (i) => `Tenant${i}.Example.com`,
    "below a wildcard": (i) => `a.b.tenant${i}.example.com`,
    "not listed": (i) => `other${i}.example.net`,
    "not below a wildcard": (i) => `a.b.other${i}.example.net`,
  }[kind];
  const questions = spreadOver(length).map((i) => ({
    method: "GET",
    target: "/",
    hostLines: [text(i)],
    forwarded: undefined,
  }));
  return {
    questions,
    ask: (question) => decideHost(policy, question) === undefined,
    expected: !kind.startsWith("not"),
  };
}

function originList(length, kind) {
  const wild = kind.endsWith("wildcard");
  const origins = numbers(length).map((i) =>
    wild ? `https://*.tenant${i}.example.com` : `https://tenant${i}.example.com`,
  );
  const { rules } = compileCors(parse(corsSchema, { origins, credentials: true }));
  const text = {
    listed: (i) => `https://tenant${i}.example.com`,
    "preflight, listed": (i) => `https://tenant${i}.example.com`,
    "below a wildcard": (i) => `https://a.b.tenant${i}.example.com`,
    "not listed": (i) => `https://other${i}.example.net`,
    "not below a wildcard": (i) => `https://a.b.other${i}.example.net`,
  }[kind];
  const preflight = kind.startsWith("preflight");
  const facts = {
    method: preflight ? "OPTIONS" : "GET",
    requestedMethod: preflight ? "GET" : undefined,
    requestedHeaders: preflight ? "content-type" : undefined,
    requestedPrivateNetwork: undefined,
    fetchSite: "cross-site",
    host: "api.example.com",
    secure: true,
  };
  const questions = spreadOver(length).map((i) => ({ ...facts, origin: text(i) }));
  const expected = kind.startsWith("not") ? "refused" : preflight ? "preflight-allowed" : "allowed";
  return { questions, ask: (question) => decideCors(rules, question).kind, expected };
}

function addressList(length, entryOf, questionOf, expected) {
  const list = new AddressList(numbers(length).map(entryOf));
  return { questions: spreadOver(length).map(questionOf), ask: (address) => list.has(address), expected };
}

function ipv4(i, last = 7) {
  return `10.${i >> 8}.${i & 255}.${last}`;
}

function ipv6(i) {
  return `2001:db8:${i.toString(16)}:1::7`;
}

function numbers(length) {
  return Array.from({ length }, (_, i) => i + 1);
}

/** A hundred entries from all over the list. */
function spreadOver(length) {
  return Array.from({ length: 100 }, (_, i) => 1 + Math.floor((i * length) / 100));
}
