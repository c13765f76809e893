import { describe, expect, it } from "vitest";
import { SettingsError, type SettingsIssue } from "../../src/settings/errors.js";
import { parse } from "../../src/settings/object.js";
import { trustedHost } from "../../src/trusted-host/middleware.js";
import { DEBUG_HOSTS, trustedHostSchema } from "../../src/trusted-host/settings.js";

function issues(settings: unknown): readonly SettingsIssue[] {
  try {
    parse(trustedHostSchema, settings);
  } catch (error) {
    if (error instanceof SettingsError) return error.issues;
    throw error;
  }
  return [];
}

const DEFAULTS = { exemptPaths: [], forwardedHost: false, mode: "enforce" };

describe("taken", () => {
  it.each<[string, unknown, unknown]>([
    ["a list", ["example.com"], { hosts: ["example.com"], ...DEFAULTS }],
    ["a frozen list", Object.freeze(["example.com"]), { hosts: ["example.com"], ...DEFAULTS }],
    ["an object", { hosts: ["example.com"] }, { hosts: ["example.com"], ...DEFAULTS }],
    [
      "a frozen object",
      Object.freeze({ hosts: Object.freeze(["example.com"]) }),
      { hosts: ["example.com"], ...DEFAULTS },
    ],
    [
      "an object without prototype",
      Object.assign(Object.create(null), { hosts: ["example.com"] }),
      { hosts: ["example.com"], ...DEFAULTS },
    ],
    [
      "undefined values",
      { hosts: ["example.com"], exemptPaths: undefined, forwardedHost: undefined, mode: undefined },
      { hosts: ["example.com"], ...DEFAULTS },
    ],
    [
      "everything",
      { hosts: ["a.b"], exemptPaths: ["/healthz"], forwardedHost: true, mode: "report" },
      { hosts: ["a.b"], exemptPaths: ["/healthz"], forwardedHost: true, mode: "report" },
    ],
    ["the list for debug", DEBUG_HOSTS, { hosts: ["localhost", "127.0.0.1", "[::1]"], ...DEFAULTS }],
  ])("%s", (_name, settings, options) => {
    expect(parse(trustedHostSchema, settings)).toEqual(options);
    expect(parse(trustedHostSchema, parse(trustedHostSchema, settings))).toEqual(options);
  });

  it.each([
    ["EXAMPLE.Com", "example.com"],
    ["example.com.", "example.com"],
    ["::1", "[::1]"],
    ["[::1]", "[::1]"],
    ["2001:DB8:0::1", "[2001:db8::1]"],
    ["[::1]:8080", "[::1]:8080"],
    ["127.0.0.1", "127.0.0.1"],
    ["localhost:8080", "localhost:8080"],
    ["my_service", "my_service"],
    ["*.Example.com", "*.example.com"],
    ["*.example.com:8443", "*.example.com:8443"],
    ["*.localhost", "*.localhost"],
    ["*.svc.cluster.local", "*.svc.cluster.local"],
    ["*.internal", "*.internal"],
    ["xn--bcher-kva.example", "xn--bcher-kva.example"],
  ])("the entry %s as %s", (text, entry) => {
    expect(parse(trustedHostSchema, [text]).hosts).toEqual([entry]);
  });

  it("leaves the given object alone", () => {
    const hosts = ["EXAMPLE.com"];
    const settings = { hosts };
    const options = parse(trustedHostSchema, settings);
    options.hosts.push("other.com");
    expect(settings).toEqual({ hosts: ["EXAMPLE.com"] });
  });
});

