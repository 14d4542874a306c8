/**
 * Runs the clients of `bench/idle.ts` in a process of their own, so that their CPU time and memory do not count as the
 * server's:
 *
 *     deno run -A bench/idle_clients.ts <port> <clients> [streams]
 *
 * Each client is a TCP connection with only those parts of WebSocket, Engine.IO and Socket.IO that are needed to
 * connect and to reply to pings. With `streams`, each client is a stream of Server-Sent Events instead. Prints
 * `{"seconds": …}` when all clients are connected, and exits when stdin closes.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a benchmark prints its results
import { CONNECT, PONG, REQUEST } from "./wire.ts";

const [port = 0, clients = 0] = Deno.args.map(Number);
const areStreams = Deno.args[2] === "streams";
const STREAM = new TextEncoder().encode(
  "GET /rooms/chat/events HTTP/1.1\r\nhost: bench\r\n\r\n",
);
/** Maximum number of clients that connect at the same time. */
const CONNECTING_MAX = 64;
const latin1 = new TextDecoder("latin1");
/** Size of a client's read buffer, in bytes. The server never sends as many bytes at once. */
const READ_BYTES = 1024;

/** Connects one client. Resolves when the client has joined its room. */
async function connectClient(): Promise<void> {
  const connection = await Deno.connect({ port });
  const read = async (): Promise<string> => {
    const length = await connection.read(buffer);
    if (length === null) {
      throw new Error(
        "Cannot stay connected: the server closed the connection",
      );
    }
    return latin1.decode(buffer.subarray(0, length));
  };
  const buffer = new Uint8Array(READ_BYTES);
  let text = "";
  const reads = async (end: string): Promise<void> => {
    while (!text.includes(end)) text += await read();
  };
  if (areStreams) {
    await connection.write(STREAM);
    await reads("retry: ");
  } else {
    await connection.write(REQUEST);
    await reads('0{"sid"');
    await connection.write(CONNECT);
    await reads('42["joined"');
  }
  void replyToPings(connection, read);
}

/**
 * Reads what a client receives until the process ends, and replies to the pings, which only sockets have. A ping is a
 * frame of a head of two bytes and the text `2`.
 */
async function replyToPings(
  connection: Deno.Conn,
  read: () => Promise<string>,
): Promise<void> {
  for (;;) {
    if ((await read()).endsWith("\x81\x012")) await connection.write(PONG);
  }
}

let remaining = clients;
const start = performance.now();
await Promise.all(Array.from({ length: CONNECTING_MAX }, async () => {
  while (remaining-- > 0) await connectClient();
}));
console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000 }));
for await (const _ of Deno.stdin.readable);
Deno.exit(0);
