import type { SecondFactorName } from "../gate/decide.js";

/** What a log-in owes that is not finished. */
export type PendingLogInStatus =
  | {
      readonly status: "factor-required";
      /** The factors of which one must be proved. */
      readonly factors: readonly SecondFactorName[];
    }
  | {
      readonly status: "enrolment-required";
      /** The factors of which one must be set up. */
      readonly methods: readonly SecondFactorName[];
    };
