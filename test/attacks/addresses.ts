import { Agent, request } from "node:http";
import { type Lab, MAX_CLIENTS } from "./app.js";
import { type Ask, type Attack, type Group, json, MARK, type Outcome, SERVED } from "./attack.js";

const LIMITED: Outcome = { refused: "rate-limited" };

/** Uses up the three requests of `/limited` as `from`, then comes once more as somebody else. */
const evasion = (
  name: string,
  reference: string,
  from: (own: string) => Ask,
  again: (own: string) => Ask,
  fresh: (own: string, other: string) => Ask,
): Attack => ({
  name,
  reference,
  sequence: async (lab, twin) => {
    const own = lab.address;
    for (let i = 0; i < 3; i += 1) await expectServed(lab, { path: "/limited", ...from(own) });
    return lab.send({ path: "/limited", ...(twin ? fresh(own, lab.anotherAddress()) : again(own)) });
  },
  outcome: LIMITED,
  twin: { differs: "the address is another client's", outcome: SERVED },
});

async function expectServed(lab: Lab, ask: Ask): Promise<void> {
  const { status } = await lab.send(ask);
  if (status !== 200) throw new Error(`the attack could not begin: ${status}`);
}

const as = (address: string | string[], more: Record<string, string> = {}): Ask => ({
  headers: { "X-Forwarded-For": address, ...more },
});
const ordinary = (own: string): Ask => as(own);
const another = (_own: string, other: string): Ask => as(other);

/** Four notations of two addresses: what they are is decided by bits. */
const notation = (name: string, reference: string, one: string, same: string, other: string): Attack =>
  evasion(
    name,
    reference,
    () => as(one),
    () => as(same),
    () => as(other),
  );

/** A client from a denied network, in other words. */
const shutOut = (name: string, reference: string, denied: string, other: string): Attack => ({
  name: `a denied address: ${name}`,
  reference,
  ask: { path: "/limited", ...as(denied) },
  outcome: { refused: "address-refused" },
  twin: as(other),
});

