import assert from "node:assert/strict";
import type { Observation } from "../../../lib/observer.ts";
import { KINDS } from "../../../lib/telemetry/kinds.ts";
import { createLogger } from "../../../lib/telemetry/logger.ts";
import {
  formatText,
  type Greeting,
  type TextOptions,
} from "../../../lib/telemetry/text.ts";
import { ALL } from "./observations.ts";

/** Returns the text that is written for each observation. */
function written(
  options: Partial<TextOptions>,
  ...observations: Observation[]
): string[] {
  const texts: string[] = [];
  const format = formatText({ colors: false, ...options });
  const log = createLogger("debug", (text) => texts.push(text), format);
  for (const observation of observations) log(observation);
  return texts;
}

const STARTED = {
  kind: "started",
  url: "http://0.0.0.0:8080",
  internalUrl: undefined,
  log: "embedded",
  rooms: ["chat", "news"],
  channels: [],
  connectionsMax: Infinity,
  directWrite: true,
} as const;

const PLAIN: Greeting = {
  redis: undefined,
  publishKeys: [],
  needsToken: false,
  connectHook: false,
  joinHook: false,
};

function greeted(
  greeting: Partial<Greeting>,
  started: Partial<Extract<Observation, { kind: "started" }>> = {},
): string[] {
  const [text = ""] = written(
    { greeting: { ...PLAIN, ...greeting } },
    { ...STARTED, ...started },
  );
  return text.split("\n");
}

Deno.test("formatText() writes the time, the level, a sentence and the fields", () => {
  const [line = ""] = written({}, {
    kind: "redis_disconnected",
    connections: ["commands", "reader"],
    durationMs: 60_000,
    why: "Error: connect ECONNREFUSED 127.0.0.1:6379",
  });
  assert.match(
    line,
    /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z WARN {2}Redis is not reachable; trying again connections=\["commands","reader"\] durationMs=60000 why="Error: connect ECONNREFUSED 127\.0\.0\.1:6379"$/,
  );
  assert.match(
    written({}, { kind: "stopping", signal: "SIGINT", clients: 3 }).join(),
    /Z INFO {2}Stopping signal=SIGINT clients=3$/,
  );
});

Deno.test("formatText() writes one line with a sentence for every observation except errors with a stack", () => {
  const logged = ALL.filter(({ kind }) => KINDS[kind] !== undefined);
  const texts = written({}, ...ALL);
  assert.equal(texts.length, logged.length);
  for (const [at, { kind }] of logged.entries()) {
    const text = texts[at] ?? "";
    assert.ok(text.includes(` ${KINDS[kind]?.[1]}`), text);
    assert.equal(text.includes("\n"), kind === "error", text);
  }
  const sentences = Object.values(KINDS).flatMap((line) => line?.[1] ?? []);
  assert.equal(new Set(sentences).size, sentences.length);
});

Deno.test("formatText() greets with both addresses, and with a command that publishes at the internal one", () => {
  const lines = greeted({}, { internalUrl: "http://[::]:9090" });
  assert.deepEqual(lines.filter((line) => line.includes("://")), [
    "  open      http://127.0.0.1:8080",
    "  internal  http://[::1]:9090",
    "  publish   curl -d hello -H 'content-type: text/plain' http://[::1]:9090/publish",
  ]);
});

Deno.test("formatText() writes the stack of an error in lines of its own", () => {
  const error = new RangeError("no more room");
  const [text = ""] = written({}, { kind: "error", where: "a test", error });
  const [first = "", second = ""] = text.split("\n");
  assert.match(first, / where="a test" error=RangeError: no more room$/);
  assert.match(second, /^ {4}at /);
});

Deno.test("formatText() replaces control characters to which a terminal would react", () => {
  const evil = "\u001b[2J\r\u009b31m\u0007";
  const texts = written(
    {},
    { kind: "bridge_stuck", why: evil },
    { kind: "error", where: evil, error: evil },
    { kind: "redis_is_replica", why: "x".repeat(100_000) },
  );
  const obeyed = (character: string): boolean =>
    character !== "\n" && /\p{Cc}/u.test(character);
  for (const text of texts) assert.ok(![...text].some(obeyed), text);
  assert.ok(texts.every(({ length }) => length < 1200));
});

Deno.test("formatText() writes colors only if `colors` is true", () => {
  const observations = ALL.filter(({ kind }) => kind !== "error");
  assert.ok(
    written({ colors: false }, ...observations).every((text) =>
      !text.includes("\u001b")
    ),
  );
  assert.ok(
    written({ colors: true }, ...observations).every((text) =>
      text.includes("\u001b[")
    ),
  );
});

Deno.test("at the start of a server without Redis, formatText() writes the server's URL, its rooms and a curl command", () => {
  assert.deepEqual(greeted({}), [
    "Roomcast is running. Ctrl-C stops it.",
    "",
    "  open      http://127.0.0.1:8080",
    "  messages  kept in this process (embedded); set REDIS_URL to keep them in Redis",
    "  rooms     chat, news",
    "  clients   may join every room; set TOKEN_SECRET or CONNECT_HOOK_URL to change that",
    "  publish   curl -d hello -H 'content-type: text/plain' http://127.0.0.1:8080/publish",
    "",
  ]);
});

Deno.test("at the start of a server with Redis and publish keys, formatText() writes the URL of Redis, the channels and a key's name", () => {
  const lines = greeted(
    { redis: "redis://****@redis:6379", publishKeys: ["backend", "other"] },
    { url: "http://[::]:4000", log: "redis", channels: ["chat", "news.*"] },
  );
  assert.deepEqual(lines.slice(2), [
    "  open      http://[::1]:4000",
    "  messages  kept in Redis, redis://****@redis:6379",
    "  rooms     chat, news",
    "  channels  chat, news.*",
    "  clients   may join every room; set TOKEN_SECRET or CONNECT_HOOK_URL to change that",
    "  publish   curl -d hello -H 'content-type: text/plain' -H 'authorization: Bearer <secret of backend>' http://[::1]:4000/publish",
    "",
  ]);
  const [, , , , , channels] = greeted({ redis: "redis://redis" });
  assert.equal(channels, "  channels  none");
});

Deno.test("at the start, formatText() says which clients are let in", () => {
  const clients = (greeting: Partial<Greeting>): string | undefined =>
    greeted(greeting).find((line) => line.startsWith("  clients"));
  const [needsToken, connectHook, joinHook] = [true, true, true];
  for (
    const [greeting, text] of [
      [{ needsToken }, "need a token; see docs/tokens.md"],
      [{ needsToken, joinHook }, "need a token; see docs/tokens.md"],
      [
        { needsToken, connectHook },
        "need a token, or the connect hook lets them in",
      ],
      [{ connectHook, joinHook }, "need the connect hook to let them in"],
      [{ joinHook }, "may connect; the join hook decides about rooms"],
    ] as const
  ) {
    assert.equal(clients(greeting), `  clients   ${text}`);
  }
});

Deno.test("formatText() writes the observation `started` as one line if there is no greeting", () => {
  const [line = ""] = written({}, STARTED);
  assert.match(
    line,
    /INFO {2}Roomcast is running url=http:\/\/0\.0\.0\.0:8080 /,
  );
  assert.match(line, / connectionsMax=Infinity /);
});
