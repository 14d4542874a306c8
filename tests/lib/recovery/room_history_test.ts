import assert from "node:assert/strict";
import { IngressGaps } from "../../../lib/log/gaps.ts";
import { LogHead } from "../../../lib/log/head.ts";
import type { HistoryRange, Page } from "../../../lib/log/log.ts";
import { formatPosition } from "../../../lib/log/position.ts";
import { readRoomHistory } from "../../../lib/recovery/room_history.ts";

const EPOCH = "0123456789abcdef";

/** Returns a page with the messages 3-0 to 7-0, from a log whose newest id is 9-0. */
function page(changes: Partial<Page> = {}): Page {
  return {
    messages: ["3-0", "7-0"].map((id) => ({ id, room: "chat", json: "1" })),
    more: false,
    position: formatPosition(EPOCH, "9-0"),
    complete: true,
    completeSince: "0-1",
    ...changes,
  };
}

/**
 * Reads a page on a node that has delivered up to the id `head` and knows of a gap just before 5-0. Resolves to whether
 * the page is complete.
 */
async function isComplete(
  page: Page,
  range: Partial<HistoryRange>,
  head = "9-0",
): Promise<boolean> {
  const gaps = new IngressGaps();
  gaps.add("5-0", ["chat"]);
  const state = {
    epoch: EPOCH,
    id: head,
    began: "0-1",
    confirmed: true,
    lineage: "l",
  };
  const { complete } = await readRoomHistory(
    {
      head: new LogHead(state),
      history: {
        read: () => Promise.resolve(page),
      },
      gaps,
    },
    "chat",
    { since: undefined, order: "asc", limit: 10, ...range },
  );
  return complete;
}

function since(id: string): HistoryRange["since"] {
  return { epoch: undefined, id };
}

Deno.test("readRoomHistory() reports a page as incomplete if its range has a gap of the room", async () => {
  // In ascending order, the page's range goes from `since`, or from the beginning, to the page's position.
  assert.equal(await isComplete(page(), {}), false);
  assert.equal(await isComplete(page(), { since: since("4-0") }), false);
  assert.equal(await isComplete(page(), { since: since("5-0") }), true);
  const early = page({ position: formatPosition(EPOCH, "4-0"), more: true });
  assert.equal(await isComplete(early, {}), true);
  // Newest first: the page's range goes from `since`, or the end, to its oldest message if there are more.
  const order = "desc";
  const newest = page({ messages: page().messages.toReversed(), more: true });
  assert.equal(await isComplete(newest, { order }), false);
  assert.equal(await isComplete(newest, { order, since: since("4-0") }), true);
  const [, last] = page().messages;
  const one = page({ messages: last === undefined ? [] : [last], more: true });
  assert.equal(await isComplete(one, { order }), true);
  assert.equal(await isComplete({ ...one, more: false }, { order }), false);
});

Deno.test("readRoomHistory() reports a page as incomplete if the history returns the page as incomplete", async () => {
  const range = { since: since("5-0") };
  assert.equal(await isComplete(page({ complete: false }), range), false);
});

Deno.test("readRoomHistory() reports a page as incomplete if this node does not read the log up to the page's end in time", async () => {
  assert.equal(await isComplete(page(), { since: since("5-0") }, "8-0"), false);
});
