import type { Page } from "playwright-core";
import { run } from "./in-page.js";

/** How much something stands out from what is behind it, and how much it must. */
export interface Contrast {
  readonly what: string;
  readonly ratio: number;
  readonly least: number;
}

/**
 * The contrast of each text that is seen with what is painted behind it, and of each edge of a field or button (WCAG 2.2,
 * 1.4.3 and 1.4.11), by the formula of its glossary.
 */
export function contrastsOf(page: Page): Promise<Contrast[]> {
  return run(page, CONTRASTS);
}

const CONTRASTS = `() => {
  const channels = (color) => (color.match(/[\\d.]+/g) ?? []).map(Number);
  const luminance = (color) => {
    const [red, green, blue] = channels(color).map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ratioOf = (one, other) => {
    const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  };
  const behind = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if ((channels(color)[3] ?? 1) === 1) return color;
    }
    throw new Error("nothing is painted behind it");
  };
  const isSeen = (element) =>
    element.checkVisibility() && element.getBoundingClientRect().width > 1 && element.closest("svg") === null;
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    const element = node.parentElement;
    const text = node.textContent.trim();
    if (text === "" || !isSeen(element)) continue;
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    found.push({ what: text, ratio: ratioOf(style.color, behind(element)), least: isLarge ? 3 : 4.5 });
  }
  for (const element of document.querySelectorAll("input:not([type=hidden], [type=checkbox]), button, .button")) {
    if (!isSeen(element)) continue;
    const edge = getComputedStyle(element).borderTopColor;
    found.push({ what: "edge of " + (element.id || element.textContent), ratio: ratioOf(edge, behind(element.parentElement)), least: 3 });
  }
  return found;
}`;
