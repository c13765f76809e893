/** One change of a text, at one place. */
export interface SingleChange {
  readonly kind: "replaced" | "removed" | "doubled" | "swapped" | "inserted";
  readonly at: number;
  readonly text: string;
}

/**
 * Every text that differs from this one by a single change: at each place a character replaced, removed, doubled, swapped with
 * the next, or put in. None of them is the text itself.
 *
 * @param char what is put in, or in the place of another
 */
export function singleChanges(text: string, char: string): SingleChange[] {
  const changes = Array.from({ length: text.length + 1 }, (_, at): SingleChange[] => {
    const [before, here, next, after] = [text.slice(0, at), text.charAt(at), text.charAt(at + 1), text.slice(at + 1)];
    return [
      { kind: "replaced", at, text: here === "" ? text : before + char + after },
      { kind: "removed", at, text: before + after },
      { kind: "doubled", at, text: before + here + here + after },
      { kind: "swapped", at, text: next === "" ? text : before + next + here + after.slice(1) },
      { kind: "inserted", at, text: before + char + here + after },
    ];
  }).flat();
  return changes.filter((change) => change.text !== text);
}
