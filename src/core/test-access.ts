/**
 * Where `portcullis/testing` finds the function that resets all limits of a secured app. Registered, because the two
 * modules of a package can be copies of each other (ESM and CommonJS).
 */
export const RESET_LIMITS: unique symbol = Symbol.for("portcullis.reset-limits") as never;
