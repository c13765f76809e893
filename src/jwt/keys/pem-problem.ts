import type { KeyProblem } from "./validation.js";

type Half = "private" | "public";

const FORMS: Readonly<Record<Half, string>> = {
  private:
    "Pass an unencrypted PEM with its line breaks: PKCS #8 (BEGIN PRIVATE KEY), PKCS #1 (BEGIN RSA PRIVATE KEY) or SEC 1 (BEGIN EC PRIVATE KEY). Or pass crypto.createPrivateKey(…).",
  public:
    "Pass a PEM with its line breaks: SPKI (BEGIN PUBLIC KEY), PKCS #1 (BEGIN RSA PUBLIC KEY) or a certificate. Or pass crypto.createPublicKey(…).",
};

/** Describes why node:crypto cannot read a text as a key. Quotes no part of the text. */
export function pemProblem(text: string, half: Half): KeyProblem {
  const wrong = (message: string, remedy: string = FORMS[half]): KeyProblem => ({
    code: "wrong-value",
    message,
    remedy,
  });
  const trimmed = text.trim();
  if (trimmed === "") return wrong("The key is empty.");
  const label = /-----BEGIN ([A-Z0-9 ]{1,64})-----/.exec(trimmed)?.[1];
  if (label === undefined) return withoutLabel(trimmed, wrong);
  if (/^["'`]/.test(trimmed))
    return wrong("The PEM is enclosed in quotes.", "Remove the quotes, so that the text begins with -----BEGIN.");
  if (label === "CERTIFICATE" && half === "private") return otherKind("certificate", half);
  if (label.endsWith("PUBLIC KEY") && half === "private") return otherKind("public key", half);
  if (label.endsWith("PRIVATE KEY") && half === "public") return otherKind("private key", half);
  if (label.startsWith("ENCRYPTED") || trimmed.includes("ENCRYPTED")) {
    return wrong(
      "The key is encrypted with a passphrase.",
      "Decrypt it: openssl pkey -in key.pem -out plain.pem. Or pass crypto.createPrivateKey({ key, passphrase }).",
    );
  }
  if (label.startsWith("OPENSSH"))
    return wrong("The key is in OpenSSH format.", "Convert a copy of it: ssh-keygen -p -m PKCS8 -f copy.pem");
  if (trimmed.includes("\\n"))
    return wrong("The line breaks of the PEM are escaped as \\n.", 'Restore them: text.replaceAll("\\\\n", "\\n").');
  if (!/[\r\n]/.test(trimmed)) {
    return wrong(
      "The line breaks of the PEM are missing.",
      'Keep the line breaks, or store the file as base64 and pass Buffer.from(text, "base64").toString().',
    );
  }
  if (!trimmed.includes(`-----END ${label}-----`))
    return wrong("The END line of the PEM is missing: the text is truncated.");
  return wrong(`This cannot be read as a ${half} key.`);
}

function withoutLabel(text: string, wrong: (message: string, remedy?: string) => KeyProblem): KeyProblem {
  const decoded = Buffer.from(text, "base64").toString("latin1");
  if (decoded.includes("-----BEGIN "))
    return wrong("This is a PEM encoded as base64.", 'Decode it: Buffer.from(text, "base64").toString().');
  return wrong("This is not a PEM: the BEGIN line is missing.");
}

function otherKind(kind: string, half: Half): KeyProblem {
  return { code: "contradiction", message: `This is a ${kind}, but a ${half} key is required.`, remedy: FORMS[half] };
}
