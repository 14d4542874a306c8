/**
 * Creates the rows of the list. Texts of publishers are always set as text, so that they cannot become markup.
 *
 * @module
 */
const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const calendar = new Intl.DateTimeFormat(undefined, {
  dateStyle: "full",
  timeStyle: "long",
});

/** One sentence for each reason of a gap, and one for a reason that this version does not know. */
const GAP_SENTENCES = {
  trimmed:
    "Messages are missing here: the room's history does not go back to your last visit",
  epoch:
    "Messages may be missing here: the server's log was emptied or restored",
  expired:
    "Messages may be missing here: you were away longer than the server remembers",
  overloaded:
    "Messages are missing here: your connection was too slow to receive them",
  ingress:
    "Messages may be missing here: the server was not receiving from Redis for a while",
  position:
    "Messages may be missing here: the server does not know your last position",
};
const GAP_SENTENCE = "Messages may be missing here";

/**
 * Creates the row of a message.
 *
 * @param {{ message: unknown, at: number, id: string }} row
 * @returns {HTMLLIElement}
 */
export function messageRow({ message, at, id }) {
  const date = new Date(at);
  const time = element("time", "", clock.format(date));
  time.dateTime = date.toISOString();
  time.title = calendar.format(date);

  const body = typeof message === "string"
    ? element("p", "text", message)
    : element("code", "json", JSON.stringify(message));
  // Isolate the direction of the text, so that right-to-left text does not reorder the text beside it.
  body.dir = typeof message === "string" ? "auto" : "ltr";

  const li = element("li", "message");
  li.dataset.id = id;
  li.append(time);
  li.append(body);
  return li;
}

/**
 * Creates the divider of a gap; the tooltip shows the reason's code. It has no `data-id`, because a gap may have the
 * same id as a message.
 *
 * @param {string} reason
 * @returns {HTMLLIElement}
 */
export function gapRow(reason) {
  const li = element("li", "gap", GAP_SENTENCES[reason] ?? GAP_SENTENCE);
  li.title = reason;
  return li;
}

function element(name, className, text = "") {
  const made = document.createElement(name);
  if (className !== "") made.className = className;
  made.textContent = text;
  return made;
}
