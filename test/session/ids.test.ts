import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
import express from "express";
import { describe, expect, it } from "vitest";
import { serve } from "../support/serve.js";

const COUNT = 2000;

/** Everything that is drawn. `randomBytes` is read off the module when it is needed or when the module is loaded, so this comes first. */
const drawn = new Set<string>();
const real = crypto.randomBytes.bind(crypto);
crypto.randomBytes = ((size: number, callback?: never) => {
  if (callback !== undefined) return real(size, callback);
  const bytes = real(size);
  if (size === 24) drawn.add(bytes.toString("base64url"));
  return bytes;
}) as typeof crypto.randomBytes;
syncBuiltinESMExports();
const { bench, cookieOf, routes, withCookie } = await import("./support.js");

const idIn = (cookie: string): string => /=s%3A([\w-]{32})\./.exec(cookie)?.[1] ?? "";

/** ASVS 5.0 V7.2.3 */
describe(`the ids of ${COUNT} sessions, half of them logged in`, async () => {
  const made = bench();
  const server = await serve(routes(express(), made));
  const ids: string[] = [];
  while (ids.length < COUNT) {
    const cookie = cookieOf(await server.send("/count"));
    ids.push(idIn(cookie), idIn(cookieOf(await server.send("/in/ada", withCookie(cookie)))));
  }
  await server.close();
  await made.layer.close?.();

  it("are all different", () => {
    expect(new Set(ids).size).toBe(COUNT);
  });

  it("are 24 unchanged bytes of the CSPRNG of node:crypto", () => {
    expect(ids.filter((id) => !drawn.has(id))).toEqual([]);
  });

  it("have 192 bits, each set in about half of the ids", () => {
    const set = new Array<number>(192).fill(0);
    for (const id of ids) {
      const bytes = Buffer.from(id, "base64url");
      for (let bit = 0; bit < 192; bit += 1) set[bit] = (set[bit] ?? 0) + (((bytes[bit >> 3] ?? 0) >> (bit & 7)) & 1);
    }
    // Six standard deviations of a fair coin: once in 2.6 million runs by chance.
    const slack = 6 * Math.sqrt(COUNT / 4);
    expect(set.filter((count) => Math.abs(count - COUNT / 2) > slack)).toEqual([]);
  });
});
