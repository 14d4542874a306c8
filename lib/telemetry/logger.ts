/**
 * The logger: writes observations as lines.
 *
 * @module
 */
import { inspect } from "node:util";
import {
  LOG_LEVELS,
  type LogLevel,
  type Observation,
  type Observe,
} from "../observer.ts";
import { KINDS } from "./kinds.ts";

/** What a line says. */
export interface Entry {
  readonly time: Date;
  readonly level: LogLevel;
  readonly kind: Observation["kind"];
  /** The sentence for people. */
  readonly sentence: string;
  /** The observation's fields. An `error` is described as text. */
  readonly facts: Readonly<Record<string, unknown>>;
}

/** Turns an entry into text, which ends without a line break. */
export type Format = (entry: Entry) => string;

/** Maximum length of a text in a line, in characters, because texts of Redis and of other programs may be long. */
const TEXT_LENGTH_MAX = 1000;

/**
 * Makes a function that writes observations of `level` and above, each as one line of JSON if `format` is not given. It
 * never throws.
 */
export function createLogger(
  level: LogLevel,
  write: (line: string) => void,
  format: Format = formatJson,
): Observe {
  const least = LOG_LEVELS.indexOf(level);
  return ({ kind, ...facts }) => {
    const [own, sentence] = KINDS[kind] ?? [];
    if (own === undefined || LOG_LEVELS.indexOf(own) < least) return;
    const entry = {
      time: new Date(),
      level: own,
      kind,
      sentence: sentence ?? "",
      facts: {
        ...facts,
        ...("error" in facts && { error: describe(facts.error) }),
      },
    };
    write(format(entry));
  };
}

/** Writes an entry as one line of JSON, without the sentence. */
export function formatJson({ time, level, kind, facts }: Entry): string {
  return JSON.stringify(
    { time: time.toISOString(), level, kind, ...facts },
    (_, value) => typeof value === "string" ? shorten(value) : value,
  );
}

/** Describes a thrown value, which may be one that `JSON.stringify` cannot handle. */
function describe(error: unknown): string {
  if (error instanceof Error) return error.stack ?? String(error);
  return typeof error === "string" ? error : inspect(error);
}

/** Cuts a text that is too long for a line. */
export function shorten(text: string): string {
  return text.length > TEXT_LENGTH_MAX
    ? `${text.slice(0, TEXT_LENGTH_MAX)}…`
    : text;
}
