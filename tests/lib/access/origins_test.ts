import assert from "node:assert/strict";
import {
  isLoopback,
  makeOriginRule,
  type OriginHeaders,
} from "../../../lib/access/origins.ts";

const APP = "https://app.example.com";
const HOST = "chat.example.com:4000";

type Case = readonly [
  allowed: readonly string[],
  serverHost: string,
  origin: string | undefined,
  host: string | undefined,
  answer: boolean,
];

/** Origins that look like APP but are not equal to it. */
const LOOKALIKES = [
  "https://app.example.com.evil.tld",
  "https://app.example.com.",
  "https://evil-app.example.com",
  "https://x.app.example.com",
  "https://example.com",
  "https://appXexample.com",
  "http://app.example.com",
  "https://app.example.com:444",
  "https://app.example.com:443",
  "https://app.example.com/",
  "https://APP.example.com",
  "HTTPS://app.example.com",
  "https://app.example.com@evil.tld",
  "https://evil.tld#https://app.example.com",
  "https://evil.tld/https://app.example.com",
  "https://app.example.com,https://evil.tld",
  "https://app.example.com https://evil.tld",
  " https://app.example.com",
  "null",
  "",
  "*",
  "undefined",
  "file://",
  "https://",
  "//app.example.com",
  "app.example.com",
];

const CASES: readonly Case[] = [
  [[], "0.0.0.0", undefined, HOST, true],
  [[APP], "0.0.0.0", undefined, undefined, true],
  // The server's own origin is allowed, with any host name.
  [[], "0.0.0.0", `http://${HOST}`, HOST, true],
  [[], "0.0.0.0", `https://${HOST}`, HOST, true],
  [[APP], "0.0.0.0", `https://${HOST}`, HOST, true],
  [[], "0.0.0.0", "https://chat.example.com", "chat.example.com", true],
  [[], "0.0.0.0", "http://[2001:db8::1]:4000", "[2001:db8::1]:4000", true],
  [[], "0.0.0.0", "http://chat.example.com", HOST, false],
  [[], "0.0.0.0", "http://chat.example.com:4001", HOST, false],
  [[], "0.0.0.0", `http://${HOST}.evil.tld`, HOST, false],
  [[], "0.0.0.0", `http://x.${HOST}`, HOST, false],
  [[], "0.0.0.0", `http://${HOST}`, undefined, false],
  [[], "0.0.0.0", APP, HOST, false],
  // Only exact origins are allowed.
  [[APP], "0.0.0.0", APP, HOST, true],
  [["http://a.example", APP], "127.0.0.1", APP, HOST, true],
  ...LOOKALIKES.map((origin): Case => [[APP], "0.0.0.0", origin, HOST, false]),
  ...LOOKALIKES.map((
    origin,
  ): Case => [[APP], "127.0.0.1", origin, HOST, false]),
  // `*` allows any origin.
  ...LOOKALIKES.map((origin): Case => [["*"], "0.0.0.0", origin, HOST, true]),
  // Loopback origins are allowed if the server itself is on loopback.
  ...[
    "http://localhost",
    "http://localhost:5173",
    "https://127.0.0.1:8080",
    "http://127.1.2.3",
    "http://[::1]:3000",
  ].flatMap((origin): Case[] => [
    [[], "127.0.0.1", origin, "127.0.0.1:4000", true],
    [[], "localhost", origin, "localhost:4000", true],
    [[], "::1", origin, "[::1]:4000", true],
    [[], "0.0.0.0", origin, "127.0.0.1:4000", false],
    [[], "192.168.1.2", origin, "192.168.1.2:4000", false],
  ]),
  ...[
    "http://localhost.evil.tld",
    "http://127.0.0.1.evil.tld",
    "http://evil.tld",
    "http://localhost@evil.tld",
    "http://[::2]",
    "http://0.0.0.0",
    "http://192.168.0.1",
    "null",
    "",
  ].map((origin): Case => [[], "127.0.0.1", origin, "127.0.0.1:4000", false]),
];

Deno.test("makeOriginRule() allows listed origins, the server's own origin and loopback origins, but no origin that only looks like one of them", () => {
  for (const [allowed, serverHost, origin, host, answer] of CASES) {
    const rule = makeOriginRule({ allowedOrigins: allowed, host: serverHost });
    const { refusal, readableBy } = rule({ origin, host });
    const what =
      `allowed ${allowed}, HOST ${serverHost}, origin ${origin}, host ${host}`;
    assert.equal(refusal === undefined, answer, what);
    const expected = allowed.includes("*") && origin !== undefined
      ? "*"
      : answer
      ? origin
      : undefined;
    assert.equal(readableBy, expected, what);
  }
});

