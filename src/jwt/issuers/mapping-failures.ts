import type { Runtime } from "../../core/runtime.js";

/** Announces once for each issuer and setting that a function of the settings failed; each token would repeat it. */
export class MappingFailures {
  readonly #runtime: Runtime;
  readonly #announced = new Set<string>();

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** @param problem a token without a usable subject is not a fault of the app: its refusal alone is announced */
  announce(problem: "id" | "scopes" | "roles" | "subject", issuer: string | undefined): void {
    const name = `${problem} ${issuer ?? ""}`;
    if (problem === "subject" || this.#announced.has(name)) return;
    this.#announced.add(name);
    this.#runtime.events.emit("portcullis_misconfigured", () => ({
      source: "jwt",
      reason: `${problem}-function`,
      ...(issuer === undefined ? {} : { issuer }),
    }));
  }
}
