/**
 * Reads JSON and says at which place the text is not valid. In some browsers, the errors of `JSON.parse` do not name
 * the place.
 *
 * @module
 */

/** Matches one token of JSON, or white space. */
const TOKEN =
  /[ \t\n\r]+|[{}[\],:]|"(?:[ !#-[\]-\uffff]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])|(?:true|false|null)(?!\w)/y;

/** What JSON may contain at the next place, as a sentence for the reader of the page, by the state of the parser. */
const EXPECTED = {
  value: "a value is expected",
  first: "a value or ] is expected",
  key: "a name in double quotes is expected",
  firstKey: "a name in double quotes or } is expected",
  colon: "a colon is expected",
  next: "a comma or the closing bracket is expected",
  end: "nothing more is expected",
};

/**
 * Parses a text as JSON.
 *
 * @param {string} text
 * @returns {{ value: unknown } | { index: number, sentence: string }} the value, or the place at which the text is not
 * valid, with a sentence
 */
export function readJson(text) {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return findError(text);
  }
}

/** Returns the line and the column of the character at an index, both counted from 1. */
export function placeOf(text, index) {
  const lines = text.slice(0, index).split("\n");
  return { line: lines.length, column: lines.at(-1).length + 1 };
}

function findError(text) {
  const open = [];
  let state = "value";
  let index = 0;
  while (index < text.length) {
    TOKEN.lastIndex = index;
    const token = TOKEN.exec(text)?.[0];
    const next = token === undefined ? undefined : step(state, token, open);
    if (next === undefined) break;
    state = next;
    index += token.length;
  }
  return { index, sentence: describe(text, index, state) };
}

function describe(text, index, state) {
  const { line, column } = placeOf(text, index);
  const place = `line ${line}, column ${column}`;
  if (text[index] === '"' && state !== "colon" && state !== "next") {
    return `${place}: this text has no closing quote, or a line break or an invalid \\ inside`;
  }
  return text[index] === "'"
    ? `${place}: texts need double quotes`
    : `${place}: ${EXPECTED[state]}`;
}

/**
 * Returns the state of the reader after a token; undefined if the token is not valid in `state`. `open` is the list of
 * the braces and brackets that are not closed yet; the function changes it.
 */
function step(state, token, open) {
  if (/^\s/.test(token)) return state;
  const after = () => open.length === 0 ? "end" : "next";
  const isValue = state === "value" || state === "first";
  switch (token[0]) {
    case "{":
    case "[":
      if (!isValue) return undefined;
      open.push(token);
      return token === "{" ? "firstKey" : "first";
    case "}":
    case "]": {
      const opening = token === "}" ? "{" : "[";
      const isEmpty = state === (token === "}" ? "firstKey" : "first");
      if (open.at(-1) !== opening || !(isEmpty || state === "next")) {
        return undefined;
      }
      open.pop();
      return after();
    }
    case ",":
      if (state !== "next") return undefined;
      return open.at(-1) === "{" ? "key" : "value";
    case ":":
      return state === "colon" ? "value" : undefined;
    case '"':
      if (state === "key" || state === "firstKey") return "colon";
  }
  return isValue ? after() : undefined;
}
