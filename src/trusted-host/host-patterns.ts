import type { Authority } from "../core/http/authority.js";

/**
 * Checks hosts against a list. Entries are in the normal form that `readHostEntry` returns: `name`, `name:port`,
 * `*.name` or `*.name:port`; an entry without a port allows every port. Built once; the cost of a look-up does not
 * depend on the length of the list.
 */
export class HostPatterns {
  readonly #exact = new Set<string>();
  /** `name` or `name:port` of the entries `*.name` and `*.name:port`. */
  readonly #parents = new Set<string>();

  constructor(entries: readonly string[]) {
    for (const entry of entries) {
      if (entry.startsWith("*.")) this.#parents.add(entry.slice(2));
      else this.#exact.add(entry);
    }
  }

  /** Whether a Host value equals an entry letter for letter: the usual request, decided without parsing the value. */
  hasVerbatim(text: string): boolean {
    return this.#exact.has(text);
  }

  has({ host, port }: Authority): boolean {
    const end = port === undefined ? undefined : `:${port}`;
    if (this.#exact.has(host) || (end !== undefined && this.#exact.has(host + end))) return true;
    if (this.#parents.size === 0) return false;
    // Steps from dot to dot, so that only whole labels are compared (`evil-example.com` is not below `example.com`).
    for (let dot = host.indexOf("."); dot !== -1; dot = host.indexOf(".", dot + 1)) {
      const parent = host.slice(dot + 1);
      if (this.#parents.has(parent) || (end !== undefined && this.#parents.has(parent + end))) return true;
    }
    return false;
  }
}
