import express from "express";
import fc from "fast-check";
import ipaddr from "ipaddr.js";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { applySecurity, type Security } from "portcullis";
import { addressKey, normaliseAddress } from "../../src/core/http/client-address.js";
import { serve, type TestServer } from "../support/serve.js";
import { runs } from "./seed.js";

vi.setConfig({ testTimeout: runs(60_000) });

/** Eight groups of 16 bits; zeros are common, so that there is something to compress. */
const group = fc.oneof(
  { weight: 2, arbitrary: fc.constant(0) },
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 0xffff }) },
);
const groupsOf = (length: number) => fc.array(group, { minLength: length, maxLength: length });
const ipv6 = groupsOf(8).filter((groups) => !isMapped(groups));
const ipv4 = fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 4, maxLength: 4 });
const port = fc.integer({ min: 0, max: 65_535 });
const zone = fc.constantFrom("%eth0", "%1", "%25en0", "%lo");

function isMapped(groups: readonly number[]): boolean {
  return groups.slice(0, 5).every((value) => value === 0) && groups[5] === 0xffff;
}

/** One of the ways to write eight groups (RFC 4291 section 2.2): any case, any leading zeros, any run of zeros left out, the end as a dotted quad. */
function writing(groups: readonly number[]): fc.Arbitrary<string> {
  const words = fc.tuple(
    ...groups.map((value) => fc.constantFrom(1, 2, 3, 4).map((width) => value.toString(16).padStart(width, "0"))),
  );
  const runsOfZeros = groups.flatMap((_, from) =>
    groups
      .slice(from)
      .flatMap((__, length) =>
        groups.slice(from, from + length + 1).every((value) => value === 0) ? [{ from, length: length + 1 }] : [],
      ),
  );
  const quad = `${(groups[6] ?? 0) >> 8}.${(groups[6] ?? 0) & 255}.${(groups[7] ?? 0) >> 8}.${(groups[7] ?? 0) & 255}`;
  return fc
    .tuple(words, fc.constantFrom(undefined, ...runsOfZeros), fc.boolean())
    .map(([text, run, dotted]) => {
      const parts =
        dotted && (run === undefined || run.from + run.length <= 6) ? [...text.slice(0, 6), quad] : [...text];
      if (run === undefined) return parts.join(":");
      return `${parts.slice(0, run.from).join(":")}::${parts.slice(run.from + run.length).join(":")}`;
    })
    .chain((text) => fc.mixedCase(fc.constant(text)));
}

/** The address as a socket or a proxy may tell it. */
const told = (bare: fc.Arbitrary<string>) =>
  fc
    .tuple(bare, fc.option(zone, { nil: "" }), fc.option(port, { nil: undefined }), fc.boolean())
    .map(([text, ofZone, ofPort, brackets]) => {
      if (ofPort !== undefined) return `[${text}${ofZone}]:${ofPort}`;
      return brackets ? `[${text}${ofZone}]` : text + ofZone;
    });

const tellings6 = (groups: readonly number[]) => told(writing(groups));
const tellings4 = (octets: readonly number[]) => {
  const [a = 0, b = 0, c = 0, d = 0] = octets;
  const text = octets.join(".");
  const mapped = [0, 0, 0, 0, 0, 0xffff, (a << 8) | b, (c << 8) | d];
  return fc.oneof(
    fc.constant(text),
    port.map((number) => `${text}:${number}`),
    port.map((number) => `[${text}]:${number}`),
    tellings6(mapped),
  );
};

const subnets = fc.integer({ min: 32, max: 64 });
const key = (text: string, subnet: number): string => addressKey(normaliseAddress(text) ?? "", subnet);
const asAddress = (groups: readonly number[]) => ipaddr.IPv6.parse(groups.map((value) => value.toString(16)).join(":"));
const bit = (groups: readonly number[], at: number): number[] =>
  groups.map((value, index) => (index === at >> 4 ? value ^ (0x8000 >> (at & 15)) : value));

