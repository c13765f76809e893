import express5 from "express";
import express4 from "express4";

/** Both majors the library supports; suites run once on each by `describe.each(EXPRESS)`. */
export const EXPRESS: readonly { name: string; express: typeof express5 }[] = [
  { name: "Express 5", express: express5 },
  { name: "Express 4", express: express4 },
];
