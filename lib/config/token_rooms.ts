/**
 * Reads `TOKEN_ROOMS`, and finds templates that are valid and match no room that anybody means.
 *
 * @module
 */
import { parseTemplate, type RoomTemplate } from "../access/claim_rooms.ts";
import { ACTION_OF_WORD } from "../access/rights.ts";
import type { EnvReader } from "./env_reader.ts";

const NAME = "TOKEN_ROOMS";
/** Matches a claim as other programs write it: `$sub`, `${sub}`, `:sub` or `<sub>` at the beginning of a piece. */
const PLACEHOLDER = /(?:^|[./:_-])(\$\{?([a-z_]\w*)\}?|:([a-z_]\w*)|<(\w+)>)/;
/** Matches the end of one template within another one, as in `a=sub; b=sub`. */
const INNER_END = new RegExp(
  `=\\s*(${[...ACTION_OF_WORD.keys()].join("|")})\\b`,
);

/** Reads `TOKEN_ROOMS`. Records a problem for each template that is not valid or cannot match what is meant. */
export function readTokenRooms(reader: EnvReader): RoomTemplate[] {
  return reader.list(NAME).flatMap((item) => {
    try {
      const mistake = mistakeOf(item);
      if (mistake !== undefined) throw new TypeError(mistake);
      return [parseTemplate(item)];
    } catch (error) {
      const why = (error as Error).message;
      reader.fail(NAME, `has ${JSON.stringify(item)}, which ${why}`);
      return [];
    }
  });
}

/** Says what is wrong with a template whose form is valid; undefined if nothing is. */
export function mistakeOf(item: string): string | undefined {
  const name = item.slice(0, Math.max(0, item.lastIndexOf("=")));
  if (INNER_END.test(name)) {
    return "has more than one template in it; separate them with commas";
  }
  const [, written, ...claims] = PLACEHOLDER.exec(name) ?? [];
  const claim = claims.find((text) => text !== undefined);
  if (claim !== undefined) {
    return `has ${written}, which is no claim but a part of the room's name; write {${claim}}`;
  }
  const [indexed] = /\{[^{}]*\[[^{}]*\}/.exec(name) ?? [];
  return indexed === undefined
    ? undefined
    : `has ${indexed}, but an item of a list cannot fill a name; use a claim that is a text or a whole number`;
}
