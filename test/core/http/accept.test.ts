import type { IncomingMessage } from "node:http";
import express, { type Request } from "express";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { prefersHtml } from "../../../src/core/http/accept.js";

const ask = (accept: string | undefined): boolean => prefersHtml({ headers: { accept } } as IncomingMessage);

describe("prefersHtml", () => {
  it.each([
    // Chromium, Firefox and Safari, for a page.
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "text/html",
    "text/html;q=0.1",
    "application/json;q=0.5, text/html;q=0.5",
    "application/json;q=0, text/html ; q=1.000",
  ])("is true of %s", (accept) => expect(ask(accept)).toBe(true));

  it.each([
    undefined,
    "",
    "*/*",
    "text/*",
    "application/json",
    "application/json, text/plain, */*",
    "application/json, text/html;q=0.9",
    "application/problem+json, text/html;q=0.9",
    "text/html;q=0",
    "text/html;q=2",
    "text/html;q=x",
    "text/htmlx",
    "xtext/html",
    `text/html,${"a/b,".repeat(300)}`,
  ])("is false of %s", (accept) => expect(ask(accept)).toBe(false));

  it("is false of a list, which some serverless adapters give", () => {
    expect(prefersHtml({ headers: { accept: ["text/html"] } } as unknown as IncomingMessage)).toBe(false);
  });

  it("agrees with what Express reads, where HTML is named and differs from JSON", () => {
    const quality = fc.integer({ min: 0, max: 10 }).map((tenths) => tenths / 10);
    fc.assert(
      fc.property(quality, quality, fc.boolean(), (html, json, htmlFirst) => {
        if (html === json) return;
        const items = [`text/html;q=${html}`, `application/json;q=${json}`];
        const accept = (htmlFirst ? items : items.reverse()).join(", ");
        const req = Object.assign(Object.create(express.request) as Request, { headers: { accept } });
        expect(ask(accept)).toBe(req.accepts(["application/json", "text/html"]) === "text/html");
      }),
    );
  });
});
