/**
 * Group commit: many publishes, few scripts.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { Fault } from "./errors.ts";
import type { Appended } from "./log.ts";
import type { Publish } from "./message.ts";
import { newEpoch } from "./position.ts";
import type { Connection } from "./redis.ts";
import { toLogFault } from "./redis_faults.ts";
import { APPEND, run } from "./redis_scripts.ts";

/** How long a publish may take, queueing included (contract §1.2: bounded time). */
export const APPEND_TIMEOUT_MS = 2000;
/** Scripts under way at a time: one runs while the next is on its way. What comes meanwhile joins the one after. */
const SCRIPTS_MAX = 2;
/** Most rooms that one script appends to, and most bytes: Redis serves nobody else while it runs. */
const GROUP_MAX = 512;
const GROUP_BYTES_MAX = 1 << 20;
/** Most publishes that may wait, and most bytes; beyond, a publish is refused as `overloaded`. */
const WAITING_MAX = 10_000;
const WAITING_BYTES_MAX = 64 << 20;

/** Where things are in Redis, and how long they are kept. */
export interface AppenderOptions {
  readonly connection: Connection;
  readonly keys: Keys;
  readonly historySize: number;
  readonly historySeconds: number;
  readonly idempotencySeconds: number;
  /** Roughly how many entries the log keeps: how far a reader may be behind. */
  readonly logLength: number;
}

/** The names of our Redis keys. */
export interface Keys {
  readonly log: string;
  readonly epoch: string;
  history(room: string): string;
  idempotency(key: string): string;
  session(digest: string): string;
  /** The gaps of Redis channels. */
  readonly gaps: string;
  /** How far the bridge is, who may listen, and who is in step. */
  readonly bridge: string;
  readonly bridgeSeats: string;
  readonly bridgeInStep: string;
}

interface Waiting {
  readonly publish: Publish;
  readonly bytes: number;
  readonly expires: number;
  settle: ((outcomes: Appended[]) => void) | undefined;
}

/** Appends publishes to the log on Redis, in the order they came, many to a script when many come at once. */
export class Appender {
  readonly #options: AppenderOptions;
  readonly #queue: Waiting[] = [];
  /** Everything not yet settled or still on its way to Redis, oldest first. */
  readonly #pending = new Set<Waiting>();
  readonly #sweep: ReturnType<typeof setInterval>;
  #closed = false;
  #scripts = 0;
  #bytes = 0;
  /** Redis' clock less ours, in ms; undefined until Redis has said. */
  #clockSkewMs: number | undefined;

  /** Starts the clock that answers publishes that take too long. */
  constructor(options: AppenderOptions) {
    this.#options = options;
    this.#sweep = setInterval(() => this.#expire(), 100);
  }

