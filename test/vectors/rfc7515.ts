import type { Jwk } from "./jwk.js";

/** Keys and tokens of RFC 7515 appendices A and E, as printed there. */

const CLAIMS = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

const A2_SIGNATURE =
  "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
const A3_SIGNATURE = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

export interface Example {
  readonly section: string;
  readonly key: Jwk;
  readonly token: string;
  /** What the payload is once it has been read; text where it is no JSON. */
  readonly payload: unknown;
}

const PAYLOAD = { iss: "joe", exp: 1_300_819_380, "http://example.com/is_root": true };

/** Tokens with a signature, under the key and the algorithm printed beside them. */
export const EXAMPLES: readonly Example[] = [
  {
    section: "A.1",
    key: {
      kty: "oct",
      alg: "HS256",
      k: "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
    },
    token: `eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.${CLAIMS}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk`,
    payload: PAYLOAD,
  },
  {
    section: "A.2",
    key: {
      kty: "RSA",
      alg: "RS256",
      n: "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
      e: "AQAB",
    },
    token: `eyJhbGciOiJSUzI1NiJ9.${CLAIMS}.${A2_SIGNATURE}`,
    payload: PAYLOAD,
  },
  {
    section: "A.3",
    key: {
      kty: "EC",
      alg: "ES256",
      crv: "P-256",
      x: "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
      y: "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    },
    token: `eyJhbGciOiJFUzI1NiJ9.${CLAIMS}.${A3_SIGNATURE}`,
    payload: PAYLOAD,
  },
  {
    section: "A.4",
    key: {
      kty: "EC",
      alg: "ES512",
      crv: "P-521",
      x: "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
      y: "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
    },
    token:
      "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn",
    payload: "Payload",
  },
];

/** What is no token of ours in form, whatever the key: without a signature, in JSON, or demanding an extension. */
export const NO_TOKENS: readonly { readonly section: string; readonly text: string }[] = [
  { section: "A.5, alg none", text: `eyJhbGciOiJub25lIn0.${CLAIMS}.` },
  {
    section: "A.6, general JSON",
    text: JSON.stringify({
      payload: CLAIMS,
      signatures: [
        { protected: "eyJhbGciOiJSUzI1NiJ9", header: { kid: "2010-12-29" }, signature: A2_SIGNATURE },
        {
          protected: "eyJhbGciOiJFUzI1NiJ9",
          header: { kid: "e9bc097a-ce51-4036-9562-d2ade882db0d" },
          signature: A3_SIGNATURE,
        },
      ],
    }),
  },
  {
    section: "A.7, flattened JSON",
    text: JSON.stringify({
      payload: CLAIMS,
      protected: "eyJhbGciOiJFUzI1NiJ9",
      header: { kid: "e9bc097a-ce51-4036-9562-d2ade882db0d" },
      signature: A3_SIGNATURE,
    }),
  },
  {
    section: "E, an extension that must be understood",
    text: "eyJhbGciOiJub25lIiwNCiAiY3JpdCI6WyJodHRwOi8vZXhhbXBsZS5jb20vVU5ERUZJTkVEIl0sDQogImh0dHA6Ly9leGFtcGxlLmNvbS9VTkRFRklORUQiOnRydWUNCn0.RkFJTA.",
  },
  { section: "F, detached content", text: `eyJhbGciOiJSUzI1NiJ9..${A2_SIGNATURE}` },
];
