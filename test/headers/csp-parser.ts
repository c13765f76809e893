/**
 * CSP Level 3 section 2.2.1, written from the text of the specification and knowing nothing of the code under test: a field
 * holds policies parted by commas, a policy directives parted by semicolons; the first directive of a name counts.
 */
export function parseCsp(field: string): Map<string, string[]>[] {
  return field
    .split(",")
    .map((serialized) => {
      const policy = new Map<string, string[]>();
      for (const token of serialized.split(";")) {
        const words = token.split(/[\t\n\f\r ]+/).filter((word) => word !== "");
        const name = words.shift()?.toLowerCase();
        if (name !== undefined && !policy.has(name)) policy.set(name, words);
      }
      return policy;
    })
    .filter((policy) => policy.size > 0);
}

/** The one policy of a field. */
export function parseOneCsp(field: string | string[] | undefined): Map<string, string[]> {
  const policies = parseCsp(String(field));
  if (policies.length !== 1 || policies[0] === undefined)
    throw new Error(`${policies.length} policies instead of one in: ${String(field)}`);
  return policies[0];
}
