/** A log on a Redis of its own, for tests that read histories which another program has changed. */
import assert from "node:assert/strict";
import { keysOf } from "../../lib/redis/keys.ts";
import type { Page } from "../../lib/log/log.ts";
import { RedisLog } from "../../lib/redis_log/redis_log.ts";
import { parsePosition } from "../../lib/log/position.ts";
import { Redis } from "./redis.ts";
import { soon, until } from "./wait.ts";

/** The keys of the fixture's log. */
export const KEYS = keysOf("test");
/** An id for XADD that is later than the id of any message. */
export const FUTURE = "9999999999999-*";

/** A log on a Redis of its own, to which tests can also send commands as another program. */
export class Fixture {
  readonly log: RedisLog;
  readonly #redis: Redis;

  private constructor(redis: Redis, log: RedisLog) {
    this.#redis = redis;
    this.log = log;
  }

  /** Starts Redis and the log, and waits until the log is connected to Redis. */
  static async open(
    { historySize = 100, historySeconds = 3600 }: {
      historySize?: number;
      historySeconds?: number;
    } = {},
  ): Promise<Fixture> {
    const redis = await Redis.start({ aof: false });
    const log = new RedisLog({
      idempotencySeconds: 600,
      ackReplicas: 0,
      historySize,
      historySeconds,
      url: redis.url,
      keyPrefix: "test",
      recoverySeconds: 120,
      reader: {
        started: () => {},
        entries: () => {},
        gap: () => {},
        lineageChanged: () => {},
        ingressGap: () => {},
      },
      observe: () => {},
    });
    const fixture = new Fixture(redis, log);
    await until(
      "the log can be reached",
      () => log.probe().then(() => true, () => false),
    );
    return fixture;
  }

  /** Sends a command to Redis, as another program would. */
  async send(...args: string[]): Promise<unknown> {
    const { client } = this.log.commands;
    assert.ok(client !== undefined);
    return await soon(client.sendCommand(args), `Redis replies to ${args[0]}`);
  }

  /**
   * Publishes the numbers from `first` to `last` into a room, each with a script of its own. Resolves to the ids of the
   * messages.
   */
  async publish(room: string, first: number, last: number): Promise<string[]> {
    const ids: string[] = [];
    for (let value = first; value <= last; value++) {
      ids.push(...await this.batch([room], [value]));
    }
    return ids;
  }

  /** Publishes each value into each room, all with one script. Resolves to the ids of the messages. */
  async batch(rooms: string[], values: number[]): Promise<string[]> {
    const publishes = values.map((value) => ({ rooms, json: `${value}` }));
    const outcomes = await soon(
      this.log.append(publishes),
      "the values are published",
    );
    return outcomes.flat().map((outcome) => {
      if ("error" in outcome) throw outcome.error;
      return outcome.id;
    });
  }

  /** Resolves to a position after all published messages, in a later millisecond than the last of them. */
  async later(): Promise<string> {
    const before = Date.now();
    await until("a millisecond passes", () => Date.now() > before + 1);
    const [id = ""] = await this.batch(["elsewhere"], [0]);
    return id;
  }

  /** Reads a page of a room's history. */
  history(
    room: string,
    since?: string,
    order: "asc" | "desc" = "asc",
    limit = 1000,
  ): Promise<Page> {
    const from = since === undefined ? undefined : parsePosition(since);
    return soon(
      this.log.history.read(room, { since: from, order, limit }),
      "the history is read",
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.log.close();
    await this.#redis[Symbol.asyncDispose]();
  }
}

/** Returns the messages of a page whose messages are numbers. */
export function numbers({ messages }: Page): number[] {
  return messages.map(({ json }) => Number(json));
}

/** Returns the integers from `first` to `last`. */
export function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/**
 * Asserts that a history into which the numbers 1 to `ids.length` were published is truthful. A page that is reported
 * as complete has to have every message of its range, from whichever id it is read.
 */
export async function assertHonest(
  fixture: Fixture,
  room: string,
  ids: readonly string[],
): Promise<void> {
  for (const [index, since] of [undefined, ...ids].entries()) {
    const up = await fixture.history(room, since);
    if (up.complete) {
      assert.deepEqual(numbers(up), range(index + 1, ids.length), `${since}`);
    }
    const down = await fixture.history(room, since, "desc");
    if (down.complete) {
      const last = since === undefined ? ids.length : index - 1;
      assert.deepEqual(numbers(down), range(1, last).reverse(), `${since}`);
    }
  }
}
