import { existsSync } from "node:fs";
import { findBinary } from "../../support/servers/binaries.js";

/** What the distributions call it. Chrome will do as well. */
const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const ON_MACOS = ["Chromium", "Google Chrome"].map((name) => `/Applications/${name}.app/Contents/MacOS/${name}`);

export const INSTALL_LINES = [
  "The browser tests run in Chromium or Chrome and do not find it:",
  "  Debian:  sudo apt-get update && sudo apt-get install -y chromium",
  "  macOS:   brew install --cask google-chrome",
  "`npm run setup` installs it on Debian.",
].join("\n");

/** The path of the installed browser. playwright-core brings none, and nothing is downloaded. */
export function findChromium(): string | undefined {
  return NAMES.map(findBinary).find((path) => path !== undefined) ?? ON_MACOS.find((path) => existsSync(path));
}
