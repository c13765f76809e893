import { folded } from "./policy.js";

/** Between line breaks, so that one search finds whole lines. */
let lines: string | undefined;

/** Whether a password is in the bundled list, without regard to case. The list is loaded when it is first needed. */
export async function isCommonPassword(text: string): Promise<boolean> {
  lines ??= `\n${(await import("./common-list.js")).COMMON}\n`;
  const sought = folded(text);
  return !sought.includes("\n") && lines.includes(`\n${sought}\n`);
}
