import { randomBytes } from "node:crypto";
import { requestContext } from "../../core/request-events.js";
import type { CredentialChange, StoredCredential } from "../../stores/contracts.js";
import type { AccountsContext } from "../context.js";
import type { Exchange } from "../http/route.js";
import { newId } from "../secrets.js";
import type { Person } from "../types.js";
import { crockford, crockfordSpelling } from "./base32.js";
import type { SecondFactor, SpentCode } from "./factor.js";

/** The kind of recovery codes: one credential each, whose name is the hash of the code. */
export const RECOVERY_CODE = "recovery-code";

const CODES = 10;
/** 120 bits, so that a fast hash with a key may keep them (ASVS 6.5.2 asks for 112). */
const CODE_BYTES = 15;
/** From so many codes on, the answer warns. */
const FEW = 3;

/** Recovery codes, as what stands in for a second factor. */
export function createRecoveryCodes(context: AccountsContext): SecondFactor {
  const { credentials, host, notices } = context;
  return {
    method: "recovery",
    kind: RECOVERY_CODE,
    isFactor: false,
    canEnrol: false,
    usable: (all) => all.filter(({ kind }) => kind === RECOVERY_CODE),
    async check(person, usable, typed, exchange) {
      const hashes = hashesOf(context, person.id, typed);
      const found = usable.find(({ name }) => hashes.includes(name));
      if (found === undefined) return { verdict: "wrong" };
      return { verdict: "right", spend: () => spend(person, found, usable, exchange) };
    },
  };

  async function spend(
    person: Person,
    { id }: StoredCredential,
    usable: readonly StoredCredential[],
    { req, time }: Exchange,
  ): Promise<SpentCode | undefined> {
    const change = { remove: [id] };
    const isSpent = await credentials.write((store, call) => store.change(person.id, change, call), person.id, time);
    if (!isSpent) return undefined;
    const recoveryCodesLeft = usable.length - 1;
    const facts = { source: "accounts", reason: "recovery-code-used", ...requestContext(req), subject: person.id };
    host.runtime.events.emit("user_updated", () => facts);
    notices.send({ kind: "recovery-code-used", user: person.user, recoveryCodesLeft });
    const warning = recoveryCodesLeft > FEW ? {} : { warning: "few-recovery-codes" };
    return { answer: { recoveryCodesLeft, ...warning } };
  }
}

/** New codes for a person, and the change that makes them the only ones. */
export function newRecoveryCodes(
  context: AccountsContext,
  personId: string,
): { readonly codes: readonly string[]; readonly change: Required<Pick<CredentialChange, "removeKinds" | "insert">> } {
  if (!context.settings.factors.recoveryCodes) return { codes: [], change: { removeKinds: [], insert: [] } };
  const now = context.host.runtime.clock.now();
  const texts = Array.from({ length: CODES }, () => crockford(randomBytes(CODE_BYTES)));
  const insert = texts.map((text): StoredCredential => ({
    id: newId(),
    ownerId: personId,
    kind: RECOVERY_CODE,
    name: hashesOf(context, personId, text)[0] ?? "",
    data: {},
    createdAt: now,
    confirmedAt: now,
    usedAt: null,
    expiresAt: null,
    counter: -1,
    failures: 0,
    version: 0,
  }));
  const codes = texts.map((text) => text.replace(/.{4}(?=.)/g, "$&-"));
  return { codes, change: { removeKinds: [RECOVERY_CODE], insert } };
}

function hashesOf({ secrets }: AccountsContext, personId: string, typed: string): readonly string[] {
  return secrets.codeHashes("recovery-code", `${crockfordSpelling(typed)}\n${personId}`);
}
