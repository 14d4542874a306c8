import assert from "node:assert/strict";
import { allowOrigins, isLoopback } from "../../../lib/access/origins.ts";

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

Deno.test("allowOrigins() allows listed origins, the server's own origin and loopback origins, but no origin that only looks like one of them", () => {
  for (const [allowed, serverHost, origin, host, answer] of CASES) {
    assert.equal(
      allowOrigins(allowed, serverHost)(origin, host),
      answer,
      `allowed ${allowed}, HOST ${serverHost}, origin ${origin}, host ${host}`,
    );
  }
});

Deno.test("isLoopback() returns false for names that only look like a loopback address", () => {
  for (
    const host of [
      "127.0.0.1.evil.tld",
      "localhost.evil.tld",
      "127.0.0",
      "x127.0.0.1",
      "::",
      "1127.0.0.1",
      "",
    ]
  ) assert.equal(isLoopback(host), false, host);
});
