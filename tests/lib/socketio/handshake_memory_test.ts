/** Clients that send large handshakes and wait for a hook that does not respond. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { connect } from "node:net";
import process from "node:process";
import { TestApp } from "../../support/app.ts";
import { Subscriber } from "../../support/client.ts";
import { collectGarbage } from "../../support/collect_garbage.ts";
import { frameOf } from "../../support/fuzz/frames.ts";
import { HookBackend, result } from "../../support/hook_backend.ts";
import { until } from "../../support/wait.ts";

const CAPS = [{ rooms: ["chat"], allow: ["sub"] }];
const CLIENTS = 150;
/** Number of these clients for which there is certainly no more room. */
const ADMITTED_MAX = 40;

Deno.test("what connecting clients have sent is limited in bytes, and clients beyond the limit connect again later", async () => {
  const { promise: isOver, resolve: end } = Promise.withResolvers<void>();
  await using backend = await HookBackend.start(async (call, response) => {
    await isOver;
    await result({ user: "ann", caps: CAPS })(call, response);
  });
  await using app = new TestApp({
    CONNECT_HOOK_URL: backend.url(),
    HOOK_TIMEOUT_MS: "10000",
  });
  using opened = new DisposableStack();
  const port = await app.serve();
  // Each of these lists takes about 50 bytes of memory, which makes 2 MB for each client.
  const lists = Array(35_000).fill("[]").join(",");
  const payload = `40{"rooms":[{"room":"chat","token":[${lists}]}]}`;
  const packet = Buffer.from(frameOf({ payload }), "latin1");
  await collectGarbage();
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < CLIENTS; i++) {
    const socket = connect(port, "127.0.0.1");
    opened.defer(() => void socket.destroy());
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      if (bytes.toString("latin1").includes('0{"sid"')) socket.write(packet);
    });
    socket.write(
      "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\n" +
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
  }
  await until(
    "all are waiting or refused",
    () => app.limited("too_many_connects") >= CLIENTS - ADMITTED_MAX,
  );
  await using late = new Subscriber(`http://127.0.0.1:${port}`, {
    auth: { rooms: ["chat"] },
    transports: ["websocket"],
  });
  await until(
    "the usual client is refused, too",
    () => late.disconnects.items.length > 0,
  );
  await collectGarbage();
  const grown = process.memoryUsage().heapUsed - before;
  assert.ok(grown < 100 << 20, `${grown} bytes`);
  end();
  await late.joined.have(1);
  assert.deepEqual(late.errors.items, []);
});
