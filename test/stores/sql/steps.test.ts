import { expect, test } from "vitest";
import { STEPS } from "../../../src/stores/sql/tables.js";

/**
 * On PostgreSQL `create index` lets others read and lock rows, and `alter table` and `drop index` let nobody. A step that asks for the
 * stronger lock while it holds the weaker one meets a rotation, which has locked rows and waits to write, in a deadlock.
 */
test.each(STEPS.map((step, index) => ({ version: index + 1, step })))(
  "step $version takes the strongest lock of a table before the others",
  ({ step }) => {
    const statements = step("postgres");
    const made = new Set(
      statements.flatMap((text) => /^create table (?:if not exists )?"?(\w+)/.exec(text)?.[1] ?? []),
    );
    const onOldTable = (text: string) => !made.has(/^create index "?\w+"? on "?(\w+)/.exec(text)?.[1] ?? "");
    const weak = statements.findIndex((text) => text.startsWith("create index") && onOldTable(text));
    const strong = statements.findLastIndex((text) => /^(?:alter table|drop index)/.test(text));
    if (weak >= 0) expect(strong).toBeLessThan(weak);
  },
);
