/**
 * Rows of the list. Promises that nothing a publisher wrote ever becomes markup: it is only ever set as text.
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

/**
 * A message's row.
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
  // Right-to-left text reads its own way and cannot turn its neighbours around.
  body.dir = typeof message === "string" ? "auto" : "ltr";

  const li = element("li", "message");
  li.dataset.id = id;
  li.append(time);
  li.append(body);
  return li;
}

/**
 * A gap's row: a quiet divider. It has no `data-id`: its id may be that of a message.
 *
 * @param {string} reason
 * @returns {HTMLLIElement}
 */
export function gapRow(reason) {
  return element("li", "gap", `Some messages were missed (${reason})`);
}

function element(name, className, text = "") {
  const made = document.createElement(name);
  if (className !== "") made.className = className;
  made.textContent = text;
  return made;
}
