import type { KeyProblem } from "./validation.js";

type Half = "private" | "public";

const FORMS: Readonly<Record<Half, string>> = {
  private:
    "Give an unencrypted PEM with its line breaks: PKCS #8 (BEGIN PRIVATE KEY), PKCS #1 (BEGIN RSA PRIVATE KEY) or SEC 1 (BEGIN EC PRIVATE KEY); or crypto.createPrivateKey(…).",
  public:
    "Give a PEM with its line breaks: SPKI (BEGIN PUBLIC KEY), PKCS #1 (BEGIN RSA PUBLIC KEY) or a certificate; or crypto.createPublicKey(…).",
};

/** Describes why node:crypto cannot read a text as a key. Quotes no part of the text. */
export function pemProblem(text: string, half: Half): KeyProblem {
  const wrong = (message: string, remedy: string = FORMS[half]): KeyProblem => ({
    code: "wrong-value",
    message,
    remedy,
  });
  const trimmed = text.trim();
  if (trimmed === "") return wrong("The text is empty.");
  const label = /-----BEGIN ([A-Z0-9 ]{1,64})-----/.exec(trimmed)?.[1];
  if (label === undefined) return withoutLabel(trimmed, wrong);
  if (/^["'`]/.test(trimmed))
    return wrong("There are quotes around the PEM.", "Remove the quotes: the text begins with -----BEGIN.");
  if (label === "CERTIFICATE" && half === "private") return otherKind("certificate", half);
  if (label.endsWith("PUBLIC KEY") && half === "private") return otherKind("public key", half);
  if (label.endsWith("PRIVATE KEY") && half === "public") return otherKind("private key", half);
  if (label.startsWith("ENCRYPTED") || trimmed.includes("ENCRYPTED")) {
    return wrong(
      "The key is encrypted with a passphrase.",
      "Decrypt it: openssl pkey -in key.pem -out plain.pem; or give crypto.createPrivateKey({ key, passphrase }).",
    );
  }
  if (label.startsWith("OPENSSH"))
    return wrong("The key is in the format of OpenSSH.", "Convert a copy of it: ssh-keygen -p -m PKCS8 -f copy.pem");
  if (trimmed.includes("\\n"))
    return wrong(
      "The line breaks of the PEM are written out as \\n.",
      'Put them back: text.replaceAll("\\\\n", "\\n").',
    );
  if (!/[\r\n]/.test(trimmed)) {
    return wrong(
      "The line breaks of the PEM are missing.",
      'Keep them, or put the base64 of the file into the variable and give Buffer.from(text, "base64").toString().',
    );
  }
  if (!trimmed.includes(`-----END ${label}-----`))
    return wrong("The END line of the PEM is missing: the text has been cut.");
  return wrong(`This cannot be read as a ${half} key.`);
}

function withoutLabel(text: string, wrong: (message: string, remedy?: string) => KeyProblem): KeyProblem {
  const decoded = Buffer.from(text, "base64").toString("latin1");
  if (decoded.includes("-----BEGIN "))
    return wrong("This is the base64 of a PEM.", 'Decode it: Buffer.from(text, "base64").toString().');
  return wrong("This is no PEM: the BEGIN line is missing.");
}

function otherKind(kind: string, half: Half): KeyProblem {
  return { code: "contradiction", message: `This is a ${kind} where a ${half} key belongs.`, remedy: FORMS[half] };
}
