/**
 * Programs that abuse a node, each in a way of its own, without regard to its limits:
 *
 *     deno run -A tests/support/abuse_attacks.ts <attack> <port> <seconds>
 *
 * They connect from 127.0.0.2, so that the node counts them apart from other clients. Prints how many times the attack
 * did what it does.
 */
// deno-lint-ignore-file no-console -- a program prints its results
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";

const UPGRADE =
  "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n" +
  "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
/** Bytes that may wait in a socket; an attacker that buffers without a limit would only harm itself. */
const WAITING_MAX = 1 << 20;

let port = 0;
let done = 0;
let going = true;

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function open(): Socket {
  const socket = connect({
    port,
    host: "127.0.0.1",
    localAddress: "127.0.0.2",
  });
  socket.on("error", () => {});
  return socket;
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once("close", () => resolve()));
}

/** Encodes a frame of a client. The mask is zero, so that a flood costs the attacker little. */
function frame(text: string, first = 0x81): Buffer {
  const payload = Buffer.from(text);
  const head = payload.length < 126
    ? Buffer.from([first, 0x80 | payload.length])
    : Buffer.from([first, 0xfe, payload.length >> 8, payload.length & 255]);
  return Buffer.concat([head, Buffer.alloc(4), payload]);
}

/** Opens a WebSocket and sends CONNECT. Calls `got` with everything that arrives. */
function openSocket(
  auth: unknown,
  got: (text: string, socket: Socket) => void = () => {},
  headers = "",
): Socket {
  const socket = open();
  socket.write(`${UPGRADE}${headers}\r\n`);
  let isOpen = false;
  socket.on("data", (bytes) => {
    const text = bytes.toString("latin1");
    if (!isOpen && text.includes('0{"sid"')) {
      isOpen = true;
      socket.write(frame(`40${JSON.stringify(auth)}`));
    }
    got(text, socket);
  });
  return socket;
}

/** Runs an endless loop `parallel` times. */
async function loops(
  parallel: number,
  work: (index: number) => Promise<void>,
): Promise<void> {
  await Promise.all(Array.from({ length: parallel }, async (_, index) => {
    while (going) {
      await work(index);
      await pause(1);
    }
  }));
}

/** Sends a text on a socket again and again, as fast as `perSecond` allows. */
async function flood(
  socket: Socket,
  perSecond: number,
  next: () => Buffer,
): Promise<void> {
  while (going && !socket.destroyed) {
    await pause(10);
    for (let i = 0; i < perSecond / 100; i++) {
      if (socket.writableLength > WAITING_MAX) break;
      socket.write(next());
      done++;
    }
  }
}

const GET = (query: string): string =>
  `GET /socket.io/?EIO=4&transport=polling${query} HTTP/1.1\r\nHost: a\r\n\r\n`;

/** Sends bytes on a new connection. Resolves to what has arrived when the connection is closed or `ms` have passed. */
async function exchange(bytes: string, ms: number): Promise<string> {
  const socket = open();
  let text = "";
  socket.on("data", (chunk) => text += chunk);
  socket.write(bytes);
  await Promise.race([closed(socket), pause(ms)]);
  socket.destroy();
  return text;
}

