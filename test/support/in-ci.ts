/** Whether CI runs the tests: seeds are fixed then, and more of the simulation runs. */
export const inCi = !["", "0", "false"].includes(process.env.CI ?? "");
