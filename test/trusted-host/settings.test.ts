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

describe("accepted settings", () => {
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
  ])("the entry %s, which is read as %s", (text, entry) => {
    expect(parse(trustedHostSchema, [text]).hosts).toEqual([entry]);
  });

  it("a function, alone or in an object", () => {
    const hosts = (host: string): boolean => host === "example.com";
    for (const settings of [hosts, { hosts }]) {
      const options = parse(trustedHostSchema, settings);
      expect(options).toEqual({ hosts, ...DEFAULTS });
      expect(parse(trustedHostSchema, options)).toEqual(options);
    }
  });

  it("are not changed", () => {
    const hosts = ["EXAMPLE.com"];
    const settings = { hosts };
    const options = parse(trustedHostSchema, settings);
    (options.hosts as string[]).push("other.com");
    expect(settings).toEqual({ hosts: ["EXAMPLE.com"] });
  });
});

describe("refused settings", () => {
  it.each<[string, unknown, SettingsIssue]>([
    ...[["example.com", () => true], { hosts: ["example.com", () => true] }].map(
      (settings): [string, unknown, SettingsIssue] => [
        "a function in a list",
        settings,
        {
          code: "wrong-type",
          path: Array.isArray(settings) ? "[1]" : "hosts[1]",
          message: "A list cannot contain a function, because a function decides about every name.",
          remedy: "Write the function in place of the list, and compare with the other entries inside it.",
        },
      ],
    ),
    [
      "a function that waits for a callback",
      { hosts: (_host: string, callback: (allowed: boolean) => void) => callback(true) },
      {
        code: "wrong-value",
        path: "hosts",
        message: "This function has a second parameter, but is called with the name alone, without a callback.",
        remedy: "Return true or false, or a promise of one: (name) => tenants.has(name).",
      },
    ],
    [
      "nothing",
      {},
      {
        code: "missing-setting",
        path: "hosts",
        message: "This setting is required: the host names that this app answers for.",
        remedy: 'Write a list: ["api.example.com"].',
      },
    ],
    [
      "undefined hosts",
      { hosts: undefined },
      {
        code: "missing-setting",
        path: "hosts",
        message: "This setting is required: the host names that this app answers for.",
        remedy: 'Write a list: ["api.example.com"].',
      },
    ],
    [
      "an empty list",
      [],
      {
        code: "missing-setting",
        path: "",
        message: "The list of hosts is empty. An empty list does not allow every host.",
        remedy: 'List the host names of this app: ["api.example.com"].',
      },
    ],
    [
      "an empty list of hosts",
      { hosts: [] },
      {
        code: "missing-setting",
        path: "hosts",
        message: "The list of hosts is empty. An empty list does not allow every host.",
        remedy: 'List the host names of this app: ["api.example.com"].',
      },
    ],
    [
      "null",
      null,
      {
        code: "wrong-type",
        path: "",
        message: "This must be a list of hosts or an object.",
        remedy: 'Write a list, ["api.example.com"], or { hosts: ["api.example.com"] }.',
      },
    ],
    [
      "nothing",
      undefined,
      {
        code: "missing-setting",
        path: "",
        message: "This setting is required: the host names that this app answers for.",
        remedy: 'Write a list: ["api.example.com"].',
      },
    ],
    [
      "a string",
      "example.com",
      {
        code: "wrong-type",
        path: "",
        message: "This must be a list of hosts or an object.",
        remedy: 'Write a list, ["api.example.com"], or { hosts: ["api.example.com"] }.',
      },
    ],
    [
      "a string of hosts",
      { hosts: "example.com" },
      {
        code: "wrong-type",
        path: "hosts",
        message: "The hosts must be a list.",
        remedy: 'Write a list: ["api.example.com"].',
      },
    ],
    [
      "a number",
      [3],
      {
        code: "wrong-type",
        path: "[0]",
        message: "This must be a string.",
        remedy: "Write a string.",
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
        message: "This must be an absolute path without a query or fragment.",
        remedy: "Write the path exactly as it is requested: /health.",
      },
    ],
    [
      "text for a boolean",
      { hosts: ["a.b"], forwardedHost: "true" },
      {
        code: "wrong-type",
        path: "forwardedHost",
        message: "This must be true or false.",
        remedy: "Write true or false.",
      },
    ],
  ])("%s", (_name, settings, issue) => {
    expect(issues(settings)).toEqual([issue]);
  });

  const entries: [entry: string, code: SettingsIssue["code"], message: string, remedy: string][] = [
    [
      "*",
      "unsafe-setting",
      '"*" allows every host, which permits DNS rebinding and forged links.',
      "List the host names of this app (*.example.com covers all names below example.com), or turn the check off: trustedHosts: false.",
    ],
    [
      "*.com",
      "unsafe-setting",
      "This is a public suffix: the domains below it belong to many owners, and the wildcard would trust all of them.",
      "Use your own domain: *.example.com instead of *.com.",
    ],
    [
      "*.co.uk",
      "unsafe-setting",
      "This is a public suffix: the domains below it belong to many owners, and the wildcard would trust all of them.",
      "Use your own domain: *.example.com instead of *.com.",
    ],
    [
      "*.github.io",
      "unsafe-setting",
      "This is a public suffix: the domains below it belong to many owners, and the wildcard would trust all of them.",
      "Use your own domain: *.example.com instead of *.com.",
    ],
    [
      "https://user:pass@example.com:8443/x?y",
      "wrong-value",
      "This must be a host, not a URL.",
      "Write example.com:8443.",
    ],
    ["example.com/x", "wrong-value", "A host cannot have a path.", "Write example.com."],
    [
      "user@example.com",
      "wrong-value",
      "A host cannot contain a user name.",
      "Write a host name, for example api.example.com.",
    ],
    [
      ".example.com",
      "wrong-value",
      "A leading dot is ambiguous, because frameworks interpret it differently.",
      "Write *.example.com for all names below it. To include example.com itself, add example.com.",
    ],
    [
      "b\u00fccher.example",
      "wrong-value",
      "Clients send non-ASCII host names as punycode.",
      "Write xn--bcher-kva.example.",
    ],
    [
      "*.b\u00fccher.example",
      "wrong-value",
      "Clients send non-ASCII host names as punycode.",
      "Write *.xn--bcher-kva.example.",
    ],
    [
      "10.0.0.0/8",
      "wrong-value",
      "This is an address range, but Host is compared only with names and single addresses.",
      "List the addresses, or put the health check's path into exemptPaths.",
    ],
    [
      "a*.example.com",
      "wrong-value",
      "A wildcard must be the whole first label of the host.",
      "Write *.example.com. To include example.com itself, add example.com.",
    ],
    [
      "*.*.example.com",
      "wrong-value",
      "A wildcard must be the whole first label of the host.",
      "Write *.example.com. To include example.com itself, add example.com.",
    ],
    [
      "*.10.0.0.1",
      "wrong-value",
      "An IP address cannot have subdomains.",
      "Write the address without the wildcard, or a name after the wildcard.",
    ],
    [
      "*.[::1]",
      "wrong-value",
      "An IP address cannot have subdomains.",
      "Write the address without the wildcard, or a name after the wildcard.",
    ],
    [
      "fe80::1%eth0",
      "wrong-value",
      "A host cannot contain a percent sign: neither a zone id nor an encoded character.",
      "Write a host name, for example api.example.com.",
    ],
    [
      "localhost:99999",
      "wrong-value",
      "The port must be a number from 1 to 65535.",
      "Correct the port, or remove it to match every port.",
    ],
    [
      "localhost:",
      "wrong-value",
      "The port must be a number from 1 to 65535.",
      "Correct the port, or remove it to match every port.",
    ],
    [
      "[::1]:0",
      "wrong-value",
      "The port must be a number from 1 to 65535.",
      "Correct the port, or remove it to match every port.",
    ],
    [
      "example.com:443",
      "wrong-value",
      "Clients omit the default port in Host, so this would almost never match.",
      "Write example.com, which matches every port.",
    ],
    [
      "*.example.com:80",
      "wrong-value",
      "Clients omit the default port in Host, so this would almost never match.",
      "Write *.example.com, which matches every port.",
    ],
    ["127.1", "wrong-value", "This is an IP address in a form that clients do not send.", "Write 127.0.0.1."],
    ["", "wrong-value", "The entry is empty.", "Remove it. Write a host name, for example api.example.com."],
    [" example.com", "wrong-value", "The entry begins or ends with a space.", "Remove the space."],
    [
      "a..b",
      "wrong-value",
      "This is not a host name or an IP address.",
      "Write a host name, for example api.example.com.",
    ],
    [
      "-a.com",
      "wrong-value",
      "This is not a host name or an IP address.",
      "Write a host name, for example api.example.com.",
    ],
    [
      "[::1",
      "wrong-value",
      "This is not a host name or an IP address.",
      "Write a host name, for example api.example.com.",
    ],
  ];
  it.each(entries)("the entry %s", (entry, code, message, remedy) => {
    expect(issues(["example.com", entry])).toEqual([{ code, path: "[1]", message, remedy }]);
    expect(issues({ hosts: ["example.com", entry] })).toEqual([{ code, path: "hosts[1]", message, remedy }]);
  });

  it("are reported all at once", () => {
    expect(issues({ hosts: ["*", "a.b", "a b"], mode: "log" }).map(({ path }) => path)).toEqual([
      "hosts[0]",
      "hosts[2]",
      "mode",
    ]);
  });

  it("are refused by the factory too, as is no argument", () => {
    for (const call of [() => trustedHost(), () => trustedHost(undefined), () => trustedHost({} as never)]) {
      expect(call).toThrow(SettingsError);
      expect(call).toThrow("hosts: This setting is required: the host names that this app answers for.");
    }
  });
});
