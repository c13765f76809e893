import type { StoredRefreshToken } from "../contracts.js";

/**
 * Families that are all in force, or that one call revoked together. Revoking a group is one mark, whatever its size.
 */
export interface Group {
  readonly subject: Subject;
  /** The family idle for longest comes first. */
  readonly families: Set<Family>;
  revokedAt: number | null;
}

export interface Family {
  readonly id: string;
  readonly label: string | null;
  readonly createdAt: number;
  lastUsedAt: number;
  /** When its latest token expires. */
  expiresAt: number;
  endsAt: number;
  /** Ids of its tokens, the oldest first. */
  readonly members: Set<string>;
  group: Group;
}

export class Subject {
  readonly name: string;
  readonly revoked = new Set<Group>();
  live: Group = this.#newGroup();
  /** How many tokens the subject has, including those of revoked families. */
  tokens = 0;

  constructor(name: string) {
    this.name = name;
  }

  /** Replaces `live` by a new group and returns the old one, so that one mark revokes all its families. */
  takeLive(): Group {
    const { live } = this;
    this.live = this.#newGroup();
    return live;
  }

  #newGroup(): Group {
    return { subject: this, families: new Set(), revokedAt: null };
  }
}

/** Records which token belongs to which family and subject, and which of them are revoked. Every method costs O(1). */
export class TokenFamilies {
  readonly #families = new Map<string, Family>();
  readonly #subjects = new Map<string, Subject>();
  /** In order of revocation. */
  readonly #revoked = new Set<Group>();

  find(familyId: string): Family | undefined {
    return this.#families.get(familyId);
  }

  subject(name: string): Subject | undefined {
    return this.#subjects.get(name);
  }

  /**
   * Adds a token, with its family and subject when they are new. The family is now the one used last.
   *
   * @param at when it was issued or its predecessor was used
   * @param label of the family; counts for its first token
   */
  add(token: StoredRefreshToken, at: number, label: string | null = null): void {
    const { id, familyId, expiresAt, familyExpiresAt } = token;
    let family = this.#families.get(familyId);
    if (family === undefined) {
      const { live } = this.#subject(token.subject);
      family = {
        id: familyId,
        label,
        createdAt: token.issuedAt,
        lastUsedAt: at,
        expiresAt,
        endsAt: familyExpiresAt,
        members: new Set(),
        group: live,
      };
      this.#families.set(familyId, family);
    }
    family.lastUsedAt = Math.max(family.lastUsedAt, at);
    family.expiresAt = Math.max(family.expiresAt, expiresAt);
    family.endsAt = Math.max(family.endsAt, familyExpiresAt);
    family.members.add(id);
    family.group.families.delete(family);
    family.group.families.add(family);
    family.group.subject.tokens += 1;
  }

  remove(tokenId: string, familyId: string): void {
    const family = this.#families.get(familyId);
    if (family?.members.delete(tokenId) !== true) return;
    const { group } = family;
    const { subject } = group;
    subject.tokens -= 1;
    if (subject.tokens === 0) this.#subjects.delete(subject.name);
    if (family.members.size > 0) return;
    this.#families.delete(familyId);
    group.families.delete(family);
    if (group.families.size > 0 || group.revokedAt === null) return;
    subject.revoked.delete(group);
    this.#revoked.delete(group);
  }

  /** False when there is no such family, or it is revoked already. */
  revokeFamily(familyId: string, at: number): boolean {
    const family = this.#families.get(familyId);
    if (family === undefined || family.group.revokedAt !== null) return false;
    family.group.families.delete(family);
    family.group = { subject: family.group.subject, families: new Set([family]), revokedAt: null };
    this.#revoke(family.group, at);
    return true;
  }

  /** @param keep the family that stays in force if it is */
  revokeSubject(name: string, at: number, keep?: string): void {
    const subject = this.#subjects.get(name);
    if (subject === undefined || subject.live.families.size === 0) return;
    const ended = subject.takeLive();
    const kept = keep === undefined ? undefined : this.#families.get(keep);
    if (kept?.group === ended) {
      ended.families.delete(kept);
      kept.group = subject.live;
      subject.live.families.add(kept);
    }
    if (ended.families.size > 0) this.#revoke(ended, at);
  }

  /** A token of the group that was revoked first: of this subject, or of any. */
  firstRevoked(subject?: Subject): string | undefined {
    const [group] = subject?.revoked ?? this.#revoked;
    const [family] = group?.families ?? [];
    const [tokenId] = family?.members ?? [];
    return tokenId;
  }

  #subject(name: string): Subject {
    let subject = this.#subjects.get(name);
    if (subject === undefined) {
      subject = new Subject(name);
      this.#subjects.set(name, subject);
    }
    return subject;
  }

  #revoke(group: Group, at: number): void {
    group.revokedAt = at;
    group.subject.revoked.add(group);
    this.#revoked.add(group);
  }
}
