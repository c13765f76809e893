import { describe, expect, it } from "vitest";
import { compileCors } from "../../src/cors/compile.js";
import { corsSchema, type CorsSettings } from "../../src/cors/settings.js";
import { parse } from "../../src/settings/object.js";

const compiled = (settings: CorsSettings) => {
  const { preflight, actual, preflightStatus, preflightLength } = compileCors(parse(corsSchema, settings));
  return { preflight, actual, preflightStatus, preflightLength };
};

describe("compileCors", () => {
  it("takes the values of the cors package, except those that differ per request or are wrong on a preflight", () => {
    expect(compiled({ origins: ["https://app.example.com"], credentials: true })).toEqual({
      preflight: [
        ["Access-Control-Allow-Credentials", "true"],
        ["Access-Control-Allow-Methods", "GET,HEAD,POST,PUT,PATCH,DELETE"],
        ["Access-Control-Allow-Headers", "Authorization,Content-Type,X-API-Key"],
        ["Access-Control-Max-Age", "600"],
      ],
      actual: [
        ["Access-Control-Allow-Credentials", "true"],
        ["Access-Control-Expose-Headers", "RateLimit,RateLimit-Policy,Retry-After"],
      ],
      preflightStatus: 204,
      preflightLength: "0",
    });
  });

  it("writes * for everything, 0 for maxAge 0, and no empty list", () => {
    expect(compiled({ origins: "*", methods: "*", allowedHeaders: "*", exposedHeaders: "*", maxAge: 0 })).toEqual({
      preflight: [
        ["Access-Control-Allow-Methods", "*"],
        ["Access-Control-Allow-Headers", "*"],
        ["Access-Control-Max-Age", "0"],
      ],
      actual: [["Access-Control-Expose-Headers", "*"]],
      preflightStatus: 204,
      preflightLength: "0",
    });
    expect(compiled({ origins: ["https://*.example.com"], allowedHeaders: [], exposedHeaders: [] })).toMatchObject({
      preflight: [
        ["Access-Control-Allow-Methods", "GET,HEAD,POST,PUT,PATCH,DELETE"],
        ["Access-Control-Max-Age", "600"],
      ],
      actual: [],
    });
  });
});
