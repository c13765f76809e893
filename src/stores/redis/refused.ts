import { classifyDriverError } from "../health/driver-errors.js";
import { RedisError } from "./connection.js";

/**
 * Describes why a connection cannot be made, when the server has answered and waiting longer changes nothing: its
 * certificate, the password. `undefined` for any other reason.
 */
export function whyRefused(error: unknown): string | undefined {
  if (!(error instanceof RedisError)) return undefined;
  const { message } = error;
  const kind = classifyDriverError(error);
  if (kind === "certificate-rejected") {
    return `The certificate of Redis was not accepted (${message.replace(/\.$/, "")}). Name the file of the authority that signed it in NODE_EXTRA_CA_CERTS, or give a client made with its \`ca\` instead of a URL.`;
  }
  if (kind === "credentials-rejected") return `Redis refused the user or the password (${message.replace(/\.$/, "")}).`;
  return undefined;
}
