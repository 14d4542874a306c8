/**
 * The list of events of the connection, newest first.
 *
 * @module
 */
import { element } from "./dom.js";
import { count, formatDuration, formatTime } from "./time.js";

/** Maximum number of events in the list; the oldest are removed. */
const EVENTS_MAX = 100;

/** Explanations of why the connection was lost, by the reason that socket.io-client gives. */
const REASONS = {
  "ping timeout": "the server has not been heard from",
  "transport close": "the connection was closed",
  "transport error": "the connection broke",
  "forced close": "this page cut the line",
  "io client disconnect": "this page uses other credentials now",
  "io server disconnect": "the server ended the session",
};

/** The names of the transports as the page shows them. */
const TRANSPORTS = { websocket: "WebSocket", polling: "HTTP long polling" };

/** Returns the name of a transport as the page shows it. */
export function transportName(transport) {
  return TRANSPORTS[transport] ?? transport;
}

/** Returns the sentence that says why a connection was lost, for a reason of socket.io-client. */
export function lossSentence(reason) {
  return `Connection lost: ${REASONS[reason] ?? reason}`;
}

/** Returns the sentence that says what an outage has caused. The argument is what `Outage.result()` has returned. */
export function recoverySentence({ awayMs, recoveryMs, missed, gaps }) {
  const missing = gaps === 0
    ? "0 missing"
    : `with gaps in ${count(gaps, "room")}`;
  return `Recovered ${count(missed, "missed message")} in ${
    formatDuration(recoveryMs)
  } after ${formatDuration(awayMs)} away, ${missing}`;
}

/**
 * Adds an event at the beginning of a list.
 *
 * @param {HTMLOListElement} list
 * @param {"good" | "bad" | "plain"} kind
 * @param {string} sentence
 * @param {string} [title] a code, or another detail
 */
export function addEvent(list, kind, sentence, title = "") {
  const now = new Date();
  const item = element(
    "li",
    { class: kind },
    element(
      "time",
      { datetime: now.toISOString(), title: now.toISOString() },
      formatTime(now),
    ),
    element("span", { title }, sentence),
  );
  list.prepend(item);
  while (list.childElementCount > EVENTS_MAX) list.lastElementChild.remove();
}
