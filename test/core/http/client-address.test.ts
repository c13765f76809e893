import { BlockList, isIPv4 } from "node:net";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AddressList, addressRangeProblem, coversInternet } from "../../../src/core/http/address-list.js";
import { addressKey, normaliseAddress } from "../../../src/core/http/client-address.js";

describe("normaliseAddress", () => {
  it.each([
    ["192.0.2.7", "192.0.2.7"],
    ["192.0.2.7:5123", "192.0.2.7"],
    ["::ffff:192.0.2.7", "192.0.2.7"],
    ["::ffff:c000:207", "192.0.2.7"],
    ["::192.0.2.7", "::c000:207"],
    ["::c000:207", "::c000:207"],
    ["0:0:0:0:0:ffff:192.0.2.7", "192.0.2.7"],
    ["[::ffff:192.0.2.7]:80", "192.0.2.7"],
    ["2001:DB8:0:0::1", "2001:db8::1"],
    ["[2001:db8::1]:443", "2001:db8::1"],
    ["fe80::1%eth0", "fe80::1"],
    ["fe80::1%25eth0", "fe80::1"],
    ["[fe80::1%eth0]:80", "fe80::1"],
    ["::1", "::1"],
    ["64:ff9b::192.0.2.7", "192.0.2.7"],
    ["64:FF9B::c000:207", "192.0.2.7"],
    ["[64:ff9b::c000:207]:4001", "192.0.2.7"],
    ["64:ff9b:1::c000:207", "192.0.2.7"],
    ["64:ff9b:1:c000:0002:0700::", "64:ff9b:1:c000:2:700::"],
    ["64:ff9b:2::c000:207", "64:ff9b:2::c000:207"],
    ["::ffff:0:192.0.2.7", "192.0.2.7"],
    ["::ffff:0:c000:207", "192.0.2.7"],
    ["64:ff9b:0:0:1::c000:207", "64:ff9b::1:0:c000:207"],
  ])("normalises %s to %s", (text, normal) => {
    expect(normaliseAddress(text)).toBe(normal);
  });

  it.each([
    "",
    "unknown",
    "192.0.2",
    "192.0.2.256",
    "01.2.3.4",
    "2001:db8:::1",
    "[::1",
    "a".repeat(100),
    "192.0.2.7, 192.0.2.8",
    "2130706433",
  ])("refuses %j", (text) => {
    expect(normaliseAddress(text)).toBeUndefined();
  });

  it("gives one key to every notation of an IPv4 client", () => {
    fc.assert(
      fc.property(fc.ipV4(), fc.integer({ min: 1, max: 65535 }), (address, port) => {
        const [a = 0, b = 0, c = 0, d = 0] = address.split(".").map(Number);
        const hex = `::ffff:${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
        for (const text of [address, `${address}:${port}`, `::ffff:${address}`, hex, `[${hex}]:${port}`]) {
          expect(addressKey(normaliseAddress(text) ?? "", 56)).toBe(address);
        }
      }),
    );
  });

  it("gives one key to a /56 and another to the next", () => {
    const key = (text: string) => addressKey(normaliseAddress(text) ?? "", 56);
    expect(key("2001:db8:0:1200::1")).toBe(key("2001:db8:0:12ff:ffff::9"));
    expect(key("2001:db8:0:1200::1")).not.toBe(key("2001:db8:0:1300::1"));
  });

  it("gives one key to the 6to4 network of an IPv4 address", () => {
    expect(addressKey("2002:c000:207:1::1", 56)).toBe(addressKey("2002:c000:207:ff00::9", 56));
    expect(addressKey("2002:c000:207::1", 56)).not.toBe(addressKey("2002:c000:208::1", 56));
  });

  it("never throws", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 80 }), (text) => void normaliseAddress(text)),
      { numRuns: 500 },
    );
  });
});

describe("AddressList", () => {
  it("reads a range of translated addresses as a range of IPv4, and matches no IPv4 address with a translator's whole prefix", () => {
    const some = new AddressList(["64:ff9b::c000:200/120"]);
    expect(["192.0.2.9", "192.0.3.9"].map((address) => some.has(address))).toEqual([true, false]);
    expect(new AddressList(["64:ff9b::/96"]).has("192.0.2.9")).toBe(false);
  });

  const list = new AddressList(["192.0.2.0/24", "198.51.100.7", "2001:db8::/32", "::1"]);
  it.each([
    ["192.0.2.200", true],
    ["192.0.3.1", false],
    ["198.51.100.7", true],
    ["198.51.100.8", false],
    ["2001:db8:1::1", true],
    ["2001:db9::1", false],
    ["::1", true],
    ["unknown", false],
    ["64:ff9b::192.0.2.9", true],
    ["64:ff9b::c000:209", true],
    ["::ffff:c000:209", true],
    ["::ffff:c000:309", false],
  ])("%s: %s", (address, listed) => {
    expect(list.has(address)).toBe(listed);
  });

  it.each([
    ["192.0.2.0/33", "bad-prefix"],
    ["192.0.2.0/024", "bad-prefix"],
    ["192.0.2.0/", "bad-prefix"],
    ["2001:db8::/129", "bad-prefix"],
    ["192.0.2", "not-an-address"],
    ["fe80::1%eth0", "not-an-address"],
    ["", "not-an-address"],
    ["192.0.2.0/24", undefined],
    ["::/0", undefined],
  ])("%j: %s", (text, problem) => {
    expect(addressRangeProblem(text)).toBe(problem);
  });

  it("agrees with net.BlockList", () => {
    const ipv4 = fc
      .ipV4()
      .chain((address) =>
        fc.integer({ min: 0, max: 32 }).map((prefix) => ({ address, prefix, family: "ipv4" as const })),
      );
    const mapped = fc.ipV4().map((address) => `::ffff:${address}`);
    const ipv6 = fc
      .oneof(fc.ipV6(), mapped)
      .chain((address) =>
        fc.integer({ min: 0, max: 128 }).map((prefix) => ({ address, prefix, family: "ipv6" as const })),
      );
    const property = fc.property(
      fc.array(fc.oneof(ipv4, ipv6), { minLength: 1, maxLength: 4 }),
      fc.oneof(fc.ipV4(), fc.ipV6(), mapped),
      fc.nat({ max: 3 }),
      (ranges, other, near) => {
        const oracle = new BlockList();
        for (const { address, prefix, family } of ranges) oracle.addSubnet(address, prefix, family);
        const subject = new AddressList(ranges.map(({ address, prefix }) => `${address}/${prefix}`));
        // The address of a range itself, as well as any: chance alone would hardly ever meet a range.
        for (const address of [other, ranges[near % ranges.length]!.address]) {
          const family = isIPv4(address) ? "ipv4" : "ipv6";
          expect([address, subject.has(normaliseAddress(address)!)]).toEqual([address, oracle.check(address, family)]);
          expect(subject.has(address)).toBe(oracle.check(address, family));
        }
      },
    );
    fc.assert(property, { numRuns: 2000 });
  });

  it("never throws", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9a-f:.%]{0,45}$/)), (text) => void list.has(text)),
      { numRuns: 2000 },
    );
  });

  it("refuses text that is not a range", () => {
    expect(() => new AddressList(["nonsense"])).toThrow(RangeError);
  });
});

describe("coversInternet", () => {
  it.each([
    [["0.0.0.0/0"]],
    [["::/0"]],
    [["0.0.0.0/1", "128.0.0.0/1"]],
    [["64.0.0.0/2"]],
    [["::ffff:0:0/96"]],
    [["::ffff:64.0.0.0/98"]],
    [["2000::/3"]],
    [["2000::/5"]],
    [["10.0.0.1", "2000::/4", "192.0.2.0/24"]],
  ])("%j: a large part of it", (ranges) => expect(coversInternet(ranges)).toBe(true));

  it.each([
    [[]],
    [["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "100.64.0.0/10"]],
    [["fc00::/7", "fe80::/10", "::1"]],
    [["64:ff9b::/96"]],
    [["2400:cb00::/32", "2a06:98c0::/29", "104.16.0.0/13", "3.0.0.0/8"]],
  ])("%j: not", (ranges) => expect(coversInternet(ranges)).toBe(false));
});
