import type { Request } from "express";
import { html, type Content, type Html } from "./html.js";
import { parameter } from "./outcome.js";

/** A field of a form, with its label. */
export interface Field {
  readonly label: string;
  /** As the form sends it. Without a name it is for password managers alone. */
  readonly name: string;
  /** Attributes of its element. */
  readonly attributes: Readonly<Record<string, string>>;
  readonly hint?: string;
  /** What is wrong with it. */
  readonly error?: Content;
}

export const EMAIL = { type: "email", autocomplete: "username", autocapitalize: "none", maxlength: "255" };
export const PASSWORD = { type: "password", autocomplete: "current-password" };
export const NEW_PASSWORD = { type: "password", autocomplete: "new-password" };
export const CODE = { type: "text", autocomplete: "one-time-code", autocapitalize: "none", spellcheck: "false" };
export const NEW_PASSWORD_HINT = "15 characters or more. A few words that you can remember are best.";

/** The field. One that is wrong says so beside it, and has the focus when the page opens. */
export function field({ label, name, attributes, hint, error }: Field): Html {
  const all = Object.entries(attributes).map(([key, value]) => html` ${key}="${value}"`);
  const isWrong = error !== undefined;
  const described = [...(isWrong ? [`${name}-error`] : []), ...(hint === undefined ? [] : [`${name}-hint`])].join(" ");
  return html`<div class="field">
    <label for="${name}">${label}</label>
    ${hint !== undefined && html`<p id="${name}-hint" class="hint">${hint}</p>`}
    ${isWrong && html`<p id="${name}-error" class="error">${error}</p>`}
    <input
      id="${name}"
      name="${name}"
      required${all}${described !== "" && html` aria-describedby="${described}"`}${isWrong && html` aria-invalid="true" autofocus`}
    />
  </div>`;
}

/** For password managers: whose password the form is about. It has no name, so that it is not sent. */
export function whose(email: string): Html {
  return html`<input type="text" autocomplete="username" value="${email}" readonly hidden />`;
}

/**
 * A form for POST.
 *
 * @param about what the button says to a screen reader, where several buttons look the same
 */
export function form(
  action: string,
  button: string,
  content?: Content,
  look: "main" | "plain" = "main",
  about?: string,
): Html {
  return html`<form method="post" action="${action}">
    ${content}
    <button class="${look}" ${about !== undefined && html` aria-label="${about}"`}>${button}</button>
  </form>`;
}

export function hidden(name: string, value: string): Html {
  return html`<input type="hidden" name="${name}" value="${value}" />`;
}

/** For the page that the person wanted before they were sent here: accounts brings them back to it, if it is one of ours. */
export function wanted(req: Request): Html {
  const path = parameter(req, "returnTo");
  return html`${path !== "" && hidden("returnTo", path)}`;
}