describe("refused", () => {
  it.each<[string, unknown, SettingsIssue]>([
    [
      "nothing",
      {},
      {
        code: "missing-setting",
        path: "hosts",
        message: "The hosts this service answers for are not given.",
        remedy: 'List them: ["api.example.com"].',
      },
    ],
    [
      "undefined hosts",
      { hosts: undefined },
      {
        code: "missing-setting",
        path: "hosts",
        message: "The hosts this service answers for are not given.",
        remedy: 'List them: ["api.example.com"].',
      },
    ],
    [
      "an empty list",
      [],
      {
        code: "missing-setting",
        path: "",
        message: "The list of hosts is empty, and an empty list never means all.",
        remedy: 'List the names of this service: ["api.example.com"].',
      },
    ],
    [
      "an empty list of hosts",
      { hosts: [] },
      {
        code: "missing-setting",
        path: "hosts",
        message: "The list of hosts is empty, and an empty list never means all.",
        remedy: 'List the names of this service: ["api.example.com"].',
      },
    ],
    [
      "null",
      null,
      {
        code: "wrong-type",
        path: "",
        message: "This is neither a list of hosts nor an object.",
        remedy: 'Write a list, ["api.example.com"], or { hosts: ["api.example.com"] }.',
      },
    ],
    [
      "nothing",
      undefined,
      {
        code: "missing-setting",
        path: "",
        message: "The hosts this service answers for are not given.",
        remedy: 'List them: ["api.example.com"].',
      },
    ],
    [
      "a string",
      "example.com",
      {
        code: "wrong-type",
        path: "",
        message: "This is neither a list of hosts nor an object.",
        remedy: 'Write a list, ["api.example.com"], or { hosts: ["api.example.com"] }.',
      },
    ],
    [
      "a string of hosts",
      { hosts: "example.com" },
      {
        code: "wrong-type",
        path: "hosts",
        message: "The hosts are not a list.",
        remedy: 'Write a list: ["api.example.com"].',
      },
    ],
    [
      "a number",
      [3],
      {
        code: "wrong-type",
        path: "[0]",
        message: "Invalid input: expected string, received number.",
        remedy: "Give a value of type string.",
      },
    ],
    [
      "a misspelt key",
      { hosts: ["a.b"], exemptPath: [] },
      {
        code: "unknown-setting",
        path: "exemptPath",
        message: 'There is no setting "exemptPath". Did you mean "exemptPaths"?',
        remedy: "Correct the name or remove the setting.",
      },
    ],
    [
      "a path with a query",
      { hosts: ["a.b"], exemptPaths: ["/a?b"] },
      {
        code: "wrong-value",
        path: "exemptPaths[0]",
        message: "This is not an absolute path without query and fragment.",
        remedy: "Write the path exactly as it is requested: /health.",
      },
    ],
    [
      "text for a boolean",
      { hosts: ["a.b"], forwardedHost: "true" },
      {
        code: "wrong-type",
        path: "forwardedHost",
        message: "Invalid input: expected boolean, received string.",
        remedy: "Give a value of type boolean.",
      },
    ],
  ])("%s", (_name, settings, issue) => {
    expect(issues(settings)).toEqual([issue]);
  });

  const entries: [entry: string, code: SettingsIssue["code"], message: string, remedy: string][] = [
    [
      "*",
      "unsafe-setting",
      '"*" takes every host, so DNS rebinding and forged links get through.',
      "List the names of this service (*.example.com for all below one), or switch the check off in so many words: trustedHosts: false.",
    ],
    [
      "*.com",
      "unsafe-setting",
      "Anybody can have a name under this public suffix, so the wildcard would take strangers' names.",
      "Name the domain that is yours: *.example.com instead of *.com.",
    ],
    [
      "*.co.uk",
      "unsafe-setting",
      "Anybody can have a name under this public suffix, so the wildcard would take strangers' names.",
      "Name the domain that is yours: *.example.com instead of *.com.",
    ],
    [
      "*.github.io",
      "unsafe-setting",
      "Anybody can have a name under this public suffix, so the wildcard would take strangers' names.",
      "Name the domain that is yours: *.example.com instead of *.com.",
    ],
    [
      "https://user:pass@example.com:8443/x?y",
      "wrong-value",
      "An entry is a host, not a URL.",
      "Write example.com:8443.",
    ],
    ["example.com/x", "wrong-value", "A host has no path.", "Write example.com."],
    ["user@example.com", "wrong-value", "A host has no user name.", "Write a host name, for example api.example.com."],
    [
      ".example.com",
      "wrong-value",
      "A leading dot means different things in different frameworks.",
      "Write *.example.com for the names below it, and example.com beside it if that is meant too.",
    ],
    [
      "b\u00fccher.example",
      "wrong-value",
      "Clients send names in other scripts as punycode.",
      "Write xn--bcher-kva.example.",
    ],
    [
      "*.b\u00fccher.example",
      "wrong-value",
      "Clients send names in other scripts as punycode.",
      "Write *.xn--bcher-kva.example.",
    ],
    [
      "10.0.0.0/8",
      "wrong-value",
      "This is a range of addresses, and Host is compared with names and single addresses.",
      "List the addresses, or put the health check's path into exemptPaths.",
    ],
    [
      "a*.example.com",
      "wrong-value",
      "A wildcard stands for whole labels at the very beginning.",
      "Write *.example.com, and example.com beside it if that is meant too.",
    ],
    [
      "*.*.example.com",
      "wrong-value",
      "A wildcard stands for whole labels at the very beginning.",
      "Write *.example.com, and example.com beside it if that is meant too.",
    ],
    [
      "*.10.0.0.1",
      "wrong-value",
      "An address has no subdomains.",
      "Write the address alone, or a name after the wildcard.",
    ],
    [
      "*.[::1]",
      "wrong-value",
      "An address has no subdomains.",
      "Write the address alone, or a name after the wildcard.",
    ],
    [
      "fe80::1%eth0",
      "wrong-value",
      "A host holds no percent sign: no zone, nothing encoded.",
      "Write a host name, for example api.example.com.",
    ],
    [
      "localhost:99999",
      "wrong-value",
      "The port is not a number from 1 to 65535.",
      "Correct it, or leave it out to take every port.",
    ],
    [
      "localhost:",
      "wrong-value",
      "The port is not a number from 1 to 65535.",
      "Correct it, or leave it out to take every port.",
    ],
    [
      "[::1]:0",
      "wrong-value",
      "The port is not a number from 1 to 65535.",
      "Correct it, or leave it out to take every port.",
    ],
    [
      "example.com:443",
      "wrong-value",
      "Clients leave the default port out of Host, so this would hardly ever match.",
      "Write example.com, which takes every port.",
    ],
    [
      "*.example.com:80",
      "wrong-value",
      "Clients leave the default port out of Host, so this would hardly ever match.",
      "Write *.example.com, which takes every port.",
    ],
    ["127.1", "wrong-value", "This is an address in a form that no client sends.", "Write 127.0.0.1."],
    ["", "wrong-value", "The entry is empty.", "Remove it. Write a host name, for example api.example.com."],
    [" example.com", "wrong-value", "There are spaces around the entry.", "Remove them."],
    [
      "a..b",
      "wrong-value",
      "This is neither a host name nor an address.",
      "Write a host name, for example api.example.com.",
    ],
    [
      "-a.com",
      "wrong-value",
      "This is neither a host name nor an address.",
      "Write a host name, for example api.example.com.",
    ],
    [
      "[::1",
      "wrong-value",
      "This is neither a host name nor an address.",
      "Write a host name, for example api.example.com.",
    ],
  ];
  it.each(entries)("the entry %s", (entry, code, message, remedy) => {
    expect(issues(["example.com", entry])).toEqual([{ code, path: "[1]", message, remedy }]);
    expect(issues({ hosts: ["example.com", entry] })).toEqual([{ code, path: "hosts[1]", message, remedy }]);
  });

  it("all at once", () => {
    expect(issues({ hosts: ["*", "a.b", "a b"], mode: "log" }).map(({ path }) => path)).toEqual([
      "hosts[0]",
      "hosts[2]",
      "mode",
    ]);
  });

  it("by the factory too, without an argument", () => {
    for (const call of [() => trustedHost(), () => trustedHost(undefined), () => trustedHost({} as never)]) {
      expect(call).toThrow(SettingsError);
      expect(call).toThrow("hosts: The hosts this service answers for are not given.");
    }
  });
});
