/**
 * Roomcast's page: shows the messages of one room as they are published, and publishes to that room. Each error is
 * shown as a sentence beside the control that caused it.
 *
 * @module
 */
import { setUpComposer } from "./composer.js";
import { createConnection } from "./connection.js";
import { lightUp, pointTo } from "./dial.js";
import { setUpCopying, showCommands } from "./hint.js";
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
    // Set the text only if the state changes, because a screen reader speaks it each time it is set.
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
  showCommands({ curl: find("curl"), redis: find("redis") }, room);
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
  connection.switchRoom(room);
}

roomBox.addEventListener("change", changeRoom);
roomBox.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  roomBox.value = room;
  roomBox.blur();
});
find("room-form").addEventListener("submit", (event) => {
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
connection.switchRoom(room);
