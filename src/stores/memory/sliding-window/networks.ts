import { isIP } from "node:net";

/** The networks of an address: those of one subscriber or data centre, and those of one provider. */
export interface Networks {
  /** IPv4 /24, IPv6 /48. */
  readonly narrow: string;
  /** IPv4 /16, IPv6 /32. */
  readonly wide: string;
}

/**
 * The networks of a key that is an address or a prefix, alone or followed by a space and more text, like keys of an
 * address and a name; `undefined` for every other key. So a network that invents names fills only its own windows.
 */
export function networksOf(key: string): Networks | undefined {
  const end = key.search(/[ /]/);
  const address = end === -1 ? key : key.slice(0, end);
  const family = isIP(address);
  if (family === 0) return undefined;
  if (family === 4) {
    const [first, second, third] = address.split(".");
    return { narrow: `${first}.${second}.${third}`, wide: `${first}.${second}` };
  }
  const [first, second, third] = groups(address.toLowerCase());
  return { narrow: `${first}:${second}:${third}`, wide: `${first}:${second}` };
}

/** The first three groups of an IPv6 address. */
function groups(address: string): string[] {
  const [head = "", tail] = address.split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? [] : new Array<string>(Math.max(0, 8 - before.length - after.length)).fill("0");
  return [...before, ...zeros, ...after].slice(0, 3);
}
