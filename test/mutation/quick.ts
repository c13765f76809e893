import { beforeEach } from "vitest";

/** Measures time, and would kill mutants by chance. */
const STOP_WATCH = /cost next to nothing|takes time in proportion/;
/** Takes a second, for thousands of random requests, where the tables say the same in milliseconds. */
const SLOW = /nothing throws, and every refusal|never throws, and never allows/;

beforeEach(({ task, skip }) => {
  skip(STOP_WATCH.test(task.name), "measures time");
  skip(SLOW.test(task.name), "slow");
});
