/**
 * Roomcast's page: shows the messages of rooms as they are published, publishes to them, and shows what happens to the
 * connection.
 *
 * @module
 */
import { AccessForms } from "./access.js";
import { Announcer } from "./announce.js";
import { Connection } from "./connection.js";
import { Cut } from "./cut.js";
import { find } from "./dom.js";
import {
  addEvent,
  lossSentence,
  recoverySentence,
  transportName,
} from "./events.js";
import { gapSentence } from "./gaps.js";
import { Notice } from "./notice.js";
import { Pane } from "./pane.js";
import { Rooms } from "./rooms.js";
import { Server } from "./server.js";
import { formatDuration } from "./time.js";

/** Pause between two attempts to load the settings of the server, in ms. */
const SETTINGS_RETRY_MS = 3000;
/** Interval at which the rates of rooms are updated, in ms. */
const TICK_MS = 1000;

const announcer = new Announcer(find("announcer"));
const server = new Server();
const events = find("events");
/** The page's connection; undefined until the page has loaded the names of the server's default rooms. */
let connection;
/** The names of the server's default rooms. */
let defaults = [];
/** Whether the list of events already shows a failed attempt since the page was last connected. */
let hasFailed = false;

const rooms = new Rooms(
  { tabs: find("tabs"), panes: find("panes"), split: find("split") },
  { opened: openRoom, closed: closeRoom, changed: roomsChanged },
);
/** Takes the place of the connection while `connection` is undefined. */
const idle = { nextAttemptAt: undefined, isTrying: true, connectNow() {} };
const notice = new Notice(server, () => connection ?? idle, announcer);
const access = new AccessForms(server, {
  keyChanged: () => rooms.pane(rooms.current)?.focus(),
  tokenRefreshed,
  tokenChanged,
});
/** Whether the token has changed, so that the page may be allowed to join rooms that it was refused before. */
let hasOtherToken = false;
let cut;

void start();

async function start() {
  setUpPanel();
  find("open-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const room = find("open-room").value.trim();
    if (room === "") return;
    find("open-room").value = "";
    rooms.open(room);
    rooms.select(room);
    rooms.pane(room).focus();
  });
  setInterval(() => {
    for (const pane of rooms.panes) pane.tick();
    rooms.showUnseen();
  }, TICK_MS);
  const wanted = new URL(location.href).searchParams.getAll("room")
    .filter((room) => room !== "");
  const settings = await loadSettings();
  connection = new Connection(
    { ...roomHandlers(), ...connectionHandlers() },
    () => server.token,
  );
  cut = new Cut({ connection, server, rooms, announcer });
  find("cut-publish").checked = server.mayPublishOverHttp(
    settings.room,
  );
  find("log").textContent = settings.embedded
    ? "messages are kept in this process"
    : "messages are kept in Redis";
  defaults = settings.rooms;
  for (const room of [...defaults, ...wanted]) rooms.open(room);
  rooms.select(wanted[0] ?? defaults[0]);
  showState("connecting", "Connecting …");
  notice.down();
}

async function loadSettings() {
  for (;;) {
    try {
      return await server.load();
    } catch (error) {
      notice.report(error);
      await new Promise((done) => setTimeout(done, SETTINGS_RETRY_MS));
    }
  }
}

function openRoom(room) {
  const pane = new Pane(room, {
    server,
    announcer,
    keyNeeded: () => access.askForKey(),
    publish: (message, options) => connection.publish(room, message, options),
    historyRefused: (why) => access.askForReading(why),
    leave: () => rooms.close(room),
  });
  learn(room);
  connection.join(room);
  return pane;
}

function closeRoom(room) {
  connection.leave(room);
}

/** Loads the server's settings for a room. If that fails, the page loads them again when it has connected. */
function learn(room) {
  server.load(room).catch(() => {});
}

function roomsChanged() {
  document.title = `${rooms.current} · Roomcast`;
  const url = new URL(location.href);
  const others = rooms.names.filter((room) => !defaults.includes(room));
  const named = new Set([rooms.current, ...others]);
  const isDefault = named.size === 1 && rooms.current === defaults[0];
  url.search = isDefault
    ? ""
    : new URLSearchParams([...named].map((room) => ["room", room]));
  history.replaceState(null, "", url);
  cut?.update();
}

