import { classifyDriverError } from "../health/driver-errors.js";
import { RedisError } from "./connection.js";

/**
 * Describes why a connection cannot be made, when the server has answered and waiting longer changes nothing: its
 * certificate, the password. `undefined` for any other reason.
 */
export function refusalReason(error: unknown): string | undefined {
  if (!(error instanceof RedisError)) return undefined;
  const { message } = error;
  const kind = classifyDriverError(error);
  if (kind === "certificate-rejected") {
    return `The certificate of the Redis server is not trusted (${message.replace(/\.$/, "")}). Set NODE_EXTRA_CA_CERTS to the file of the authority that signed it, or pass a client with the option \`ca\` instead of a URL.`;
  }
  if (kind === "credentials-rejected")
    return `Redis rejected the user name or password (${message.replace(/\.$/, "")}).`;
  return undefined;
}