  /** What time it is on Redis, in ms since 1970; NaN until Redis has said. */
  get redisNow(): number {
    return performance.now() + (this.#clockSkewMs ?? NaN);
  }

  /** Learns what time it is on Redis. */
  set redisNow(now: number) {
    this.#clockSkewMs = now - performance.now();
  }

  /** As {@linkcode Log.append}. A publish without rooms is a probe, and is answered with no outcome. */
  append(publish: Publish): Promise<Appended[]> {
    if (this.#closed) return Promise.resolve(refuse(publish, stopping()));
    const bytes = publish.json.length;
    if (
      this.#pending.size >= WAITING_MAX ||
      this.#bytes + bytes > WAITING_BYTES_MAX
    ) {
      return Promise.resolve(
        refuse(
          publish,
          new Fault(
            "overloaded",
            "Cannot publish: too many publishes wait for Redis; try again later",
          ),
        ),
      );
    }
    return new Promise((settle) => {
      const waiting: Waiting = {
        publish,
        bytes,
        expires: performance.now() + APPEND_TIMEOUT_MS,
        settle,
      };
      this.#bytes += bytes;
      this.#pending.add(waiting);
      this.#queue.push(waiting);
      // Those that come in the same turn of the event loop go together.
      if (this.#queue.length === 1) queueMicrotask(() => this.#pump());
    });
  }

  /** Refuses what waits. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#sweep);
    for (const waiting of this.#pending) {
      settle(waiting, refuse(waiting.publish, stopping()));
    }
    this.#queue.length = 0;
  }

  #pump(): void {
    const client = this.#options.connection.client;
    while (
      client !== undefined && this.#queue.length > 0 &&
      this.#scripts < SCRIPTS_MAX
    ) {
      const group: Waiting[] = [];
      let bytes = 0;
      let rooms = 0;
      for (const waiting of this.#queue) {
        rooms += Math.max(1, waiting.publish.rooms.length);
        bytes += waiting.bytes;
        if (
          group.length > 0 && (rooms > GROUP_MAX || bytes > GROUP_BYTES_MAX)
        ) break;
        group.push(waiting);
      }
      this.#queue.splice(0, group.length);
      this.#scripts++;
      this.#send(group).finally(() => {
        this.#scripts--;
        this.#pump();
      });
    }
  }

  /** Sends a group, and settles every publish of it, whatever comes. */
  async #send(group: Waiting[]): Promise<void> {
    try {
      const client = this.#options.connection.client;
      if (client === undefined) throw new Error("not connected");
      const [keys, args] = this.#arguments(group);
      const answer = await run(client, APPEND, keys, args);
      const [now, ...items] = answer as [number, ...string[]];
      this.redisNow = Number(now);
      if (items[0] === "late") return this.#again(group);
      // A demoted master stays reachable: only a new connection finds the new one.
      if (items.some((item) => item.startsWith("!READONLY"))) {
        this.#options.connection.reset();
      }
      let next = 0;
      for (const waiting of group) {
        const { rooms } = waiting.publish;
        settle(waiting, rooms.map((room) => toOutcome(room, items[next++])));
      }
    } catch (error) {
      const fault = toLogFault(error, "publish");
      for (const waiting of group) {
        settle(waiting, refuse(waiting.publish, fault));
      }
    } finally {
      for (const waiting of group) this.#forget(waiting);
    }
  }

  /** Redis says it is too late although it is not: its clock has moved. Now we know by how much. */
  #again(group: Waiting[]): void {
    const now = performance.now();
    for (const waiting of group.toReversed()) {
      if (waiting.settle === undefined) continue;
      if (waiting.expires <= now) {
        settle(
          waiting,
          refuse(waiting.publish, new Fault("log_timeout", TOO_LATE)),
        );
        continue;
      }
      const again = { ...waiting };
      waiting.settle = undefined;
      this.#bytes += again.bytes;
      this.#pending.add(again);
      this.#queue.unshift(again);
    }
  }

  #arguments(group: readonly Waiting[]): [keys: string[], args: string[]] {
    const { keys, logLength, historySize, historySeconds, idempotencySeconds } =
      this.#options;
    const expires = group.reduce(
      (least, waiting) => Math.min(least, waiting.expires),
      Infinity,
    );
    const late = this.#clockSkewMs === undefined
      ? Number.MAX_SAFE_INTEGER
      : Math.ceil(expires + this.#clockSkewMs);
    const rooms = new Map<string, number>();
    const idempotency: string[] = [];
    const publishes: string[] = [];
    for (const { publish } of group) {
      const { key } = publish;
      if (key !== undefined) idempotency.push(keys.idempotency(key));
      publishes.push(
        key === undefined ? "" : fingerprint(publish),
        publish.json,
        String(publish.rooms.length),
      );
      for (const room of publish.rooms) {
        let place = rooms.get(room);
        if (place === undefined) rooms.set(room, place = rooms.size + 1);
        publishes.push(String(place));
      }
    }
    const names = [
      keys.log,
      keys.epoch,
      ...[...rooms.keys()].map(keys.history),
      ...idempotency,
    ];
    const limits = [
      late,
      logLength,
      historySize + 1,
      historySeconds,
      idempotencySeconds,
      rooms.size,
    ];
    const args = [
      newEpoch(),
      ...limits.map(String),
      ...rooms.keys(),
      ...publishes,
    ];
    return [names, args];
  }

  #expire(): void {
    this.#pump();
    const now = performance.now();
    for (const waiting of this.#pending) {
      if (waiting.expires > now) continue;
      const why = this.#options.connection.client === undefined
        ? this.#options.connection.why
        : undefined;
      const fault = toLogFault(
        why ?? new Fault("log_timeout", TOO_LATE),
        "publish",
      );
      settle(waiting, refuse(waiting.publish, fault));
      const index = this.#queue.indexOf(waiting);
      if (index >= 0) {
        this.#queue.splice(index, 1);
        this.#forget(waiting);
      }
    }
  }

  #forget(waiting: Waiting): void {
    if (this.#pending.delete(waiting)) this.#bytes -= waiting.bytes;
  }
}

const TOO_LATE =
  `Cannot publish: Redis has not answered in ${APPEND_TIMEOUT_MS} ms; ` +
  "try again later, with the same idempotency key";

function stopping(): Fault {
  return new Fault(
    "draining",
    "Cannot publish: this node is stopping; publish on another",
  );
}

function settle(waiting: Waiting, outcomes: Appended[]): void {
  waiting.settle?.(outcomes);
  waiting.settle = undefined;
}

/** The same refusal for every room of a publish. */
export function refuse(publish: Publish, error: Fault): Appended[] {
  return publish.rooms.map((room) => ({ room, error }));
}

/** What a publish with a key is recognised by: another body with the same key is a mistake of the publisher. */
export function fingerprint({ rooms, json }: Publish): string {
  return createHash("sha256").update(JSON.stringify(rooms)).update(json).digest(
    "base64url",
  ).slice(0, 22);
}

/** The refusal of a key that came with another body before. */
export function keyReused(): Fault {
  return new Fault(
    "key_reused",
    "Cannot publish: the idempotency key was used with another message or room; use a new key",
  );
}

function toOutcome(room: string, item = "!no answer"): Appended {
  switch (item[0]) {
    case "!":
      return { room, error: toLogFault(item.slice(1), "publish") };
    case "~":
      return { room, error: keyReused() };
    case "=":
      return { room, id: item.slice(1), duplicate: true };
    default:
      return { room, id: item, duplicate: false };
  }
}
