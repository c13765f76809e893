import type { TestServer } from "../support/serve.js";
import { type Ask, json, MARK, type Seen } from "./attack.js";

export const ACCOUNTS_HOST = "app.example.com";
export const ACCOUNTS_ORIGIN = `https://${ACCOUNTS_HOST}`;
export const PASSWORD = `correct horse battery staple ${MARK}`;
export const SESSION = "__Host-mcp_session";

const FORM = "application/x-www-form-urlencoded";

/** A browser or a program: it keeps the cookies that it is given. */
export class Visitor {
  readonly cookies = new Map<string, string>();
  readonly #server: TestServer;
  readonly #reached: readonly string[];
  readonly #address: string;

  constructor(server: TestServer, reached: readonly string[], address: string) {
    this.#server = server;
    this.#reached = reached;
    this.#address = address;
  }

  async send({ method = "GET", path = "/me", headers = {}, body }: Ask): Promise<Seen> {
    const before = this.#reached.length;
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const all = {
      Host: ACCOUNTS_HOST,
      "X-Forwarded-Proto": "https",
      "X-Forwarded-For": this.#address,
      "X-Marker": MARK,
      ...(cookie === "" ? {} : { Cookie: cookie }),
      ...headers,
    };
    const sent = Object.fromEntries(
      Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
    );
    const answer = await this.#server.send(path, { method, headers: sent, ...(body === undefined ? {} : { body }) });
    const { cookies } = this;
    // A session that is used lives on: its cookie comes again, and gives nothing that the visitor did not have.
    const given = answer.headers["set-cookie"]?.filter((line) => {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      return cookies.get(name) !== value;
    });
    if (String(answer.headers["clear-site-data"] ?? "").includes('"cookies"')) cookies.clear();
    for (const line of given ?? []) {
      const pair = line.slice(0, line.indexOf(";"));
      const name = pair.slice(0, pair.indexOf("="));
      if (/; Max-Age=0(?:;|$)/.test(line)) cookies.delete(name);
      else cookies.set(name, pair.slice(name.length + 1));
    }
    const shownHeaders = { ...answer.headers, ...(given === undefined ? {} : { "set-cookie": given }) };
    return { ...answer, headers: shownHeaders, reached: this.#reached.slice(before), responses: 1 };
  }

  get(path: string, headers: Ask["headers"] = {}): Promise<Seen> {
    return this.send({ path, headers });
  }

  delete(path: string, headers: Ask["headers"] = {}): Promise<Seen> {
    return this.send({ method: "DELETE", path, headers });
  }

  /** Sends JSON. */
  post(path: string, body: unknown = {}, headers: Ask["headers"] = {}): Promise<Seen> {
    const asked = json(body);
    return this.send({ ...asked, path, headers: { ...asked.headers, ...headers } });
  }

  /** Sends a form, as a page does. */
  form(path: string, fields: Record<string, string> | string, headers: Ask["headers"] = {}): Promise<Seen> {
    const body = typeof fields === "string" ? fields : new URLSearchParams(fields).toString();
    return this.send({
      method: "POST",
      path,
      headers: { "Content-Type": FORM, Accept: "text/html", ...headers },
      body,
    });
  }

  logIn({ login }: { readonly login: string }, password = PASSWORD, more: object = {}): Promise<Seen> {
    return this.post("/account/login", { login, password, ...more });
  }

  /** Sends a code for the log-in that goes on. */
  factor(code: string, method = "totp", more: object = {}): Promise<Seen> {
    return this.post("/account/login/factor", { method, code, ...more });
  }

  me(): Promise<Seen> {
    return this.get("/me");
  }
}

/** All that a client sees of an answer, but the date and the secrets in it. */
export function shown({ status, text, rawHeaders }: Seen): string {
  const pairs = rawHeaders.flatMap((name, index) => (index % 2 === 0 ? [[name, rawHeaders[index + 1] ?? ""]] : []));
  const lines = pairs
    .filter(([name]) => name !== "Date")
    .map(([name, value = ""]) => `${name}: ${name === "Set-Cookie" ? value.replace(/=[^;]*/, "") : value}`);
  return [status, ...lines, text].join("\n");
}
