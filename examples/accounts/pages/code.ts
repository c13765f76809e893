import { CODE, field } from "../fields.js";
import { html, type Html } from "../html.js";

/** To enter a code of a second step: of the authenticator app, or a recovery code where there is one left. */
export function codeFields(hasRecoveryCodes: boolean, error: string | undefined): Html {
  return html`<fieldset>
      <legend>What do you have?</legend>
      <p class="tick">
        <input type="radio" id="totp" name="method" value="totp" checked />
        <label for="totp">A code of your authenticator app: six digits</label>
      </p>
      ${
        hasRecoveryCodes &&
        html`<p class="tick">
          <input type="radio" id="recovery" name="method" value="recovery" />
          <label for="recovery">A recovery code: six groups of letters and digits</label>
        </p>`
      }
    </fieldset>
    ${field({ label: "Code", name: "code", attributes: CODE, error })}`;
}
