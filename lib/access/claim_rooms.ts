/**
 * Rights from ordinary claims: templates such as `user.{sub}=sub+pub`, which turn a claim's value into a room's name.
 *
 * With them, the tokens of an identity provider can be used as they are, although they say nothing about rooms.
 *
 * A value fills exactly one piece of the name. Otherwise a user whose organization is called `acme.board` would get the
 * rooms `org.acme.board.*` of the organization `acme` from the template `org.{org_id}.*`. A value is therefore refused
 * if it contains one of these characters:
 * - a `*`;
 * - a character that usually separates pieces (`.`, `:`, `/`);
 * - a character that follows a claim in any of the templates. With `team-{team}` and `team-{org}-board`, the team
 *   `acme-board` would otherwise get the room of the organization `acme`.
 *
 * A refused or missing value grants nothing.
 *
 * @module
 */
import { isFields } from "../util/fields.ts";
import { type Action, ACTION_OF_WORD, type Grant } from "./rights.ts";

/** The claims of a token. */
export type Claims = Readonly<Record<string, unknown>>;

/** A claim in a template, and the text between it and the next claim or the end. */
interface Hole {
  readonly claim: string;
  readonly text: string;
}

/** A template of a room's name, or of a pattern, with the actions that it grants. */
export interface RoomTemplate {
  /** The text before the first claim. */
  readonly start: string;
  readonly holes: readonly Hole[];
  /** Whether the template ends in `*`, so that it grants all rooms whose names begin with the text before. */
  readonly isPattern: boolean;
  readonly actions: readonly Action[];
}

/** Maximum length of a claim's value in the name of a room, in characters. The name of a room has at most 255 bytes. */
const VALUE_LENGTH_MAX = 255;
// deno-lint-ignore no-control-regex -- no room has these characters in its name
const NEVER_IN_VALUE = /[.:/*\u0000-\u001f\u007f-\u009f]/;

/**
 * Reads a template: a name with claims in braces, an equals sign, and the granted actions joined by `+`. The name may
 * end in `*`.
 *
 * A claim is named as the token has it (`{sub}`, `{https://example.com/org}`) or by its path in nested objects
 * (`{app_metadata.org_id}`).
 *
 * @throws {TypeError} The message says what is wrong and continues a sentence that names the template.
 */
export function parseTemplate(text: string): RoomTemplate {
  const equals = text.lastIndexOf("=");
  if (equals < 1) {
    throw new TypeError("has no =; write it as in user.{sub}=sub+pub");
  }
  const name = text.slice(0, equals).trim();
  const actions = text.slice(equals + 1).split("+").map(readAction);
  const isPattern = name.endsWith("*");
  const [start = "", ...pieces] = (isPattern ? name.slice(0, -1) : name)
    .split("{");
  const holes = pieces.map(readHole);
  if ([start, ...holes.map(({ text }) => text)].some(hasStray)) {
    throw new TypeError("has a } without a {, or a * that is not at the end");
  }
  const crowded = holes.find(({ text }, index) => {
    const isLast = index === holes.length - 1;
    return text === "" ? isPattern || !isLast : /^[\p{L}\p{N}]/u.test(text);
  });
  if (crowded !== undefined) {
    throw new TypeError(
      `has no separator after {${crowded.claim}}; otherwise a value could be continued by another one. Write it as in org.{org_id}.*`,
    );
  }
  return { start, holes, isPattern, actions };
}

function hasStray(text: string): boolean {
  return /[}*]/.test(text);
}

function readHole(piece: string): Hole {
  const end = piece.indexOf("}");
  const claim = piece.slice(0, end).trim();
  if (end < 0 || claim === "") {
    throw new TypeError("has a { without the name of a claim and a }");
  }
  return { claim, text: piece.slice(end + 1) };
}

function readAction(word: string): Action {
  const action = ACTION_OF_WORD.get(word.trim());
  if (action !== undefined) return action;
  throw new TypeError(
    `grants ${JSON.stringify(word.trim())}; grant some of ${
      [...ACTION_OF_WORD.keys()].join(", ")
    }, joined by +`,
  );
}

/** Returns what all templates of the setting grant to a token with these claims. */
export function grantsOfClaims(
  templates: readonly RoomTemplate[],
  claims: Claims,
): Grant[] {
  const separators = separatorsOf(templates);
  return templates.flatMap((template) => {
    const room = fill(template, claims, separators);
    return room === undefined
      ? []
      : [{ rooms: [room], actions: template.actions }];
  });
}

function separatorsOf(templates: readonly RoomTemplate[]): string[] {
  return templates.flatMap(({ holes }) => holes)
    .map(({ text }) => text.slice(0, 1)).filter((text) => text !== "");
}

/** A claim with a character because of which a template grants nothing, for messages of errors. */
export interface Misfit {
  /** What the names of the template's rooms begin with. */
  readonly start: string;
  readonly claim: string;
  readonly character: string;
}

/** Returns the claims with a character because of which a template grants nothing; at most one for each template. */
export function misfitsOf(
  templates: readonly RoomTemplate[],
  claims: Claims,
): readonly Misfit[] {
  const separators = separatorsOf(templates);
  return templates.flatMap(({ start, holes }) => {
    const misfits = holes.flatMap(({ claim }) => {
      const value = claimOf(claims, claim);
      const character = typeof value === "string"
        ? [...value].find((character) =>
          NEVER_IN_VALUE.test(character) || separators.includes(character)
        )
        : undefined;
      return character === undefined ? [] : [{ start, claim, character }];
    });
    return misfits.slice(0, 1);
  });
}

/** Returns the name of the room, or the pattern; undefined if a claim is missing or does not fill one piece. */
function fill(
  { start, holes, isPattern }: RoomTemplate,
  claims: Claims,
  separators: readonly string[],
): string | undefined {
  let name = start;
  for (const { claim, text } of holes) {
    const value = pieceOf(claimOf(claims, claim));
    if (value === undefined) return undefined;
    if (separators.some((separator) => value.includes(separator))) {
      return undefined;
    }
    name += value + text;
  }
  return isPattern ? `${name}*` : name;
}

/** Returns a claim's value as text; undefined if it is not a text or an integer, or could match more than one piece. */
function pieceOf(value: unknown): string | undefined {
  if (Number.isSafeInteger(value)) return String(value);
  const isPiece = typeof value === "string" && value !== "" &&
    value.length <= VALUE_LENGTH_MAX && !NEVER_IN_VALUE.test(value);
  return isPiece ? value : undefined;
}

/**
 * Returns the claim with this name; if there is none, the value at this path, whose names are separated by dots. Only
 * the claims' own properties count, so `constructor` and `__proto__` are missing unless the token has them.
 */
function claimOf(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  let value: unknown = claims;
  for (const part of name.split(".")) {
    if (!isFields(value) || !Object.hasOwn(value, part)) return undefined;
    value = value[part];
  }
  return value;
}
