import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemUser } from "./process.js";

/** Paths of PEM files, valid for a day. */
export interface Certificates {
  /** What the server's certificate is signed by, and another authority that has nothing to do with it. */
  readonly ca: string;
  readonly otherCa: string;
  readonly cert: string;
  readonly key: string;
  remove(): void;
}

/**
 * @param names what the server's certificate is for, as OpenSSL writes it: `IP:127.0.0.1`, `DNS:localhost`
 * @param user the system user whose server reads the key; this one when absent or not root
 * @throws Error when there is no openssl
 */
export function makeCertificates(names: string, user?: string): Certificates {
  const folder = mkdtempSync(join(tmpdir(), "portcullis-tls-"));
  chmodSync(folder, 0o755);
  const at = (name: string): string => join(folder, name);
  const openssl = (...args: string[]): void => {
    try {
      execFileSync("openssl", args, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
    } catch (error) {
      throw new Error(
        "The TLS tests make their certificates with openssl, which failed or is not installed (Debian: apt-get install openssl).",
        { cause: error },
      );
    }
  };
  writeFileSync(
    at("ca.cnf"),
    "[req]\ndistinguished_name=dn\nx509_extensions=ext\n[dn]\n[ext]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n",
  );
  writeFileSync(at("leaf.cnf"), `subjectAltName=${names}\nextendedKeyUsage=serverAuth\n`);
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  for (const name of ["ca", "other"])
    openssl(
      "req",
      "-x509",
      ...newKey,
      "-config",
      "ca.cnf",
      "-days",
      "1",
      "-subj",
      `/CN=portcullis test ${name}`,
      "-keyout",
      `${name}.key`,
      "-out",
      `${name}.crt`,
    );
  openssl(
    "req",
    ...newKey,
    "-config",
    "ca.cnf",
    "-subj",
    "/CN=portcullis test server",
    "-keyout",
    "server.key",
    "-out",
    "server.csr",
  );
  openssl(
    "x509",
    "-req",
    "-in",
    "server.csr",
    "-CA",
    "ca.crt",
    "-CAkey",
    "ca.key",
    "-set_serial",
    "2",
    "-days",
    "1",
    "-extfile",
    "leaf.cnf",
    "-out",
    "server.crt",
  );
  chmodSync(at("server.key"), 0o600);
  if (user !== undefined && process.getuid?.() === 0) {
    const { uid, gid } = systemUser(user);
    chownSync(at("server.key"), uid, gid);
  }
  return {
    ca: at("ca.crt"),
    otherCa: at("other.crt"),
    cert: at("server.crt"),
    key: at("server.key"),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
