import assert from "node:assert/strict";
import type { Page } from "../../../lib/log/log.ts";
import {
  MemoryLog,
  type MemoryLogOptions,
} from "../../../lib/log/memory_log.ts";
import { silentReader } from "../../support/silent_reader.ts";

function memoryLog(options: Partial<MemoryLogOptions> = {}): MemoryLog {
  return new MemoryLog({
    historySize: 10_000,
    historySeconds: 3600,
    idempotencySeconds: 600,
    reader: silentReader,
    ...options,
  });
}

Deno.test("a page from before a loss is not complete if MemoryLog has dropped the room at the memory limit, even after further messages", async () => {
  const log = memoryLog();
  const history = (id?: string): Promise<Page> =>
    log.history.read("a", {
      since: id === undefined ? undefined : { epoch: undefined, id },
      order: "asc",
      limit: 10,
    });
  const start = log.head.id;
  await log.append([{ rooms: ["a"], json: "1" }]);
  // The messages share their text, so they count as more than 256 MiB but take little memory.
  const json = JSON.stringify("x".repeat(1_000_000));
  await log.append(Array.from({ length: 150 }, () => ({ rooms: ["b"], json })));
  for (const messages of [0, 1]) {
    const { id } = log.head;
    if (messages > 0) await log.append([{ rooms: ["a"], json: "2" }]);
    for (const since of [undefined, start]) {
      const page = await history(since);
      assert.equal(page.messages.length, messages);
      assert.equal(page.complete, false, `since ${since}`);
    }
    assert.equal((await history(id)).complete, true);
  }
});

Deno.test("MemoryLog drops the oldest idempotency keys if their messages are in too many rooms in all", async () => {
  const log = memoryLog({ keyedIdsMax: 25 });
  const rooms = Array.from({ length: 10 }, (_, i) => `room ${i}`);
  const isDuplicate = async (key: string): Promise<boolean> => {
    const [[result] = []] = await log.append([{ rooms, json: "1", key }]);
    return result !== undefined && "duplicate" in result && result.duplicate;
  };
  for (const key of ["a", "b"]) assert.equal(await isDuplicate(key), false);
  for (const key of ["a", "b"]) assert.equal(await isDuplicate(key), true);
  assert.equal(await isDuplicate("c"), false);
  assert.equal(await isDuplicate("c"), true);
  assert.equal(await isDuplicate("b"), true);
  assert.equal(await isDuplicate("a"), false, "it was dropped");
});
