/** Compares the messages that were published, acknowledged and received, in the same way for every test of a fault. */
import assert from "node:assert/strict";
import { compareIds } from "../../lib/log/position.ts";
import type { Subscriber } from "./client.ts";
import type { TestNode } from "./node.ts";
import { TIMEOUT_MS, until } from "./wait.ts";

/** A publisher that continues to publish after errors and records every response. */
export class Publisher {
  /** The acknowledged id of each message. */
  readonly acknowledged = new Map<string, string>();
  /** The error code of each message that was not acknowledged; `unanswered` if there was no response. */
  readonly failed = new Map<string, string>();
  /** The messages to which no response has arrived yet. */
  readonly inFlight = new Set<string>();
  /** The longest time that a response took, in ms. */
  slowestMs = 0;
  readonly #nodes: readonly TestNode[];
  readonly #name: string;
  #stopped = false;
  #running: Promise<void>[] = [];

  /** Starts to publish `perSecond` messages per second into `room`, through the given nodes in turn. */
  constructor(
    nodes: readonly TestNode[],
    { name = "p", perSecond = 200, room = "chat" } = {},
  ) {
    this.#nodes = nodes;
    this.#name = name;
    const lanes = 8;
    for (let lane = 0; lane < lanes; lane++) {
      this.#running.push(this.#run(lane, lanes * 1000 / perSecond, room));
    }
  }

  /** Stops publishing and waits for the responses that are missing. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#running);
  }

  async #run(lane: number, intervalMs: number, room: string): Promise<void> {
    for (let i = 0; !this.#stopped; i++) {
      const start = performance.now();
      const message = `${this.#name}-${lane}-${i}`;
      const node = this.#nodes[(lane + i) % this.#nodes.length];
      if (node === undefined) return;
      this.inFlight.add(message);
      try {
        const { status, body } = await node.post("/publish", { room, message });
        if (status === 200) this.acknowledged.set(message, String(body.id));
        else this.failed.set(message, String(body.error?.code));
      } catch {
        this.failed.set(message, "unanswered");
      }
      this.inFlight.delete(message);
      const took = performance.now() - start;
      this.slowestMs = Math.max(this.slowestMs, took);
      if (took < intervalMs) {
        await new Promise((resolve) => setTimeout(resolve, intervalMs - took));
      }
    }
  }
}

/** Publishes a last message, retries until it is acknowledged, and waits until every subscriber has received it. */
export async function settle(
  node: TestNode,
  subscribers: readonly Subscriber[],
  room = "chat",
): Promise<void> {
  let end = "";
  await until("a last message is accepted", async () => {
    const { status, body } = await node.post("/publish", {
      room,
      message: "the end",
    });
    end = String(body.id);
    return status === 200;
  });
  await Promise.all(
    subscribers.map((subscriber) =>
      subscriber.messages.where(() => subscriber.ids.includes(end), TIMEOUT_MS)
    ),
  );
}

/**
 * Asserts that every subscriber received every acknowledged message exactly once, with rising ids. A message that was
 * rejected may have been received once, but only if its error allows that. No other message may have been received.
 */
export function judge(
  publishers: readonly Pick<Publisher, "acknowledged">[],
  subscribers: readonly Subscriber[],
): void {
  for (const subscriber of subscribers) {
    const { items } = subscriber.messages;
    const seen = new Map<unknown, string>();
    let last = "0-0";
    for (const { message, id } of items) {
      assert.ok(compareIds(id, last) > 0, `${id} was received after ${last}`);
      last = id;
      if (message === "the end") continue;
      assert.ok(!seen.has(message), `${message} was received twice`);
      seen.set(message, id);
    }
    for (const publisher of publishers) {
      const missing = [...publisher.acknowledged].filter(([message, id]) =>
        seen.get(message) !== id
      );
      assert.deepEqual(
        missing,
        [],
        `${missing.length} acknowledged messages are missing`,
      );
    }
  }
}

/**
 * Returns which share of a node's event loop delays was longer than `seconds`. `before` and `after` are the texts of
 * `/metrics` at the beginning and the end of the measured time.
 */
export function lagOver(
  seconds: number,
  before: string,
  after: string,
): number {
  const read = (text: string, bucket: string): number =>
    Number(
      new RegExp(
        `^roomcast_event_loop_lag_seconds_bucket\\{le="${bucket}"\\} (\\d+)`,
        "m",
      ).exec(text)?.[1],
    );
  const all = read(after, "\\+Inf") - read(before, "\\+Inf");
  assert.ok(all > 0, "no event loop lag was measured");
  return 1 -
    (read(after, String(seconds)) - read(before, String(seconds))) / all;
}
