/** A short form of the client test of `deno task chaos`. */
import assert from "node:assert/strict";
import { disturbClients } from "../support/client_chaos.ts";

Deno.test("every client gets every message once and in order while clients pause and nodes are killed or drained", async () => {
  for (const bufferBytesMax of [300_000, 64 << 20]) {
    const { published, disconnects, wrong } = await disturbClients({
      seconds: 8,
      bufferBytesMax,
    });
    assert.deepEqual(wrong, []);
    assert.ok(
      published > 300 && disconnects > 8,
      `${published}, ${disconnects}`,
    );
  }
});
