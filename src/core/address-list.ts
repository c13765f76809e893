import { BlockList, isIP, isIPv4 } from "node:net";
import { normaliseAddress } from "./client-address.js";

/** An address or CIDR that cannot be read, with the reason. */
export type AddressRangeProblem = "not-an-address" | "bad-prefix";

/** Why `text` is not an address or CIDR range, or `undefined` when it is one. */
export function addressRangeProblem(text: string): AddressRangeProblem | undefined {
  const slash = text.indexOf("/");
  const address = slash === -1 ? text : text.slice(0, slash);
  const family = isIP(address);
  if (family === 0 || address.includes("%")) return "not-an-address";
  if (slash === -1) return undefined;
  const prefix = text.slice(slash + 1);
  if (!/^(?:0|[1-9]\d{0,2})$/.test(prefix) || Number(prefix) > (family === 4 ? 32 : 128)) return "bad-prefix";
  return undefined;
}

/** Which addresses are on a list of addresses and CIDR ranges. Built once; look-ups take any notation of an address. */
export class AddressList {
  readonly #exact = new Set<string>();
  readonly #ranges = new BlockList();
  readonly #hasRanges: boolean;

  /** @throws RangeError when an entry is neither an address nor a CIDR range; check with `addressRangeProblem` first. */
  constructor(entries: readonly string[]) {
    let ranges = 0;
    for (const entry of entries) {
      if (addressRangeProblem(entry) !== undefined) throw new RangeError("not an address or CIDR range");
      const slash = entry.indexOf("/");
      if (slash === -1) {
        this.#exact.add(normaliseAddress(entry) ?? entry);
        continue;
      }
      const address = entry.slice(0, slash);
      this.#ranges.addSubnet(address, Number(entry.slice(slash + 1)), isIPv4(address) ? "ipv4" : "ipv6");
      ranges += 1;
    }
    this.#hasRanges = ranges > 0;
  }

  /** @param address as `normaliseAddress` gives it */
  has(address: string): boolean {
    if (this.#exact.has(address)) return true;
    if (!this.#hasRanges) return false;
    const family = isIP(address);
    return family !== 0 && this.#ranges.check(address, family === 4 ? "ipv4" : "ipv6");
  }
}
