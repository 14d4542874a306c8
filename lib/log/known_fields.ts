/**
 * Refuses unknown fields, and names the one that was probably meant.
 *
 * An unknown field is never ignored. Otherwise a publish with a misspelled `room` would go to another room.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import { adviceFor, type Names, quoted } from "../util/nearest.ts";

/**
 * Checks that an object has only known fields. `verb` names what the request wants to do.
 *
 * @throws {ApiError} `unknown_field`
 */
export function checkFields(
  fields: object,
  names: Names,
  verb = "publish",
): void {
  for (const name of Object.keys(fields)) {
    if (names.known.includes(name)) continue;
    throw new ApiError(
      "unknown_field",
      `Cannot ${verb}: the field ${quoted(name)} is unknown; ${
        adviceFor(name, names)
      }`,
    );
  }
}