const ATTACKS: Readonly<Record<string, () => Promise<void>>> = {
  /** 10,000 events per second from one client, with acknowledgements. */
  events: () =>
    loops(1, async () => {
      const socket = openSocket({ rooms: ["bench"] });
      await pause(200);
      await flood(socket, 10_000, () => frame(`42${done % 1000}["leave","a"]`));
      socket.destroy();
    }),
  /** Pings, as many as the connection takes. */
  pings: () =>
    loops(3, async () => {
      const socket = openSocket({ rooms: ["bench"] });
      await pause(200);
      const pings = Buffer.concat(Array(50).fill(frame("", 0x89)));
      await flood(socket, 100_000, () => pings);
      socket.destroy();
    }),
  /** A message that never ends: empty fragments, with pongs and pings between them. */
  fragments: () =>
    loops(3, async () => {
      const socket = openSocket({ rooms: ["bench"] });
      await pause(200);
      socket.write(frame("42[", 0x01));
      const [empty, ping, pong] = [0x00, 0x89, 0x8a].map((first) =>
        frame("", first)
      );
      const rest = Buffer.concat(Array(20).fill([empty, ping, pong]).flat());
      await flood(socket, 100_000, () => rest);
      socket.destroy();
    }),
  /**
   * Twice as many connections as one address may have, which is 300. They join a room of their own: in the room of the
   * good clients, they would be 300 more clients to deliver to, which takes longer without any abuse.
   */
  connections: () =>
    loops(600, async () => {
      const socket = openSocket({ rooms: ["other"] });
      done++;
      await closed(socket);
      await pause(500);
    }),
  /** 500 requests whose headers arrive byte by byte, and 500 whose bodies do. */
  slow: () =>
    loops(1000, async (index) => {
      const socket = open();
      done++;
      socket.write("POST /publish HTTP/1.1\r\nHost: a\r\nX: ");
      if (index % 2 === 0) {
        socket.write(
          "x\r\ncontent-type: text/plain\r\ncontent-length: 9999\r\n\r\n",
        );
      }
      const timer = setInterval(() => socket.write("x"), 1000);
      await Promise.race([closed(socket), pause(60_000)]);
      clearInterval(timer);
      socket.destroy();
    }),
  /** Bodies in chunks that never end. */
  chunked: () =>
    loops(20, async () => {
      const socket = open();
      socket.write(
        "POST /publish HTTP/1.1\r\nHost: a\r\nauthorization: Bearer abuse\r\n" +
          "content-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n",
      );
      const chunk = Buffer.from(`4000\r\n${"x".repeat(16_384)}\r\n`);
      await flood(socket, 1000, () => chunk);
      socket.destroy();
    }),
  /** Several polls of one client at the same time, and requests with many packets. */
  polls: () =>
    loops(20, async (index) => {
      const text = await exchange(GET(""), 100);
      const sid = /"sid":"([^"]+)"/.exec(text)?.[1];
      if (sid === undefined) return await pause(100);
      done++;
      const body = Array(1000).fill('42["leave","a"]').join("\x1e");
      const post =
        `POST /socket.io/?EIO=4&transport=polling&sid=${sid} HTTP/1.1\r\nHost: a\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
      const poll = GET(`&sid=${sid}`);
      // Half of the clients send one request with many packets, which the other half hides by its overlapping ones.
      const requests = index % 2 === 0
        ? [poll, post]
        : [poll, poll, post, post, poll];
      await Promise.all(requests.map((bytes) => exchange(bytes, 200)));
    }),
  /** Joins of random rooms: 100,000 in 60 s. */
  joins: () =>
    loops(20, async () => {
      const socket = openSocket({ rooms: ["bench"] });
      await pause(200);
      await flood(socket, 100, () => {
        const room = randomBytes(8).toString("hex");
        return frame(`42${done % 1000}["join","${room}"]`);
      });
      socket.destroy();
    }),
  /** Offers compression, and sends compressed frames and bodies all the same. */
  compression: () =>
    loops(20, async () => {
      const socket = openSocket(
        {},
        () => {},
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
      );
      await pause(20);
      // Compressed zeros: the first byte has the reserved bit that marks a compressed frame.
      socket.write(frame("\x01".repeat(60_000), 0xc1));
      done++;
      await Promise.race([closed(socket), pause(500)]);
      socket.destroy();
      await exchange(
        "POST /publish HTTP/1.1\r\nHost: a\r\nauthorization: Bearer abuse\r\ncontent-encoding: gzip\r\n" +
          `content-type: application/json\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n${
            "\x1f".repeat(1000)
          }`,
        500,
      );
    }),
  /** Connects with wrong tokens, again and again. */
  tokens: () =>
    loops(50, async () => {
      const part = randomBytes(30).toString("base64url");
      const head = Buffer.from('{"alg":"HS256"}').toString("base64url");
      const socket = openSocket(
        { token: `${head}.${part}.${part}`, rooms: ["bench"] },
        (text, socket) => {
          if (text.includes("44{")) socket.destroy();
        },
      );
      done++;
      await Promise.race([closed(socket), pause(3000)]);
      socket.destroy();
    }),
};

/** The names of all attacks. */
export const ATTACK_NAMES = Object.keys(ATTACKS);

if (import.meta.main) {
  const [name = "", where, seconds] = Deno.args;
  port = Number(where);
  const attack = ATTACKS[name];
  if (attack === undefined) throw new Error(`There is no attack ${name}`);
  void attack();
  await pause(Number(seconds) * 1000);
  going = false;
  console.log(done);
  Deno.exit(0);
}
