import { AddressList } from "./address-list.js";
import { normaliseAddress } from "./client-address.js";

/** The names that Express gives to ranges, and what these contain. */
const NAMED_RANGES: Readonly<Record<string, readonly string[]>> = {
  loopback: ["127.0.0.0/8", "::1"],
  linklocal: ["169.254.0.0/16", "fe80::/10"],
  uniquelocal: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
};

/**
 * The value of Express' `trust proxy` for a `trustProxy` setting. Express compares plain addresses only, so it would
 * take a proxy that writes `IP:port` into X-Forwarded-For for the client. A list therefore becomes a function that
 * recognises every spelling of an address.
 */
export function trustedProxies(
  setting: false | number | readonly string[],
): false | number | ((address: string | undefined) => boolean) {
  if (setting === false || typeof setting === "number") return setting;
  const list = new AddressList(setting.flatMap((range) => NAMED_RANGES[range] ?? [range]));
  return (address) => {
    const normal = normaliseAddress(address);
    return normal !== undefined && list.has(normal);
  };
}