Deno.test("makeOriginRule() names the page's origin in the refusal, as it has to be listed", () => {
  const rule = makeOriginRule({
    allowedOrigins: ["https://example.com"],
    host: "0.0.0.0",
  });
  const told = (origin: string) => rule({ origin, host: "h" }).refusal?.message;
  assert.equal(
    told("https://www.example.com"),
    "Cannot serve this request: the page's origin https://www.example.com is not in ALLOWED_ORIGINS; add the origin to this setting",
  );
  assert.equal(
    told("capacitor://localhost"),
    "Cannot serve this request: the page's origin capacitor://localhost is not in ALLOWED_ORIGINS; add the origin to this setting",
  );
  for (const none of ["null", "file://"]) {
    const [, shown] =
      /^Cannot .* no origin \((.*)\), .*; load the page from a web server$/
        .exec(`${told(none)}`) ?? [];
    assert.equal(shown, none);
  }
  for (
    const origin of ["https://example.com/a", `https://${"a".repeat(100)}.com`]
  ) assert.match(`${told(origin)}`, /the page's origin is not in/);
});

/** The origins of web views and browser extensions, each with origins that only look like it. */
const APPS: readonly (readonly [origin: string, lookalikes: string[]])[] = [
  ["capacitor://localhost", [
    "capacitor://localhost:80",
    "capacitor://localhost/",
    "capacitor://LOCALHOST",
    "Capacitor://localhost",
    "capacitor://localhost.evil.tld",
    "capacitor://evil@localhost",
    "capacitor:localhost",
    "ionic://localhost",
    "http://localhost",
  ]],
  ["tauri://localhost", ["http://tauri.localhost", "tauri://localhost."]],
  ["http://tauri.localhost", ["https://tauri.localhost", "tauri://localhost"]],
  ["app://.", ["app://", "app://..", "app://-", "file://.", "file://"]],
  ["chrome-extension://abcdefghijklmnopabcdefghijklmnop", [
    "chrome-extension://abcdefghijklmnopabcdefghijklmno",
    "chrome-extension://ABCDEFGHIJKLMNOPABCDEFGHIJKLMNOP",
    "moz-extension://abcdefghijklmnopabcdefghijklmnop",
  ]],
  ["safari-web-extension://E6BA2B15-3D9A-4E1F-8E2B-000000000000", [
    "safari-web-extension://e6ba2b15-3d9a-4e1f-8e2b-000000000000",
  ]],
];

Deno.test("makeOriginRule() allows the listed origins of apps and browser extensions, and no others", () => {
  for (const serverHost of ["0.0.0.0", "127.0.0.1"]) {
    // The server is addressed by a name that no lookalike has.
    const host = "127.0.0.1:4000";
    for (const [listed, lookalikes] of APPS) {
      const allowedOrigins = [APP, listed];
      const rule = makeOriginRule({ allowedOrigins, host: serverHost });
      const allowed = rule({ origin: listed, host });
      assert.equal(allowed.refusal, undefined, listed);
      assert.equal(allowed.readableBy, listed);
      const nothing = makeOriginRule({ allowedOrigins: [], host: serverHost });
      // With a loopback HOST, every page of this machine is allowed, but no app that only calls its host so.
      const others = [...lookalikes, "null"].filter((origin) =>
        serverHost === "0.0.0.0" || origin !== "http://localhost"
      );
      for (const origin of others) {
        const { refusal, readableBy } = rule({ origin, host });
        const what = `${listed} on ${serverHost}: ${origin}`;
        assert.equal(refusal?.code, "origin_not_allowed", what);
        assert.equal(readableBy, undefined, what);
      }
      const { refusal } = nothing({ origin: listed, host });
      assert.equal(refusal?.code, "origin_not_allowed", listed);
    }
  }
});

Deno.test("makeOriginRule() does not take the host of a listed app for a name that leads to a server on loopback", () => {
  for (
    const [listed, code] of [
      ["app://chat.example.com", "host_not_allowed"],
      ["https://chat.example.com", undefined],
    ] as const
  ) {
    const rule = makeOriginRule({ allowedOrigins: [listed], host: "::1" });
    const { refusal } = rule({ host: `${OWN}:4000`, ...BROWSER });
    assert.equal(refusal?.code, code, listed);
  }
});

/** A request that a server on `host` with the allowed origin APP gets, and the code of its refusal. */
type Request = readonly [
  host: string,
  headers: OriginHeaders,
  code: string | undefined,
];

const SECURE = { "sec-fetch-site": "same-origin" };
const BROWSER = { "accept-language": "en" };
const OWN = "chat.example.com";

const REQUESTS: readonly Request[] = [
  // Another scheme than the one that the browser has used is another origin.
  ["0.0.0.0", { origin: `http://${OWN}`, host: OWN }, undefined],
  [
    "0.0.0.0",
    { origin: `http://${OWN}`, host: OWN, "x-forwarded-proto": "https" },
    "origin_not_allowed",
  ],
  [
    "0.0.0.0",
    { origin: `http://${OWN}`, host: OWN, "x-forwarded-proto": "HTTPS, http" },
    "origin_not_allowed",
  ],
  [
    "0.0.0.0",
    { origin: `https://${OWN}`, host: OWN, "x-forwarded-proto": "http" },
    undefined,
  ],
  ...["cross-site", "same-site", "none", ""].map((site): Request => [
    "0.0.0.0",
    { origin: `http://${OWN}`, host: OWN, "sec-fetch-site": site },
    "origin_not_allowed",
  ]),
  ["0.0.0.0", { origin: `https://${OWN}`, host: OWN, ...SECURE }, undefined],
  [
    "0.0.0.0",
    { origin: APP, host: OWN, "sec-fetch-site": "cross-site" },
    undefined,
  ],
  // Some proxies add the default port to the host.
  ["0.0.0.0", { origin: `https://${OWN}`, host: `${OWN}:443` }, undefined],
  ["0.0.0.0", { origin: `http://${OWN}`, host: `${OWN}:80` }, undefined],
  [
    "0.0.0.0",
    { origin: `https://${OWN}`, host: `${OWN}:80` },
    "origin_not_allowed",
  ],
  // Browsers send an origin in exactly one form.
  ...[`http://a@${OWN}`, `HTTP://${OWN}`, `http://${OWN}:80`, `http://${OWN}/`]
    .map((origin): Request => [
      "0.0.0.0",
      { origin, host: OWN },
      "origin_not_allowed",
    ]),
  [
    "0.0.0.0",
    { origin: `http://${OWN}.`, host: `${OWN}.` },
    undefined,
  ],
  [
    "0.0.0.0",
    { origin: `http://${OWN}.`, host: OWN },
    "origin_not_allowed",
  ],
  [
    "0.0.0.0",
    { origin: "http://[2001:db8:0::1]:4000", host: "[2001:db8::1]:4000" },
    "origin_not_allowed",
  ],
  // A name of another website can lead to a server on loopback.
  ...["127.0.0.1", "LOCALHOST", "127.1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1"]
    .flatMap((host): Request[] => [
      [
        host,
        { origin: "http://evil.tld:4000", host: "evil.tld:4000" },
        "host_not_allowed",
      ],
      [host, { host: "evil.tld:4000", ...BROWSER }, "host_not_allowed"],
      [host, { host: "evil.tld:4000", ...SECURE }, "host_not_allowed"],
      [host, { host: "localhost.evil.tld", ...BROWSER }, "host_not_allowed"],
      [host, { host: "", ...BROWSER }, "host_not_allowed"],
      [host, { host: "evil.tld:4000" }, undefined],
      [host, { host: undefined, ...BROWSER }, undefined],
      [host, { host: "localhost:4000", ...BROWSER }, undefined],
      [host, { host: "192.168.1.2:4000", ...BROWSER }, undefined],
      [host, { host: "[2001:db8::1]:4000", ...BROWSER }, undefined],
      [host, { host: "app.example.com", ...BROWSER }, undefined],
      [host, { host: "app.example.com:4000", origin: APP }, undefined],
    ]),
  ["0.0.0.0", { host: "evil.tld:4000", ...BROWSER }, undefined],
];

Deno.test("makeOriginRule() refuses pages with another scheme, and on a loopback host requests of browsers to foreign names", () => {
  for (const [host, headers, code] of REQUESTS) {
    const { refusal } = makeOriginRule({ allowedOrigins: [APP], host })(
      headers,
    );
    assert.equal(
      refusal?.code,
      code,
      `HOST ${host}: ${JSON.stringify(headers)}`,
    );
  }
});

Deno.test("makeOriginRule() allows the own origin under a public name if the server is guarded, as behind a proxy on the same machine", () => {
  const headers = {
    origin: "https://live.example.com",
    host: "live.example.com",
    ...SECURE,
  };
  const options = { allowedOrigins: [], host: "127.0.0.1" };
  const codeOf = (guarded: boolean): string | undefined =>
    makeOriginRule({ ...options, guarded })(headers).refusal?.code;
  assert.equal(codeOf(false), "host_not_allowed");
  assert.equal(codeOf(true), undefined);
  const { refusal } = makeOriginRule(options)(headers);
  assert.match(`${refusal?.message}`, /; set PUBLISH_KEYS, because anyone /);
  assert.doesNotMatch(`${refusal?.message}`, /ALLOWED_ORIGINS/);
});

Deno.test("the error for another host at the port for backends does not blame PUBLISH_KEYS, which may be set", () => {
  const rule = makeOriginRule({
    allowedOrigins: [],
    host: "127.0.0.1",
    forBackends: true,
  });
  const { refusal } = rule({ host: "live.example.com", ...BROWSER });
  assert.equal(refusal?.code, "host_not_allowed");
  assert.match(`${refusal?.message}`, /; open this port \(INTERNAL_PORT\) as /);
  assert.doesNotMatch(`${refusal?.message}`, /PUBLISH_KEYS/);
});

Deno.test("makeOriginRule() counts cookies only for allowed pages, and never with *", () => {
  const cases: [allowed: string[], headers: OriginHeaders, counts: boolean][] =
    [
      [[APP], { origin: APP, host: OWN }, true],
      [[APP], { origin: `https://${OWN}`, host: OWN }, true],
      [[APP], { host: OWN, ...SECURE }, true],
      [[APP], { host: OWN, "sec-fetch-site": "same-site" }, false],
      [[APP], { host: OWN, "sec-fetch-site": "none" }, false],
      [[APP], { host: OWN, ...BROWSER }, false],
      [[APP], { host: OWN }, false],
      [[APP], { origin: "https://evil.tld", host: OWN }, false],
      [[APP], { origin: "https://evil.tld", host: OWN, ...SECURE }, false],
      [["*"], { origin: APP, host: OWN }, false],
      [["*"], { host: OWN, ...SECURE }, false],
    ];
  for (const [allowed, headers, counts] of cases) {
    const options = { allowedOrigins: allowed, host: "0.0.0.0" };
    const what = JSON.stringify([allowed, headers]);
    const rule = makeOriginRule({ ...options, cookies: true });
    assert.equal(rule(headers).credentials, counts, what);
    assert.equal(makeOriginRule(options)(headers).credentials, false, what);
  }
});

Deno.test("makeOriginRule() allows no other loopback origins at a port for backends", () => {
  const rule = makeOriginRule({
    allowedOrigins: [],
    host: "127.0.0.1",
    forBackends: true,
  });
  const host = "localhost:4001";
  const codeOf = (origin: string) => rule({ origin, host }).refusal?.code;
  assert.equal(codeOf("http://localhost:4001"), undefined);
  assert.equal(codeOf("http://localhost:4000"), "origin_not_allowed");
});

Deno.test("isLoopback() returns true for every spelling of a loopback address", () => {
  for (
    const host of [
      "localhost",
      "LOCALHOST",
      "localhost.",
      "127.0.0.1",
      "127.1",
      "127.255.0.3",
      "0x7f.1",
      "2130706433",
      "::1",
      "[::1]",
      "0:0:0:0:0:0:0:1",
      "::ffff:127.0.0.1",
      "[::ffff:7f00:1]",
    ]
  ) assert.equal(isLoopback(host), true, host);
});

Deno.test("isLoopback() returns false for names that only look like a loopback address", () => {
  for (
    const host of [
      "127.0.0.1.evil.tld",
      "localhost.evil.tld",
      "localhost..",
      "x127.0.0.1",
      "::",
      "::ffff:128.0.0.1",
      "1127.0.0.1",
      "0",
      "0.0.0.0",
      "localhost:80",
      "localhost/",
      "a@localhost",
      "",
    ]
  ) assert.equal(isLoopback(host), false, host);
});
