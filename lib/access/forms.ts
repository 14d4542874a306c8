/**
 * Reads values of an expected form from claims of tokens and from what hooks respond.
 *
 * @module
 */
import { isFields } from "../util/fields.ts";
import { quoted } from "../util/nearest.ts";
import { isPrintable } from "../util/text.ts";
import { type Action, ACTION_OF_WORD, type Grant } from "./rights.ts";

/**
 * A value does not have the form that it has to have. The message begins with the name of the field in quotes, and
 * identifies no user.
 */
export class WrongForm extends Error {
  override name = "WrongForm";
}

/** The latest time that a `Date` can have, in ms since 1970. */
export const TIME_MAX = 8.64e15;
/**
 * Lowest number that is taken for a time in ms since 1970 (in September 2001). Every lower number is taken for a time in
 * seconds (until the year 33658; some tokens expire in the year 9999).
 */
export const TIME_MS_MIN = 1e12;
/** Maximum length of the name of a user or a token, in characters. */
export const NAME_LENGTH_MAX = 255;
const CAP_FIELDS = ["rooms", "allow"];
const WORDS = [...ACTION_OF_WORD.keys()].join(", ");

/**
 * Reads a name. Some systems have numbers for users, and write them as numbers.
 *
 * @throws {WrongForm}
 */
export function readName(field: string, value: unknown): string {
  if (Number.isSafeInteger(value)) return String(value);
  if (
    typeof value === "string" && value !== "" &&
    value.length <= NAME_LENGTH_MAX && isPrintable(value)
  ) return value;
  throw new WrongForm(
    `"${field}" is not a text of 1 to ${NAME_LENGTH_MAX} printable characters`,
  );
}

/** Reads a list of texts. @throws {WrongForm} */
export function readTexts(field: string, value: unknown): readonly string[] {
  if (
    Array.isArray(value) && value.every((item) => typeof item === "string")
  ) return value;
  throw new WrongForm(`"${field}" is not a list of texts`);
}

/** Reads a list of the words for actions, as in `["sub","pub"]`. @throws {WrongForm} */
export function readActions(field: string, value: unknown): readonly Action[] {
  return readTexts(field, value).map((word) => {
    const action = ACTION_OF_WORD.get(word);
    if (action !== undefined) return action;
    throw new WrongForm(
      `"${field}" has ${quoted(word)}, which is none of ${WORDS}`,
    );
  });
}

/** Reads a list of names of rooms, and of patterns that end in `*`. @throws {WrongForm} */
function readPatterns(field: string, value: unknown): readonly string[] {
  const patterns = readTexts(field, value);
  const wrong = patterns.find((pattern) => pattern.slice(0, -1).includes("*"));
  if (wrong === undefined) return patterns;
  throw new WrongForm(
    `"${field}" has a pattern with a * that is not at the end; write patterns such as "news.*"`,
  );
}

/** Reads rights, as in `[{"rooms":["news.*"],"allow":["sub"]}]`. @throws {WrongForm} */
export function readCaps(caps: unknown): readonly Grant[] {
  if (!Array.isArray(caps)) throw new WrongForm('"caps" is not a list');
  return caps.map((cap: unknown) => {
    if (!isFields(cap)) {
      throw new WrongForm(
        '"caps" has an item that is not like {"rooms":["chat"],"allow":["sub"]}',
      );
    }
    if (!Object.keys(cap).every((name) => CAP_FIELDS.includes(name))) {
      throw new WrongForm(
        '"caps[]" has a field that is neither "rooms" nor "allow"',
      );
    }
    return {
      rooms: readPatterns("caps[].rooms", cap.rooms),
      actions: readActions("caps[].allow", cap.allow),
    };
  });
}
