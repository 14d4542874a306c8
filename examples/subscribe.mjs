// deno-lint-ignore-file no-console
import process from "node:process";
import { io } from "socket.io-client";

const socket = io(process.env.ROOMCAST_URL ?? "http://localhost:4000");

socket.on("msgReceived", (message, { room, at }, id) => {
  console.log(new Date(at).toISOString(), room, id, message);
});
socket.on("gap", ({ room, reason }) => {
  console.log(`some messages of ${room} cannot be given back: ${reason}`);
});
socket.on("connect", () => {
  console.log(socket.recovered ? "back, nothing was missed" : "connected");
});
socket.on("connect_error", (error) => {
  console.error(`cannot connect: ${error.message}`);
});
