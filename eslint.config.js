// The rules live in .eslintrc.json; ESLint 10 reads flat configurations only, so this file does nothing but load it.
import { readFileSync } from "node:fs";
import { FlatCompat } from "@eslint/eslintrc";
const rules = JSON.parse(readFileSync(new URL(".eslintrc.json", import.meta.url), "utf8"));
export default [
  { ignores: ["dist/", "coverage/", "test/readme/blocks/", "eslint.config.js"] },
  ...new FlatCompat().config(rules),
];
