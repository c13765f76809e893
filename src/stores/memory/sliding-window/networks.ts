import { isIP } from "node:net";

const SPACE = 0x20;
const SLASH = 0x2f;
const DOT = 0x2e;

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
  const { length, dots } = scan(key);
  const address = length === key.length ? key : key.slice(0, length);
  const family = isIP(address);
  if (family === 0) return undefined;
  if (family === 4) return { narrow: address.slice(0, dots[2]), wide: address.slice(0, dots[1]) };
  const [first, second, third] = groups(address.toLowerCase());
  return { narrow: `${first}:${second}:${third}`, wide: `${first}:${second}` };
}

/**
 * How many characters come before the first space or slash, and where the first three dots are. One pass in place of a
 * search and a split: a flood of new addresses comes here with every request.
 */
function scan(key: string): { readonly length: number; readonly dots: readonly number[] } {
  const dots: number[] = [];
  for (let at = 0; at < key.length; at += 1) {
    const code = key.charCodeAt(at);
    if (code === SPACE || code === SLASH) return { length: at, dots };
    if (code === DOT && dots.length < 3) dots.push(at);
  }
  return { length: key.length, dots };
}

/** The first three groups of an IPv6 address. */
function groups(address: string): string[] {
  const [head = "", tail] = address.split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? [] : new Array<string>(Math.max(0, 8 - before.length - after.length)).fill("0");
  return [...before, ...zeros, ...after].slice(0, 3);
}
