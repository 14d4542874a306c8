import assert from "node:assert/strict";
import type { RedisClient } from "../../../lib/redis/connection.ts";
import type { RawEntry } from "../../../lib/redis_log/entries.ts";
import { PageSize } from "../../../lib/redis_log/page_size.ts";
import { readNew, readRecent } from "../../../lib/redis_log/reads.ts";
import { TestLogServer } from "../../support/log_server.ts";

const MIB = 1 << 20;

/** Returns `count` entries of `length` characters each. */
function entries(count: number, length: number): RawEntry[] {
  return Array.from({ length: count }, () => ["1-1", ["x".repeat(length)]]);
}

Deno.test("PageSize grows while entries are small, up to 64, and stays if nothing was read", () => {
  const size = new PageSize();
  const counts = [size.count];
  for (let i = 0; i < 4; i++) {
    size.took(entries(size.count, 100));
    counts.push(size.count);
  }
  size.took([]);
  assert.deepEqual([...counts, size.count], [8, 16, 32, 64, 64, 64]);
});

Deno.test("PageSize falls at once if entries are large, and grows slowly afterwards", () => {
  const size = new PageSize();
  size.took(entries(2, MIB));
  assert.equal(size.count, 3);
  size.took(entries(3, 6 * MIB));
  assert.equal(size.count, 1);
  size.took(entries(1, 100));
  assert.equal(size.count, 2);
});

Deno.test("large entries are read few at a time, when a node starts and when it is behind", async () => {
  await using server = await TestLogServer.start();
  const count = 24;
  for (let i = 1; i <= count; i++) {
    await server.client.sendCommand(
      [
        "XADD",
        "log",
        `${i}-1`,
        "room",
        "chat",
        "message",
        `"${"x".repeat(MIB)}"`,
      ],
    );
  }
  const replies: number[] = [];
  const measured = {
    sendCommand: async (args: string[]) => {
      const reply = await server.client.sendCommand(args);
      replies.push(JSON.stringify(reply).length);
      return reply;
    },
  } as unknown as RedisClient;
  const { recent } = await readRecent(measured, "log", {
    end: `${count}-1`,
    epoch: "none",
    seconds: 1e10,
    skip: () => assert.fail("no entry is skipped"),
  });
  // It stops after 16 MiB.
  assert.equal(recent.at(-1)?.id, `${count}-1`);
  assert.ok(recent.length >= 16 && recent.length < count);
  const size = new PageSize();
  let after = "0-0", read = 0;
  while (read < count) {
    const some = await readNew(measured, "log", { after, waitMs: 1, size });
    read += some.length;
    after = some.at(-1)?.id ?? after;
  }
  assert.equal(read, count);
  const largest = Math.max(...replies);
  assert.ok(largest < 9 * MIB, `a reply had ${largest} characters`);
});
