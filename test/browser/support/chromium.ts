import { createHash, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";
import { findChromium, INSTALL_LINES } from "./find-chromium.js";

export interface Addresses {
  /** Where https://name and http://name of every name under test are served. */
  readonly httpsPort: number;
  readonly httpPort: number;
  readonly names: readonly string[];
  /** PEM file of the certificate they are served with. */
  readonly certificate: string;
}

/**
 * A browser to which the names are real: default ports, so that origins and sites are what they are in the world. Every other name
 * does not exist, so nothing leaves this machine.
 *
 * The test authority would have to be in an NSS database to be trusted as such, and the tool that writes one (certutil) does not
 * come with Chromium. Instead the one key of our servers is named as good. That is no blanket: any other certificate
 * is refused (hsts.test.ts proves it), and ours counts as free of errors, without which a browser heeds no
 * Strict-Transport-Security (RFC 6797 section 8.1). What it does not show is that the name is in the certificate.
 *
 * @throws Error with the install lines when there is no browser
 */
export async function launchChromium(addresses?: Addresses, flags: readonly string[] = []): Promise<Browser> {
  const executablePath = findChromium();
  if (executablePath === undefined) throw new Error(INSTALL_LINES);
  return chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-background-networking", ...pointTo(addresses), ...flags],
  });
}

/** Chromium takes the first rule that fits. */
const NOWHERE_ELSE = ["MAP * ~NOTFOUND", "EXCLUDE 127.0.0.1"];

function pointTo(addresses: Addresses | undefined): string[] {
  if (addresses === undefined) return [`--host-resolver-rules=${NOWHERE_ELSE.join(", ")}`];
  const { httpsPort, httpPort, names, certificate } = addresses;
  const spki = new X509Certificate(readFileSync(certificate)).publicKey.export({ type: "spki", format: "der" });
  const rules = names.flatMap((name) => [
    `MAP ${name}:443 127.0.0.1:${httpsPort}`,
    `MAP ${name}:80 127.0.0.1:${httpPort}`,
  ]);
  return [
    `--host-resolver-rules=${[...rules, ...NOWHERE_ELSE].join(", ")}`,
    `--ignore-certificate-errors-spki-list=${createHash("sha256").update(spki).digest("base64")}`,
  ];
}
