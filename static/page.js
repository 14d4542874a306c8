/**
 * Roomcast's page. Promises to show each message of one room once, as it comes, and to publish to that room; what
 * goes wrong is said in words where it went wrong.
 *
 * @module
 */
import { setUpComposer } from "./composer.js";
import { createConnection } from "./connection.js";
import { lightUp, pointTo } from "./dial.js";
import { setUpCopying, showLines } from "./hint.js";
import { MessageList } from "./list.js";

const ROOM_DEFAULT = "chat";
const STATES = {
  connecting: "Connecting…",
  connected: "Connected",
  reconnecting: "Reconnecting…",
  disconnected: "Disconnected",
};

const find = (id) => document.getElementById(id);
const roomBox = find("room");
const state = find("state");
const refusal = find("refusal");
const reconnect = find("reconnect");

let room = new URL(location.href).searchParams.get("room") || ROOM_DEFAULT;

const list = new MessageList({
  log: find("log"),
  list: find("messages"),
  newest: find("newest"),
  empty: find("empty"),
});

const connection = createConnection({
  message(row, restored) {
    list.addMessage(row);
    if (!restored) lightUp(find("glow"));
  },
  gap(row) {
    list.addGap(row);
  },
  state(now) {
    document.documentElement.dataset.connection = now;
    reconnect.hidden = now !== "disconnected";
    // Said once, not at every try: a screen reader speaks each change of a status.
    if (state.dataset.state === now) return;
    state.dataset.state = now;
    state.textContent = STATES[now];
  },
  refusal(sentence, code) {
    refusal.textContent = sentence;
    roomBox.ariaInvalid = String(code === "invalid_room");
  },
});

function showRoom() {
  roomBox.value = room;
  document.title = `${room} · Roomcast`;
  pointTo(find("dial"), room);
  showLines({ curl: find("curl"), redis: find("redis") }, room);
}

function changeRoom() {
  const wanted = roomBox.value.trim();
  if (wanted === "" || wanted === room) {
    roomBox.value = room;
    return;
  }
  room = wanted;
  const url = new URL(location.href);
  url.searchParams.set("room", room);
  history.replaceState(null, "", url);
  refusal.textContent = "";
  find("error").textContent = "";
  list.clear();
  showRoom();
  connection.tune(room);
}

roomBox.addEventListener("change", changeRoom);
roomBox.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  roomBox.value = room;
  roomBox.blur();
});
find("tune").addEventListener("submit", (event) => {
  event.preventDefault();
  changeRoom();
  find("message").focus();
});
reconnect.addEventListener("click", () => connection.reconnect());

setUpCopying(document.querySelectorAll("[data-copies]"));
setUpComposer(
  {
    form: find("send"),
    box: find("message"),
    error: find("error"),
    keyRow: find("key-row"),
    key: find("key"),
  },
  () => room,
);
showRoom();
connection.tune(room);
