/**
 * The logger: writes observations as log lines.
 *
 * @module
 */
import { inspect } from "node:util";
import { ApiError } from "../errors.ts";
import {
  LOG_LEVELS,
  type LogLevel,
  type Observation,
  type Observe,
} from "../observer.ts";
import { KINDS } from "./kinds.ts";

/** The content of one log line. */
export interface LogLine {
  readonly time: Date;
  readonly level: LogLevel;
  readonly kind: Observation["kind"];
  /** The sentence for people, which says what has happened. */
  readonly sentence: string;
  /** The observation's fields. An `error` is described as text. */
  readonly facts: Readonly<Record<string, unknown>>;
}

/** Turns the content of a log line into text, without a line break at the end. */
export type Format = (line: LogLine) => string;

/** Maximum length of a text in a log line, in characters. Texts of Redis and of other programs may be longer. */
const TEXT_LENGTH_MAX = 1000;

/**
 * Creates a function that writes each observation of `level` or above as a log line: in the form of `format`, or as
 * JSON if `format` is not given. The function never throws.
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

/** Formats a log line as JSON, without the sentence for people. */
export function formatJson({ time, level, kind, facts }: LogLine): string {
  return JSON.stringify(
    { time: time.toISOString(), level, kind, ...facts },
    (_, value) => typeof value === "string" ? shorten(value) : value,
  );
}

/** Describes a thrown value as text. The value may be of any type, also one that `JSON.stringify` cannot handle. */
function describe(error: unknown): string {
  // Its message says what to do, so nobody needs to know where in the code it was made.
  if (error instanceof ApiError) return `${error.code}: ${error.message}`;
  if (error instanceof Error) return error.stack ?? String(error);
  return typeof error === "string" ? error : inspect(error);
}

/** Cuts off a text that is too long for a log line. */
export function shorten(text: string): string {
  return text.length > TEXT_LENGTH_MAX
    ? `${text.slice(0, TEXT_LENGTH_MAX)}…`
    : text;
}
