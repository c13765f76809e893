import { RedisError } from "./connection.js";

/** Names that OpenSSL and Node give to a rejected certificate (Node's manual, "X509 certificate error codes"). */
const CERTIFICATE =
  /^(?:ERR_TLS_CERT_|CERT_|UNABLE_TO_|HOSTNAME_MISMATCH|(?:DEPTH_ZERO_)?SELF_SIGNED_CERT|INVALID_(?:CA|PURPOSE))/;

/**
 * Describes why a connection cannot be made, when the server has answered and waiting longer changes nothing: its
 * certificate, the password. `undefined` for any other reason.
 */
export function whyRefused(error: unknown): string | undefined {
  if (!(error instanceof RedisError)) return undefined;
  const { code, message } = error;
  if (CERTIFICATE.test(code)) {
    return `The certificate of the Redis server is not trusted (${message.replace(/\.$/, "")}). Set NODE_EXTRA_CA_CERTS to the file of the authority that signed it, or pass a client with the option \`ca\` instead of a URL.`;
  }
  if (code === "WRONGPASS" || code === "NOAUTH")
    return `Redis rejected the user name or password (${message.replace(/\.$/, "")}).`;
  return undefined;
}
