/**
 * The notice that the page shows while it is not connected: what is wrong, what to do, and when the page tries again.
 *
 * @module
 */
import { adviceFor } from "./advice.js";
import { find } from "./dom.js";
import { requestJson } from "./publish.js";

/** How long the page may be disconnected before it asks the server for the reason, in ms. */
const PATIENCE_MS = 2000;
/** Interval at which the notice updates the time until the next attempt, in ms. */
const COUNT_MS = 250;
/** What the notice contains if there is no problem. */
const SOLVED = { title: "", text: "", detail: "" };

/**
 * Shows in the header that the page is not connected.
 *
 * @param {number | undefined} seconds until the next attempt
 * @param {boolean} isTrying whether the page tries to connect, now or later
 */
function showState(seconds, isTrying) {
  const state = find("state");
  if (state.dataset.state === "connected") return;
  const verb = state.dataset.state === "reconnecting"
    ? "Reconnecting"
    : "Connecting";
  const text = !isTrying
    ? "Not connected"
    : seconds === undefined
    ? `${verb} …`
    : `${verb} in ${seconds} s`;
  if (state.textContent !== text) state.textContent = text;
}

/** Manages the notice: shows or hides it, and asks the server for the reason of a problem. */
export class Notice {
  #server;
  #connection;
  #announcer;
  /** Aborts asking the server for the reason of the problem; undefined while the page does not ask. */
  #asking;
  #countdown;
  #title = "";

  /**
   * Starts to handle the button "Try now".
   *
   * @param {import("./server.js").Server} server
   * @param {() => import("./connection.js").Connection} connection
   * @param {import("./announce.js").Announcer} announcer
   */
  constructor(server, connection, announcer) {
    this.#server = server;
    this.#connection = connection;
    this.#announcer = announcer;
    find("try-now").addEventListener("click", () => connection().connectNow());
  }

  /** Hides the notice, because the page is connected. */
  up() {
    this.#stopAsking();
    clearInterval(this.#countdown);
    this.#countdown = undefined;
    this.#show(undefined);
  }

  /**
   * Updates the notice, because the page is not connected. Unless the page is disconnected on purpose, asks the server
   * for the reason if the page stays disconnected for {@link PATIENCE_MS}.
   */
  down(isOnPurpose = false) {
    this.#countdown ??= setInterval(() => this.#count(), COUNT_MS);
    this.#count();
    if (isOnPurpose || this.#asking !== undefined) return;
    this.#asking = new AbortController();
    this.#askLater(this.#asking.signal);
  }

  /** Shows `problem`, which the server has reported, in the notice. */
  report(problem) {
    this.#stopAsking();
    this.#show(problem);
  }

  #stopAsking() {
    this.#asking?.abort();
    this.#asking = undefined;
  }

  #askLater(signal) {
    const timer = setTimeout(() => void this.#ask(signal), PATIENCE_MS);
    signal.addEventListener("abort", () => clearTimeout(timer));
  }

  async #ask(signal) {
    let problem = { status: 200 };
    try {
      await requestJson(this.#server.servesBackends ? "/readyz" : "/page.json");
    } catch (error) {
      problem = error;
    }
    if (signal.aborted) return;
    this.#show(problem);
    this.#askLater(signal);
  }

  #show(problem) {
    find("notice").hidden = problem === undefined;
    const { title, text, detail } = problem === undefined
      ? SOLVED
      : adviceFor(problem);
    if (title !== this.#title) {
      // Screen readers would still find the problem if nothing else was announced.
      this.#announcer.say(title === "" ? "Connected" : `${title}. ${text}`);
    }
    this.#title = title;
    find("notice-title").textContent = title;
    find("notice-text").textContent = text;
    find("notice-detail").textContent = detail;
    if (problem !== undefined) this.#count();
  }

  #count() {
    const { nextAttemptAt, isTrying } = this.#connection();
    const seconds = Math.ceil((nextAttemptAt - performance.now()) / 1000);
    const text = seconds > 0
      ? `Next attempt in ${seconds} s`
      : isTrying
      ? "Connecting …"
      : "";
    if (find("countdown").textContent !== text) {
      find("countdown").textContent = text;
    }
    showState(seconds > 0 ? seconds : undefined, isTrying || seconds > 0);
  }
}
