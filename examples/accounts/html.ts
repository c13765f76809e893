/** HTML that is ready to be sent. */
export class Html {
  constructor(readonly text: string) {}
}

/** Makes HTML: what is put into it is escaped, unless it is HTML itself. */
export function html(parts: TemplateStringsArray, ...values: readonly Content[]): Html {
  return new Html(parts.map((part, index) => part + (index < values.length ? written(values[index]) : "")).join(""));
}

type Content = string | number | Html | undefined | readonly Html[];

function written(value: Content): string {
  if (value === undefined) return "";
  if (value instanceof Html) return value.text;
  if (typeof value === "object") return value.map(written).join("");
  return String(value).replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

/** A whole page. It has no script, and its style is a file of this origin, so the default policy fits it. */
export function page(title: string, content: Html): string {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${title} – Accounts</title>
        <link rel="stylesheet" href="/style.css" />
      </head>
      <body>
        <main>
          <h1>${title}</h1>
          ${content}
        </main>
      </body>
    </html> `.text;
}

/** A field with its label. */
export function field(label: string, name: string, attributes: Readonly<Record<string, string>>, hint?: string): Html {
  const all = Object.entries(attributes).map(([key, value]) => html` ${key}="${value}"`);
  const described = hint === undefined ? undefined : html` aria-describedby="${name}-hint"`;
  return html`<p>
    <label for="${name}">${label}</label>
    <input id="${name}" name="${name}" required${all}${described} />
    ${hint === undefined ? undefined : html`<small id="${name}-hint">${hint}</small>`}
  </p>`;
}

export const STYLE = `
:root { color-scheme: light dark; font: 1.0625rem/1.5 system-ui, sans-serif; }
body { margin: 0; }
main { max-width: 34rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; }
h2 { font-size: 1.2rem; margin-top: 2rem; }
label { display: block; font-weight: 600; }
input { font: inherit; box-sizing: border-box; width: 100%; padding: 0.5rem; border: 1px solid #767676; border-radius: 0.3rem; }
input[type="checkbox"] { width: auto; }
label.tick { font-weight: 400; }
small { display: block; }
button { font: inherit; padding: 0.5rem 1rem; border-radius: 0.3rem; border: 1px solid #767676; cursor: pointer; }
button.main { background: #1a56b0; border-color: #1a56b0; color: #fff; }
:focus-visible { outline: 3px solid #e07b00; outline-offset: 2px; }
.problem { border: 2px solid #b00020; border-radius: 0.3rem; padding: 0.5rem 1rem; }
.done { border: 2px solid #2c7a39; border-radius: 0.3rem; padding: 0.5rem 1rem; }
ul.cards { list-style: none; padding: 0; }
ul.cards li { border: 1px solid #767676; border-radius: 0.3rem; padding: 0.5rem 1rem; margin: 0.5rem 0; }
ol.codes { columns: 2; font: 1rem/1.8 ui-monospace, monospace; }
.qr { background: #fff; width: 14rem; max-width: 100%; }
@media (max-width: 26rem) { ol.codes { columns: 1; } }
`;
