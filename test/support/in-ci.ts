/** Whether CI runs the tests: seeds are fixed then, and more cases of the simulation and of the gate's model run. */
export const inCi = !["", "0", "false"].includes(process.env.CI ?? "");