describe("the key of an address", () => {
  it("of IPv6 is the same in every notation, and names the subnet that ipaddr.js names", () => {
    fc.assert(
      fc.property(
        ipv6.chain((groups) => fc.tuple(fc.constant(groups), tellings6(groups), tellings6(groups))),
        subnets,
        ([groups, one, other], subnet) => {
          expect(ipaddr.process(normaliseAddress(one) ?? "").toNormalizedString()).toBe(
            asAddress(groups).toNormalizedString(),
          );
          const [counted] = ipaddr.parseCIDR(key(one, subnet));
          expect(key(other, subnet)).toBe(key(one, subnet));
          expect(key(one, subnet)).toMatch(new RegExp(`/${subnet}$`));
          expect(asAddress(groups).match(counted as ipaddr.IPv6, subnet)).toBe(true);
        },
      ),
      { numRuns: runs(2000) },
    );
  });

  it("of IPv4 is the address in every notation, both mapped forms included", () => {
    fc.assert(
      fc.property(
        ipv4.chain((octets) => fc.tuple(fc.constant(octets), tellings4(octets))),
        subnets,
        ([octets, text], subnet) => {
          expect([text, normaliseAddress(text), key(text, subnet)]).toEqual([text, octets.join("."), octets.join(".")]);
          const bare = text.replace(/^\[([^\]]*)\].*$|^([\d.]+):\d+$/, "$1$2").replace(/%.*$/, "");
          expect(ipaddr.process(bare).toString()).toBe(octets.join("."));
        },
      ),
      { numRuns: runs(2000) },
    );
  });

  it("is shared by two addresses exactly when they are in one subnet of the configured size", () => {
    const pair = ipv6.chain((groups) =>
      fc.tuple(fc.constant(groups), fc.array(fc.integer({ min: 0, max: 127 }), { minLength: 1, maxLength: 3 })),
    );
    const seen = { same: 0, other: 0 };
    fc.assert(
      fc.property(pair, subnets, ([groups, bits], subnet) => {
        const neighbour = bits.reduce(bit, groups);
        fc.pre(!isMapped(neighbour));
        const together = asAddress(groups).match(asAddress(neighbour), subnet);
        seen[together ? "same" : "other"] += 1;
        expect(key(asAddress(groups).toString(), subnet) === key(asAddress(neighbour).toString(), subnet)).toBe(
          together,
        );
      }),
      { numRuns: runs(2000) },
    );
    expect(Math.min(seen.same, seen.other)).toBeGreaterThan(100);
  });

  it("is never that of an address of the other family, or of text that is not an address", () => {
    fc.assert(
      fc.property(ipv4, ipv6, subnets, (octets, groups, subnet) => {
        expect(key(asAddress(groups).toString(), subnet)).not.toBe(key(octets.join("."), subnet));
      }),
      { numRuns: runs(500) },
    );
    fc.assert(
      fc.property(
        fc.oneof(ipv4.chain(tellings4), ipv6.chain(tellings6)),
        fc.nat(),
        fc.constantFrom(..."g.:%[]/, x-"),
        (text, where, char) => {
          const at = where % (text.length + 1);
          const normal = normaliseAddress(text.slice(0, at) + char + text.slice(at));
          // Whatever is still read as an address is one by another reader too.
          if (normal !== undefined) expect(ipaddr.isValid(normal) && ipaddr.process(normal).toString()).toBe(normal);
        },
      ),
      { numRuns: runs(2000) },
    );
  });
});

describe("the bucket of a client behind a proxy", () => {
  let server: TestServer;
  let security: Security;
  beforeAll(async () => {
    const app = express();
    security = applySecurity(app, { debug: true, trustProxy: ["loopback"], rateLimit: { limit: 1_000_000 } });
    app.get("/", (_req, res) => void res.send("ok"));
    await security.ready();
    server = await serve(app);
  });
  afterAll(async () => {
    await server.close();
    await security.close();
  });

  async function remainingAfter(forwarded: string): Promise<number> {
    const answer = await server.send("/", { headers: { "x-forwarded-for": forwarded } });
    return Number(/r=(\d+)/.exec(String(answer.headers.ratelimit))?.[1]);
  }

  it("is one for all notations of an address, and for all addresses of a /56", async () => {
    const twice = fc.oneof(
      ipv4.chain((octets) => fc.tuple(tellings4(octets), tellings4(octets))),
      ipv6.chain((groups) =>
        fc
          .tuple(fc.integer({ min: 56, max: 127 }), fc.constant(groups))
          .chain(([at, same]) =>
            fc.tuple(tellings6(same), isMapped(bit(same, at)) ? tellings6(same) : tellings6(bit(same, at))),
          ),
      ),
    );
    await fc.assert(
      fc.asyncProperty(twice, async ([one, other]) => {
        const before = await remainingAfter(one);
        expect([one, other, before - (await remainingAfter(other))]).toEqual([one, other, 1]);
      }),
      { numRuns: runs(200) },
    );
  });

  it("is another for an address outside the /56", async () => {
    const apart = ipv6
      .chain((groups) => fc.tuple(fc.constant(groups), fc.integer({ min: 0, max: 55 })))
      .filter(([groups, at]) => !isMapped(bit(groups, at)));
    await fc.assert(
      fc.asyncProperty(apart, async ([groups, at]) => {
        const [one, other] = [asAddress(groups).toString(), asAddress(bit(groups, at)).toString()];
        const before = await remainingAfter(one);
        await remainingAfter(other);
        expect(before - (await remainingAfter(one))).toBe(1);
      }),
      { numRuns: runs(150) },
    );
  });
});
