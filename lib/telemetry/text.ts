/**
 * Formats log lines for people: the time, the level, a sentence and the fields. On a terminal, the first lines say how
 * to use the server.
 *
 * @module
 */
import { styleText } from "node:util";
import { type Format, shorten } from "./logger.ts";

/** Facts that the first lines on a terminal show, in addition to the fields of the observation `started`. */
export interface Greeting {
  /** The URL of Redis without its password; undefined if messages are stored in the process. */
  readonly redis: string | undefined;
  /** The names of the publish keys; empty if publishing needs none. */
  readonly publishKeys: readonly string[];
  /** Whether clients need a token. */
  readonly needsToken: boolean;
  /** Whether the connect hook is set. */
  readonly connectHook: boolean;
  /** Whether the join hook is set. */
  readonly joinHook: boolean;
}

/** Options of {@linkcode formatText}. */
export interface TextOptions {
  /** Whether log lines have colors. */
  readonly colors: boolean;
  /** What to write instead of the log line `started`; undefined to write that line. */
  readonly greeting?: Greeting;
}

const STYLES = {
  debug: "dim",
  info: "green",
  warn: "yellow",
  error: "red",
} as const;

/**
 * The addresses that stand for all interfaces of a machine, each with the address to open in a browser on this machine.
 */
const TO_OPEN: Readonly<Record<string, string>> = {
  "0.0.0.0": "127.0.0.1",
  "[::]": "[::1]",
};

/** Creates the {@linkcode Format} of log lines for people. */
export function formatText({ colors, greeting }: TextOptions): Format {
  const style = (name: Parameters<typeof styleText>[0], text: string): string =>
    colors ? styleText(name, text, { validateStream: false }) : text;
  return ({ time, level, kind, sentence, facts }) => {
    if (kind === "started" && greeting !== undefined) {
      const [title, ...rows] = greet(greeting, facts);
      const lines = rows.map(([name, value]) =>
        `  ${style("dim", name.padEnd(10))}${value}`
      );
      return [style("bold", title.join(" ")), "", ...lines, ""].join("\n");
    }
    const { error, ...others } = facts;
    const fields = Object.entries(others).filter(([, value]) =>
      value !== undefined
    ).map(([name, value]) => `${style("dim", `${name}=`)}${show(value)}`);
    const [first = "", ...stack] = error === undefined
      ? []
      : printable(shorten(String(error))).split("\n");
    if (error !== undefined) fields.push(`${style("dim", "error=")}${first}`);
    return [
      [
        style("dim", time.toISOString().replace("T", " ")),
        style(STYLES[level], level.toUpperCase().padEnd(5)),
        sentence,
        ...fields,
      ].join(" "),
      ...stack,
    ].join("\n");
  };
}

/** Returns what the first lines on a terminal show: first the title, and then pairs of a name and a value. */
function greet(
  greeting: Greeting,
  facts: Readonly<Record<string, unknown>>,
): [string[], ...[name: string, value: string][]] {
  const { redis, publishKeys } = greeting;
  const open = addressOf(facts.url);
  const internal = facts.internalUrl && addressOf(facts.internalUrl);
  const list = (names: unknown): string =>
    Array.isArray(names) && names.length > 0 ? names.join(", ") : "none";
  const channels = list(facts.channels);
  const [key] = publishKeys;
  const credential = key === undefined
    ? ""
    : ` -H 'authorization: Bearer <secret of ${key}>'`;
  return [
    ["Roomcast is running. Ctrl-C stops it."],
    ["open", open],
    ...(internal ? [["internal", internal] as [string, string]] : []),
    [
      "messages",
      redis === undefined
        ? "kept in this process (embedded); set REDIS_URL to keep them in Redis"
        : `kept in Redis, ${redis}`,
    ],
    ["rooms", list(facts.rooms)],
    ...(redis === undefined
      ? []
      : [["channels", channels] as [string, string]]),
    ["clients", admission(greeting)],
    [
      "publish",
      `curl -d hello -H 'content-type: text/plain'${credential} ${
        internal ?? open
      }/publish`,
    ],
  ];
}

/** Says which clients are let in. */
function admission(
  { needsToken, connectHook, joinHook }: Greeting,
): string {
  if (needsToken) {
    return connectHook
      ? "need a token, or the connect hook lets them in"
      : "need a token; see docs/tokens.md";
  }
  if (connectHook) return "need the connect hook to let them in";
  return joinHook
    ? "may connect; the join hook decides about rooms"
    : "may join every room; set TOKEN_SECRET or CONNECT_HOOK_URL to change that";
}

/** Returns the address at which this machine reaches a server that listens on `url`. */
function addressOf(url: unknown): string {
  const address = new URL(String(url));
  address.hostname = TO_OPEN[address.hostname] ?? address.hostname;
  return address.origin;
}

/** Returns a value as text in one line. */
function show(value: unknown): string {
  if (typeof value === "number") return String(value);
  if (typeof value !== "string") return printable(JSON.stringify(value));
  const text = shorten(value);
  return /^[\w.:/@+-]+$/.test(text) ? text : printable(JSON.stringify(text));
}

/** Replaces the control characters, to which a terminal would react, except line breaks. */
function printable(text: string): string {
  return text.replace(/(?!\n)\p{Cc}/gu, "\ufffd");
}
