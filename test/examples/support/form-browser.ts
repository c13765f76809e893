/** A page as a browser without JavaScript has it. */
export interface OpenPage {
  readonly path: string;
  readonly status: number;
  readonly title: string;
  readonly html: string;
}

/** A browser without JavaScript: it keeps cookies, follows redirects, and sends the forms of the page that it shows. */
export class FormBrowser {
  readonly #origin: string;
  readonly #userAgent: string;
  readonly #cookies = new Map<string, string>();
  #page: OpenPage = { path: "about:blank", status: 0, title: "", html: "" };

  constructor(origin: string, userAgent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0") {
    this.#origin = origin;
    this.#userAgent = userAgent;
  }

  get page(): OpenPage {
    return this.#page;
  }

  open(address: string): Promise<OpenPage> {
    return this.#go(address, { method: "GET" });
  }

  /** Follows a link of the page. */
  follow(text: string): Promise<OpenPage> {
    const found = [...this.#page.html.matchAll(/<a\b[^>]*href="([^"]*)"[^>]*>([^<]*)<\/a>/g)].find(
      ([, , label = ""]) => label.trim() === text,
    );
    if (found === undefined) throw new Error(`There is no link ${text} on ${this.#page.path}`);
    return this.open(plain(found[1] ?? ""));
  }

  /** Fills the form with this button and sends it. A field that the form does not have is an error. */
  submit(button: string, fields: Readonly<Record<string, string>> = {}): Promise<OpenPage> {
    const forms = [...this.#page.html.matchAll(/<form method="post" action="([^"]*)">(.*?)<\/form>/gs)];
    const found = forms.find(([, , content = ""]) => buttonOf(content) === button);
    if (found === undefined) throw new Error(`There is no button ${button} on ${this.#page.path}: ${this.#page.html}`);
    const [, action = "", content = ""] = found;
    const body = new URLSearchParams();
    const inputs = [...content.matchAll(/<input\b([^>]*)>/g)].map(([, text = ""]) => attributesOf(text));
    for (const name of Object.keys(fields))
      if (!inputs.some((input) => input.name === name)) throw new Error(`The form ${button} has no field ${name}`);
    for (const { name, type, value, checked } of inputs) {
      if (name === undefined || body.has(name)) continue;
      const given = fields[name];
      if (given !== undefined) body.set(name, given);
      else if (type !== "checkbox" && (type !== "radio" || checked !== undefined)) body.set(name, value ?? "");
    }
    const headers = { "content-type": "application/x-www-form-urlencoded", origin: "null" };
    return this.#go(plain(action), { method: "POST", headers, body: body.toString() });
  }

  async #go(
    address: string,
    init: { method: string; headers?: Record<string, string>; body?: string },
  ): Promise<OpenPage> {
    const url = new URL(address, this.#origin);
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const answer = await fetch(url, {
      ...init,
      redirect: "manual",
      headers: {
        accept: "text/html",
        "user-agent": this.#userAgent,
        // Node.js sends another Sec-Fetch-Mode of its own, and lets nobody replace it.
        "sec-fetch-site": "same-origin",
        ...(cookie === "" ? {} : { cookie }),
        ...init.headers,
      },
    });
    for (const line of answer.headers.getSetCookie()) {
      const [pair = ""] = line.split(";");
      const name = pair.slice(0, pair.indexOf("="));
      const isGone = /; Max-Age=0(?:;|$)/i.test(line) || /; Expires=Thu, 01 Jan 1970/i.test(line);
      if (isGone) this.#cookies.delete(name);
      else this.#cookies.set(name, pair.slice(name.length + 1));
    }
    const location = answer.headers.get("location");
    if (location !== null) {
      await answer.arrayBuffer();
      return this.open(location);
    }
    const html = await answer.text();
    const title = plain(/<title>([^<]*)<\/title>/.exec(html)?.[1] ?? "").replace(" – Accounts example", "");
    this.#page = { path: url.pathname + url.search, status: answer.status, title, html };
    return this.#page;
  }
}

function buttonOf(content: string): string | undefined {
  const text = /<button[^>]*>([^<]*)<\/button>/.exec(content)?.[1];
  return text === undefined ? undefined : plain(text.trim());
}

function attributesOf(text: string): Partial<Record<string, string>> {
  return Object.fromEntries(
    [...text.matchAll(/([\w-]+)(?:="([^"]*)")?/g)].map(([, name = "", value = ""]) => [name, plain(value)]),
  );
}

/** Text as it was before it was put into HTML. */
function plain(text: string): string {
  return text.replace(/&#(\d+);/g, (_all, code: string) => String.fromCharCode(Number(code))).replaceAll("&amp;", "&");
}
