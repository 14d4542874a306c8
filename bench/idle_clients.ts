/**
 * Many idle clients in one process of their own, so that none of what they
 * cost is counted as the server's:
 *
 *     deno run -A bench/idle_clients.ts <port> <clients>
 *
 * Each is a bare TCP connection that speaks just enough of WebSocket, Engine.IO
 * and Socket.IO to get in and to answer pings. Prints `{"seconds": …}` when all
 * are in, and ends when its stdin does.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a program that prints its findings
import { CONNECT, PONG, REQUEST } from "./wire.ts";

const [port = 0, clients = 0] = Deno.args.map(Number);
/** How many are on their way in at a time. */
const COMING_MAX = 64;
const latin1 = new TextDecoder("latin1");
/** More than the server has to say at a time. */
const READ_BYTES = 1024;

/** Connects one client; resolves when it is told that it is in. */
async function enter(): Promise<void> {
  const connection = await Deno.connect({ port });
  const read = async (): Promise<string> => {
    const length = await connection.read(buffer);
    if (length === null) throw new Error("Cannot stay: the server has closed");
    return latin1.decode(buffer.subarray(0, length));
  };
  const buffer = new Uint8Array(READ_BYTES);
  await connection.write(REQUEST);
  let text = "";
  while (!text.includes('0{"sid"')) text += await read();
  await connection.write(CONNECT);
  while (!text.includes('42["joined"')) text += await read();
  void idle(connection, read);
}

/** Answers pings, whose frame is two bytes and the text `2`, for ever. */
async function idle(
  connection: Deno.Conn,
  read: () => Promise<string>,
): Promise<void> {
  for (;;) {
    if ((await read()).endsWith("\x81\x012")) await connection.write(PONG);
  }
}

let coming = clients;
const start = performance.now();
await Promise.all(Array.from({ length: COMING_MAX }, async () => {
  while (coming-- > 0) await enter();
}));
console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000 }));
for await (const _ of Deno.stdin.readable);
Deno.exit(0);
