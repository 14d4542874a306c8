/**
 * Creates the rows of a list: messages and gaps.
 *
 * @module
 */
import { element } from "./dom.js";
import { gapSentence } from "./gaps.js";
import { formatDay, formatTime, isSameDay } from "./time.js";

/** Maximum number of lines of a message that are shown before the reader expands the message. */
const LINES_MAX = 16;
/** Maximum number of characters of a message that are shown before the reader expands the message. */
const CHARACTERS_MAX = 1500;
/**
 * Maximum number of characters of JSON that is shown on one line. Longer JSON is shown on several lines. Phones have
 * less space for a line.
 */
const LINE_MAX = matchMedia("(min-width: 48em)").matches ? 72 : 36;
/** Matches the parts of JSON that are colored: names, texts, and other values. */
const JSON_PARTS =
  /("(?:[^"\\]|\\.)*")(\s*:)?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/g;

/**
 * Creates the element of a message or a gap. The first row of a day begins with the date.
 *
 * @param {object} row
 * @param {object | undefined} previous the row before it
 * @returns {HTMLLIElement}
 */
export function createRow(row, previous) {
  if (row.reason !== undefined) return gapRow(row);
  const { id, at, message, from, event } = row;
  const date = new Date(at);
  const time = element("time", {
    datetime: date.toISOString(),
    title: date.toISOString(),
  }, formatTime(at));
  const facts = [["from", from], ["event", event]]
    .filter(([, fact]) => fact !== undefined)
    .map(([name, fact]) =>
      element("span", { class: `fact fact-${name}`, dir: "auto" }, fact)
    );
  const li = element(
    "li",
    { class: "message", "data-id": id },
    ...needsDay(row, previous)
      ? [element("p", { class: "day" }, formatDay(at))]
      : [],
    time,
    element("div", { class: "body" }, ...facts, ...bodyOf(message)),
    element("button", {
      class: "more",
      type: "button",
      tabindex: "-1",
      "aria-label": `Copy message ${id}`,
      "aria-haspopup": "menu",
    }, "Copy"),
    element("span", { class: "id" }, id),
  );
  return li;
}

/** Returns whether a row is the first row of its day, so that the list shows the date above it. */
export function needsDay(row, previous) {
  return row.at !== undefined &&
    (previous?.at === undefined || !isSameDay(row.at, previous.at));
}

function gapRow({ reason }) {
  return element(
    "li",
    { class: "gap", title: reason },
    element("span", {}, gapSentence(reason)),
  );
}

function bodyOf(message) {
  const isText = typeof message === "string";
  const text = isText ? message : format(message);
  const shown = shorten(text);
  // Isolate the direction of the text, so that right-to-left text does not reorder the text beside it.
  const body = isText
    ? element("p", { class: "text", dir: "auto" }, shown)
    : element("code", { class: "json", dir: "ltr" }, ...colour(shown));
  if (shown.length === text.length) return [body];
  const button = element(
    "button",
    { class: "whole", type: "button", tabindex: "-1" },
    `Show all ${text.length.toLocaleString("en")} characters`,
  );
  button.addEventListener("click", () => {
    body.textContent = text;
    button.remove();
  }, { once: true });
  return [body, button];
}

function format(message) {
  const line = JSON.stringify(message);
  return line.length <= LINE_MAX ? line : JSON.stringify(message, null, 2);
}

function shorten(text) {
  const lines = text.split("\n", LINES_MAX + 1);
  const start = lines.length > LINES_MAX
    ? lines.slice(0, LINES_MAX).join("\n")
    : text;
  return start.slice(0, CHARACTERS_MAX);
}

function* colour(json) {
  let end = 0;
  for (const match of json.matchAll(JSON_PARTS)) {
    const [whole, text, colon] = match;
    yield json.slice(end, match.index);
    const kind = colon ? "name" : text ? "string" : "value";
    yield element("span", { class: kind }, text ?? whole);
    end = match.index + (text ?? whole).length;
  }
  yield json.slice(end);
}
