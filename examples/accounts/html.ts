/** HTML that is ready to be sent. */
export class Html {
  constructor(readonly text: string) {}
}

/** What can be put into HTML; `undefined` and `false` are nothing. */
export type Content = string | number | Html | undefined | false | readonly Html[];

/** Makes HTML: what is put into it is escaped, unless it is HTML itself. */
export function html(parts: TemplateStringsArray, ...values: readonly Content[]): Html {
  return new Html(parts.map((part, index) => part + (index < values.length ? written(values[index]) : "")).join(""));
}

function written(value: Content): string {
  if (value === undefined || value === false) return "";
  if (value instanceof Html) return value.text;
  if (typeof value === "object") return value.map(written).join("");
  return String(value).replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}
