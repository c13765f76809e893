import { html, type Content, type Html } from "./html.js";

/** What a page consists of. */
export interface Page {
  readonly title: string;
  readonly content: Html;
  /** What went wrong: the page begins with it, and so does its title. */
  readonly problem?: Content;
  /** What was done. */
  readonly done?: Content;
  /** Whether it is for people who are logged in. */
  readonly isInside?: boolean;
}

/** A whole page. It has no script, and its style is a file of this origin, so the default policy fits it. */
export function page({ title, content, problem, done, isInside = false }: Page): string {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${problem !== undefined && "Error: "}${title} – Accounts example</title>
        <link rel="icon" href="data:," />
        <link rel="stylesheet" href="/style.css" />
      </head>
      <body>
        <a class="skip" href="#content">Skip to the content</a>
        <header>
          <p>Accounts example</p>
          ${isInside && navigation}
        </header>
        <main id="content">
          <h1>${title}</h1>
          ${problem !== undefined && html`<p id="problem" class="note problem" role="alert"><strong>Error:</strong> ${problem}</p>`}
          ${done !== undefined && html`<p class="note done" role="status"><strong>Done:</strong> ${done}</p>`}
          ${content}
        </main>
      </body>
    </html>`.text;
}

const navigation = html`<nav aria-label="Account">
  <a href="/">Your account</a>
  <a href="/devices">Devices</a>
  <form method="post" action="/account/logout"><button>Log out</button></form>
</nav>`;