export const addresses: Group = {
  title: "Addresses and limits",
  attacks: [
    evasion(
      "an invented address before the proxy's own entry",
      "V15.3.4",
      ordinary,
      (own) => as(`192.0.2.7, ${own}`),
      another,
    ),
    evasion(
      "a line of X-Forwarded-For before the proxy's",
      "V15.3.4",
      ordinary,
      (own) => as(["192.0.2.8", own]),
      another,
    ),
    evasion(
      "a thousand invented addresses",
      "V15.3.4",
      ordinary,
      (own) => as(`${"192.0.2.9, ".repeat(1000)}${own}`),
      another,
    ),
    evasion(
      "X-Real-IP, True-Client-IP and their like",
      "CWE-348",
      ordinary,
      (own) =>
        as(own, {
          "X-Real-IP": "192.0.2.1",
          "True-Client-IP": "192.0.2.1",
          "X-Client-IP": "192.0.2.1",
          "CF-Connecting-IP": "192.0.2.1",
          Forwarded: "for=192.0.2.1",
        }),
      another,
    ),
    evasion(
      "an address that is none, another each time",
      "CWE-348",
      () => as("unknown"),
      () => as(MARK),
      another,
    ),
    notation(
      "IPv6: another address of the same /64",
      "express-rate-limit/express-rate-limit#502",
      "2001:db8:10::1",
      "2001:db8:10::dead:beef",
      "2001:db8:11::1",
    ),
    notation(
      "IPv6: the other end of the same /56",
      "express-rate-limit/express-rate-limit#502",
      "2001:db8:20:1200::1",
      "2001:db8:20:12ff:ffff:ffff:ffff:ffff",
      "2001:db8:20:1300::1",
    ),
    notation(
      "IPv4 written as IPv6",
      "GHSA-46wh-pxpv-q5gq",
      "203.0.113.10",
      "::ffff:203.0.113.10",
      "::ffff:203.0.113.11",
    ),
    notation(
      "IPv4 written as IPv6 in hexadecimal",
      "GHSA-46wh-pxpv-q5gq",
      "203.0.113.20",
      "::ffff:cb00:7114",
      "::ffff:cb00:7115",
    ),
    notation("another port each time", "CWE-1289", "203.0.113.30:1000", "203.0.113.30:2000", "203.0.113.31:2000"),
    notation("IPv6 in other words", "CWE-1289", "2001:db8:40:0:0:0:0:1", "2001:DB8:0040::0001", "2001:db8:41::1"),
    evasion(
      "another spelling of the path",
      "CWE-178",
      ordinary,
      (own) => ({ ...as(own), path: "/LIMITED/" }),
      (_own, other) => ({ ...as(other), path: "/LIMITED/" }),
    ),
    evasion("HEAD instead of GET", "CWE-770", (own) => ({ ...as(own), method: "HEAD" }), ordinary, another),
    shutOut("IPv4 written as IPv6", "GHSA-46wh-pxpv-q5gq", "::ffff:192.88.99.9", "::ffff:192.88.98.9"),
    shutOut("IPv4 written as IPv6 in hexadecimal", "GHSA-46wh-pxpv-q5gq", "::ffff:c058:6309", "::ffff:c058:6209"),
    shutOut("translated by NAT64", "CWE-1289", "64:ff9b::192.88.99.9", "64:ff9b::192.88.98.9"),
    shutOut("with a port", "CWE-1289", "192.88.99.9:4711", "192.88.98.9:4711"),
    {
      name: "a flood of new addresses to flush the attacker's count",
      reference: "CWE-770",
      sequence: async (lab, twin) => {
        const own = { path: "/limited", ...as(lab.address) };
        for (let i = 0; i < (twin ? 1 : 3); i += 1) await expectServed(lab, own);
        await flood(lab, MAX_CLIENTS * 3);
        return lab.send(own);
      },
      outcome: LIMITED,
      twin: { differs: "two of the three requests are left", outcome: SERVED },
    },
    {
      name: "one key from many addresses",
      reference: "V2.4.1",
      sequence: async (lab, twin) => {
        const { key } = await lab.key({ ownerId: "busy" });
        const other = await lab.key({ ownerId: "idle" });
        for (let i = 0; i < 50; i += 1) await expectServed(lab, as(lab.anotherAddress(), { "X-API-Key": key }));
        return lab.send(as(lab.anotherAddress(), { "X-API-Key": twin ? other.key : key }));
      },
      outcome: LIMITED,
      twin: { differs: "the key is another owner's", outcome: SERVED },
    },
    {
      name: "passwords guessed one after the other",
      reference: "CWE-307",
      sequence: async (lab, twin) => {
        for (let i = 0; i < 5; i += 1)
          await lab.send({ ...json({ user: "ada", password: `guess ${i}` }), path: "/login" });
        if (twin) lab.clock.advance(60_000);
        return lab.send({ ...json({ user: "ada", password: "correct horse" }), path: "/login" });
      },
      outcome: LIMITED,
      twin: { differs: "a minute later", outcome: SERVED },
    },
    {
      name: "knocking on while refused, to be forgotten or locked out",
      reference: "V6.1.1",
      sequence: async (lab) => {
        const own = { path: "/limited", ...as(lab.address) };
        const statuses = [];
        for (let i = 0; i < 3; i += 1) await expectServed(lab, own);
        for (let i = 0; i < 5; i += 1) statuses.push((await lab.send(own)).status);
        lab.clock.advance(60_000);
        return [...statuses, (await lab.send(own)).status];
      },
      outcome: { holds: "429 until the minute is over, then 200", evidence: [429, 429, 429, 429, 429, 200] },
    },
  ],
};

/** One request from each of `count` new addresses, over a few connections. */
async function flood(lab: Lab, count: number): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  const one = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const headers = {
        Host: "api.example.com",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-For": lab.anotherAddress(),
      };
      const req = request({ host: "127.0.0.1", port: lab.port, path: "/limited", headers, agent }, (res) =>
        res.resume().on("end", resolve),
      );
      req.on("error", reject).end();
    });
  await Promise.all(Array.from({ length: count }, one));
  agent.destroy();
}
