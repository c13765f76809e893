/** What tests take from the bundle of the simulation. */
export { planOf, runOnce } from "./run-seed.js";
export { newOperation } from "./world/context.js";
export { LIMIT } from "./world/process.js";
export { World } from "./world/world.js";
