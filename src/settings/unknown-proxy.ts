/**
 * The issue of a list of client addresses, when the settings do not say whether there is a proxy in front. Behind one
 * that is not trusted every client has the proxy's address, and a list would match all of them or none.
 */
export const UNKNOWN_PROXY = Object.freeze({
  message:
    "A list compares the addresses of clients, but trustProxy is not set. Behind a proxy that is not trusted, every client has the address of the proxy.",
  remedy:
    "Set trustProxy (TRUST_PROXY) to the number of proxies in front, or to their addresses; set it to false if clients connect directly.",
});
