/** Makes requests at random that try to read, change or learn what their sender may not. */
import { Buffer } from "node:buffer";
import { connect } from "node:net";
import type { Random } from "./random.ts";

/** Whom and what the requests are after. */
export interface Target {
  readonly room: string;
  readonly user: string;
  readonly client: string;
}

/** The credentials that a sender has, each as the lines of a head. */
export interface Credentials {
  /** Those that count for nothing, or for rooms that begin with `own.`. */
  readonly own: readonly (readonly string[])[];
  /** Those of the victim that a page of another website makes a browser send. */
  readonly foreign: readonly (readonly string[])[];
}

/** A request as it is sent. */
export interface HostileRequest {
  readonly head: string;
  readonly body: string;
}

const METHODS = [
  ...["GET", "GET", "GET", "POST", "POST", "DELETE", "HEAD", "OPTIONS"],
  ...["PUT", "PATCH", "TRACE", "PROPFIND", "get", "Post", "QUERY"],
];
const HEADERS = [
  "x-http-method-override: DELETE",
  "x-http-method: POST",
  "x-method-override: GET",
  "x-original-url: /rooms/{room}/history",
  "x-rewrite-url: /rooms/{room}",
  "x-forwarded-for: 127.0.0.1",
  "x-forwarded-host: 127.0.0.1",
  "x-forwarded-proto: https",
  "forwarded: for=127.0.0.1;host=localhost",
  "accept: text/event-stream",
  "last-event-id: 0-0",
  "last-event-id: {position}",
  "last-event-id: aaaaaaaaaaaaaaaa.1-1",
  "origin: null",
  "origin: https://good.example.evil.example",
  "upgrade: h2c",
  "upgrade: websocket",
  "access-control-request-method: DELETE",
  "idempotency-key: order-1",
  "content-encoding: identity",
  "expect: 100-continue",
  "te: trailers",
];
const QUERIES = [
  "",
  "",
  "?",
  "?rooms=own.a,{room}",
  "?rooms={room}",
  "?rooms=own.a&rooms={room}",
  "?rooms=own.a&%72ooms={room}",
  "?rooms[]={room}",
  "?rooms=own.a%2C{room}",
  "?room={room}",
  "?room=own.a&room={room}",
  "?room={room}#?room=own.a",
  "?since=0-0",
  "?last=1000",
  "?since=0-0&last=1000",
  "?limit=1000&order=desc",
  "?prefix=",
  "?prefix=o&prefix=",
  "?prefix={start}",
  "?cursor={cursor}",
  "?prefix={start}&cursor={cursor}&limit=1",
  "?token=x&room={room}",
];
const PATHS = [
  "/rooms/{room}/history",
  "/rooms/{room}/events",
  "/rooms/{room}/join",
  "/rooms/{room}/leave",
  "/rooms/{room}",
  "/rooms/own.a/../{room}/history",
  "/rooms/own.a/%2e%2e/{room}/history",
  "/rooms/own.a%2F..%2F{room}/history",
  "/rooms/own.a/history/../../{room}/events",
  "/rooms/own.a/leave",
  "/rooms/own.a/join",
  "/rooms/own.a",
  "/rooms",
  "/events",
  "/publish",
  "/publish/batch",
  "/disconnect",
  "/revoke",
  "/nodes",
  "/metrics",
  "/page.json",
  "/openapi.json",
  "/asyncapi.json",
  "/docs",
  "/socket.io/?EIO=4&transport=polling",
];

/** Writes a name in one of the forms that a program could take for it, or for another one. */
function disguise(name: string, random: Random): string {
  const hex = (character: string) =>
    `%${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
  switch (random.between(0, 12)) {
    case 0:
      return [...name].map(hex).join("");
    case 1:
      return [...name].map(hex).join("").replaceAll("%", "%25");
    case 2:
      return name.toUpperCase();
    case 3:
      return `${name}%00`;
    case 4:
      return `${name}%0d%0aset-cookie:%20injected=1`;
    case 5:
      return `${name};a=b`;
    case 6:
      return `own.a%2f..%2f${name}`;
    case 7:
      return `own.a,${name}`;
    case 8:
      return `.%2f${name}`;
    case 9:
      return `%1b[31minjected${name}`;
    default:
      return name;
  }
}

/** Makes one request. */
export function makeRequest(
  random: Random,
  { room, user, client }: Target,
  { own, foreign }: Credentials,
  position: string,
): HostileRequest {
  const bodies: unknown[] = [
    { user },
    { client },
    { user, client },
    { jti: user },
    { user, issuedBefore: 1 },
    { room, message: "forged" },
    { room: "own.a", message: "forged", from: user },
    { rooms: ["own.a", room], message: "forged", key: "order-1" },
    { room, message: "forged", event: "left" },
    { messages: [{ room: "own.a", message: 1 }, { room, message: "forged" }] },
    { room: "own.a", __proto__: { room }, message: "forged" },
  ];
  const fill = (text: string): string =>
    text.replaceAll("{room}", () => disguise(room, random))
      .replaceAll("{start}", room.slice(0, 3))
      .replaceAll("{position}", position)
      .replaceAll("{cursor}", Buffer.from(room).toString("base64url"));
  let target = fill(random.oneOf(PATHS)) + fill(random.oneOf(QUERIES));
  switch (random.between(0, 9)) {
    case 0:
      target = target.replace(/(?=\?|$)/, "/");
      break;
    case 1:
      target = `/${target}`;
      break;
    case 2:
      target = `http://127.0.0.1${target}`;
      break;
    case 3:
      target = `/.${target}`;
      break;
    case 4:
      target = `/own.a/..${target}`;
      break;
  }
  const isText = random.chance(0.1);
  const body = isText ? "forged" : JSON.stringify(random.oneOf(bodies));
  const credentials = random.oneOf(random.chance(0.2) ? foreign : own);
  const lines = [
    `${random.oneOf(METHODS)} ${target} HTTP/1.1`,
    "host: 127.0.0.1",
    "connection: close",
    `content-type: ${isText ? "text/plain" : "application/json"}`,
    `content-length: ${body.length}`,
    ...credentials,
    // The origin belongs to the credentials of a page.
    ...random.someOf(HEADERS, 3).filter((header) =>
      !foreign.includes(credentials) || !header.startsWith("origin")
    ).map(fill),
  ];
  return { head: `${lines.join("\r\n")}\r\n\r\n`, body };
}

/** How long a response that does not end is read, in ms. */
const STREAM_MS = 30;
/** How long a response may take, in ms. */
const RESPONSE_MS = 5000;

/** Sends a request on a connection of its own, and resolves to the bytes of the response as text. */
export function sendRequest(
  port: number,
  { head, body }: HostileRequest,
): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    let isStream = false;
    const socket = connect(port, "127.0.0.1", () => socket.write(head + body));
    socket.on("data", (chunk) => {
      text += chunk;
      if (isStream || !/\r\ncontent-type: text\/event-stream/i.test(text)) {
        return;
      }
      isStream = true;
      setTimeout(() => socket.destroy(), STREAM_MS);
    });
    const timer = setTimeout(() => socket.destroy(), RESPONSE_MS);
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(text);
    });
  });
}
