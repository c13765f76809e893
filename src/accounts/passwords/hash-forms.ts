/** What made a hash: argon2 (PHC text), or bcrypt. */
export type HashForm = "argon2" | "bcrypt";

const ARGON2 =
  /^\$argon2(?:id|i|d)\$v=(?:16|19)\$m=([1-9]\d{0,6}),t=([1-9]\d{0,2}),p=([1-9]\d{0,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{16,172})$/;
const BCRYPT = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/;

/** Limits of what a hash of another system may cost: 128 MiB, and about 13 times the work of ours. */
const MOST = Object.freeze({ memoryKiB: 131_072, passes: 64, lanes: 16, work: 524_288 });
const BCRYPT_COST = Object.freeze({ least: 4, most: 14 });

/**
 * The form of a stored or imported hash; `undefined` for other text, and for parameters beyond the limits: a hash must not
 * cost a log-in more than a second. Pure.
 */
export function hashForm(text: string): HashForm | undefined {
  const argon2 = ARGON2.exec(text);
  if (argon2 !== null) {
    const [memoryKiB = 0, passes = 0, lanes = 0] = argon2.slice(1, 4).map(Number);
    const isWithin =
      memoryKiB <= MOST.memoryKiB && passes <= MOST.passes && lanes <= MOST.lanes && memoryKiB * passes <= MOST.work;
    // RFC 9106 section 3.1: at least 8 KiB a lane. The tag of a text with other base64 would be another one.
    const isSound = memoryKiB >= 8 * lanes && isBase64(argon2[4]) && isBase64(argon2[5]);
    return isWithin && isSound ? "argon2" : undefined;
  }
  const cost = Number(BCRYPT.exec(text)?.[1]);
  return cost >= BCRYPT_COST.least && cost <= BCRYPT_COST.most ? "bcrypt" : undefined;
}

/** Whether text without padding is what its bytes are written as. */
function isBase64(text = ""): boolean {
  return Buffer.from(text, "base64").toString("base64").replace(/=+$/, "") === text;
}

/**
 * What a comparison with this hash costs: the beginning that hashes of the same cost share. The text has a form. Pure.
 */
export function hashCost(text: string): string {
  // bcrypt has three names for the same algorithm.
  if (hashForm(text) === "bcrypt") return `$2b$${text.slice(4, 7)}`;
  return text.split("$").slice(0, 4).join("$") + "$";
}
