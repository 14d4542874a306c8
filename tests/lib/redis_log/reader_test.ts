/** Tests that other parts of a node see no intermediate state of the reader. */
import assert from "node:assert/strict";
import { RedisClock } from "../../../lib/redis/clock.ts";
import type { RedisConnection } from "../../../lib/redis/connection.ts";
import { keysOf } from "../../../lib/redis/keys.ts";
import { RedisLogReader } from "../../../lib/redis_log/reader.ts";
import { Witness } from "../../../lib/redis_log/witness.ts";
import { soon } from "../../support/wait.ts";

/** Returns the reply of the check for a confirmed log whose epoch began with the id `began`. */
function checkReply(node: string, epoch: string, began: string): unknown[] {
  const beat = `${Date.now()} ${began}`;
  const server = "run:replication";
  return [
    Date.now(),
    epoch,
    began,
    began,
    1,
    epoch === "first" ? "" : "lost",
    "confirmed",
    server,
    epoch,
    epoch === "first" ? began : "",
    [node, beat],
    1,
    "",
  ];
}

/** A connection to a fake server, on which the second check finds another epoch. */
function fakeConnection(
  node: string,
): { connection: RedisConnection; found: Promise<void> } {
  const found = Promise.withResolvers<void>();
  let checks = 0;
  const reply = (command: string): unknown => {
    switch (command) {
      case "TIME":
        return [String(Math.floor(Date.now() / 1000)), "0"];
      case "EVALSHA":
        if (++checks === 1) return checkReply(node, "first", "1-1");
        found.resolve();
        return checkReply(node, "second", "2-1");
      case "XREAD":
        return null;
      default:
        return [];
    }
  };
  const client = {
    sendCommand: async ([command = ""]: string[]) => {
      // As on a real connection, a reply never arrives in the synchronous step that sends the command.
      await new Promise((resolve) => setTimeout(resolve, 1));
      return reply(command);
    },
  };
  const connection = { client, reset: () => {} } as unknown as RedisConnection;
  return { connection, found: found.promise };
}

Deno.test("RedisLogReader reports a gap in the same synchronous step in which the reader continues in a new epoch", async () => {
  const witness = new Witness();
  const { connection, found } = fakeConnection(witness.node);
  const gaps: string[] = [];
  const reader = new RedisLogReader({
    connection,
    keys: keysOf("test"),
    witness,
    clock: new RedisClock(),
    logLength: 1000,
    historySeconds: 60,
    recoverySeconds: 60,
    reader: {
      started: () => {},
      entries: () => {},
      gap: (reason, id) => void gaps.push(`${reason} ${id}`),
      lineageChanged: () => {},
      ingressGap: () => {},
    },
    stepped: () => {},
    observe: () => {},
  });
  await soon(found, "the second check");
  // Look at the state between any two microtasks, because other parts, such as clients that join, may run there.
  const seen = new Set<string>();
  for (let i = 0; i < 100; i++) {
    seen.add(`${witness.epoch}: ${gaps.join()}`);
    await Promise.resolve();
  }
  await reader.close();
  assert.deepEqual([...seen], ["first: ", "second: epoch 2-1"]);
});
