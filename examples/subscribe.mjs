// deno-lint-ignore-file no-console
import process from "node:process";
import { io } from "socket.io-client";

const socket = io(process.env.ROOMCAST_URL ?? "http://localhost:4000", {
  auth: { token: process.env.ROOMCAST_TOKEN },
});

socket.on("msgReceived", (message, { room, at }, id) => {
  console.log(new Date(at).toISOString(), room, id, message);
});
socket.on("gap", ({ room, reason }) => {
  console.log(`messages of ${room} are missing: ${reason}`);
});
socket.on("connect", () => {
  console.log(
    socket.recovered ? "reconnected, no message is missing" : "connected",
  );
});
socket.on("connect_error", (error) => {
  console.error(`cannot connect: ${error.message}`);
});