/** Reconnects with the token that is set now, or without one. */
function tokenChanged() {
  hasOtherToken = true;
  if (connection.isConnected) connection.reconnect();
  else connection.connectNow();
}

/** Sends the token that is set now in place of the one that expires. */
async function tokenRefreshed() {
  await connection.refresh(server.token);
  addEvent(events, "good", "The server has accepted a new token");
  joinAll();
}

/** Joins the open rooms that the page is not in. */
function joinAll() {
  for (const room of rooms.names) connection.join(room);
}

function roomHandlers() {
  return {
    message(room, row, isMissed) {
      rooms.pane(room)?.message(row, isMissed);
    },
    gap(room, gap) {
      rooms.pane(room)?.gap(gap);
      addEvent(
        events,
        "bad",
        `${room}: ${gapSentence(gap.reason).replace(" here", "")}`,
        gap.reason,
      );
    },
    joined(room, position) {
      rooms.pane(room)?.joined(position);
    },
    roomRefused({ message, code }, room) {
      rooms.pane(room)?.refused(message);
      addEvent(events, "bad", `${room}: ${message}`, code);
      announcer.say(message);
    },
  };
}

function connectionHandlers() {
  return {
    connected({ transport, ms }) {
      hasFailed = false;
      notice.up();
      showState("connected", "Connected");
      find("transport").textContent = transportName(transport);
      addEvent(
        events,
        "good",
        `Connected by ${transportName(transport)} in ${formatDuration(ms)}`,
      );
      access.connected();
      if (hasOtherToken) joinAll();
      hasOtherToken = false;
      for (const room of rooms.names) learn(room);
    },
    tokenExpiring(expiresAt) {
      access.askForNewToken(expiresAt);
      const text = "The token expires soon";
      addEvent(events, "bad", text);
      announcer.say(text);
    },
    upgraded(transport) {
      find("transport").textContent = transportName(transport);
      addEvent(events, "plain", `Upgraded to ${transportName(transport)}`);
    },
    lost(reason, why) {
      access.disconnected();
      if (find("state").dataset.state === "connected") {
        addEvent(events, "bad", lossSentence(reason), why?.code ?? reason);
        announcer.say(lossSentence(reason));
        showState("reconnecting", "Reconnecting …");
        find("transport").textContent = "Not connected";
      } else attemptFailed(why?.message ?? "the server closed the connection");
      if (why === undefined) notice.down(cut.isUnderWay);
      else notice.report(why);
    },
    recovered(result) {
      addEvent(
        events,
        result.gaps === 0 ? "good" : "bad",
        recoverySentence(result),
      );
      announcer.say(recoverySentence(result));
      void cut.recovered(result);
    },
    failed(problem) {
      attemptFailed(problem?.message ?? "the server did not respond");
      if (problem?.code === undefined) return notice.down();
      notice.report(problem);
      if (problem.code === "unauthorized" && server.acceptsTokens) {
        access.askForToken(problem.message);
      }
    },
    waiting: () => notice.down(cut.isUnderWay),
  };
}

/**
 * Adds a failed attempt to connect to the list of events, unless the list already shows one since the page was last
 * connected.
 */
function attemptFailed(why) {
  if (hasFailed) return;
  hasFailed = true;
  // Error sentences of the server already begin with "Cannot".
  const sentence = why.startsWith("Cannot ") ? why : `Cannot connect: ${why}`;
  addEvent(events, "bad", sentence);
}

function showState(state, text) {
  document.documentElement.dataset.connection = state;
  find("state").dataset.state = state;
  find("state").textContent = text;
  cut.update();
}

function setUpPanel() {
  const button = find("panel-button");
  const toggle = (isOpen) => {
    document.documentElement.dataset.panel = isOpen ? "open" : "closed";
    button.ariaExpanded = String(isOpen);
  };
  button.addEventListener(
    "click",
    () => toggle(button.ariaExpanded !== "true"),
  );
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || button.ariaExpanded !== "true") return;
    toggle(false);
    button.focus();
  });
}
