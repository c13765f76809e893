/** How many seeds CI runs. */
const IN_CI = 2000;

function fromEnvironment(name: string): number | undefined {
  const text = process.env[name];
  if (text === undefined || text === "") return undefined;
  if (!/^\d{1,9}$/.test(text)) throw new Error(`${name} is a whole number, not ${text}`);
  return Number(text);
}

/** SIMULATION_SEEDS=n runs n seeds, SIMULATION_FIRST=n begins with seed n, SIMULATION_SEED=n runs that one alone. */
export const oneSeed = fromEnvironment("SIMULATION_SEED");
export const count = fromEnvironment("SIMULATION_SEEDS") ?? IN_CI;
export const first = fromEnvironment("SIMULATION_FIRST") ?? 1;
