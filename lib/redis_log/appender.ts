/**
 * Group commit: many publishes, few scripts.
 *
 * @module
 */
import { AppendBatch, type AppendReply, isLate } from "./append_batch.ts";
import { ApiError } from "../errors.ts";
import type { Keys } from "../redis/keys.ts";
import type { PublishResult } from "../log/log.ts";
import type { PublishRequest } from "../log/message.ts";
import { newEpoch } from "../log/position.ts";
import type { RedisClient, RedisConnection } from "../redis/connection.ts";
import { toLogError } from "../redis/errors.ts";
import { runScript } from "../redis/script.ts";
import { APPEND } from "./append_scripts.ts";

/** How long a publish may take, queueing included (contract §1.2: bounded time). */
export const APPEND_TIMEOUT_MS = 2000;
/** How much of that is left when Redis says that replicas are missing: the publisher is told that, and not less. */
const REPLICAS_GRACE_MS = 250;
/** Scripts under way at a time: one runs while the next is on its way. What comes meanwhile joins the one after. */
const SCRIPTS_MAX = 2;
/** Most publishes that may wait, and most bytes; beyond, a publish is refused as `overloaded`. */
const WAITING_MAX = 10_000;
const WAITING_BYTES_MAX = 64 << 20;

/** Where things are in Redis, and how long they are kept. */
export interface AppenderOptions {
  readonly connection: RedisConnection;
  /** The connection's client, while what it appends may be acknowledged. */
  readonly client: () => RedisClient | undefined;
  /** Why there is none, as far as is known. */
  readonly why: () => unknown;
  /** An entry of the log is about to be acknowledged. */
  readonly acknowledged: (id: string) => void;
  /** How many replicas must have a publish before it is acknowledged. */
  readonly ackReplicas: number;
  readonly keys: Keys;
  readonly historySize: number;
  readonly historySeconds: number;
  readonly idempotencySeconds: number;
  /** Roughly how many entries the log keeps: how far a reader may be behind. */
  readonly logLength: number;
}

interface QueuedPublish {
  readonly publish: PublishRequest;
  readonly bytes: number;
  readonly expires: number;
  settle: ((outcomes: PublishResult[]) => void) | undefined;
}

/** Appends publishes to the log on Redis, in the order they came, many to a script when many come at once. */
export class Appender {
  readonly #options: AppenderOptions;
  readonly #queue: QueuedPublish[] = [];
  /** Everything not yet settled or still on its way to Redis, oldest first. */
  readonly #pending = new Set<QueuedPublish>();
  readonly #sweep: ReturnType<typeof setInterval>;
  #closed = false;
  #scripts = 0;
  #bytes = 0;
  /** Whether too few replicas had what the last script has appended. */
  #replicasMissing = false;
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

  /** What keeps publishes from being acknowledged, as a sentence; undefined if nothing is known. */
  get warning(): string | undefined {
    return this.#replicasMissing
      ? `Redis has fewer replicas in step than the ${this.#options.ackReplicas} of ACK_REPLICAS: publishes are refused; ` +
        "attach a replica"
      : undefined;
  }

  /** As {@linkcode Log.append}. A publish without rooms is a probe, and is answered with no outcome. */
  append(publishes: readonly PublishRequest[]): Promise<PublishResult[][]> {
    const expires = performance.now() + APPEND_TIMEOUT_MS;
    const answer: PublishResult[][] = [];
    let left = publishes.length;
    return new Promise((resolve) => {
      if (left === 0) resolve(answer);
      for (const [index, publish] of publishes.entries()) {
        this.#add(publish, expires, (outcomes) => {
          answer[index] = outcomes;
          if (--left === 0) resolve(answer);
        });
      }
    });
  }

  #add(
    publish: PublishRequest,
    expires: number,
    settle: QueuedPublish["settle"],
  ): void {
    const bytes = publish.json.length;
    const waiting: QueuedPublish = { publish, bytes, expires, settle };
    if (this.#closed) return settleWith(waiting, stopping());
    if (
      this.#pending.size >= WAITING_MAX ||
      this.#bytes + bytes > WAITING_BYTES_MAX
    ) return settleWith(waiting, overloaded());
    this.#bytes += bytes;
    this.#pending.add(waiting);
    this.#queue.push(waiting);
    // Those that come in the same turn of the event loop go together.
    if (this.#queue.length === 1) queueMicrotask(() => this.#pump());
  }

  /** Refuses what waits. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#sweep);
    for (const waiting of this.#pending) {
      settleWith(waiting, stopping());
    }
    this.#queue.length = 0;
  }

  #pump(): void {
    const client = this.#options.client();
    while (
      client !== undefined && this.#queue.length > 0 &&
      this.#scripts < SCRIPTS_MAX
    ) {
      const group = new AppendBatch();
      const next = this.#queue.findIndex(({ publish }) => !group.add(publish));
      const waiting = this.#queue.splice(0, next < 0 ? Infinity : next);
      this.#scripts++;
      this.#send(group, waiting).finally(() => {
        this.#scripts--;
        this.#pump();
      });
    }
  }

  /** Sends a group, and settles every publish of it, whatever comes. */
  async #send(group: AppendBatch, waiting: QueuedPublish[]): Promise<void> {
    try {
      const client = this.#options.client();
      if (client === undefined) throw new Error("not connected");
      const expires = waiting.reduce(
        (least, { expires }) => Math.min(least, expires),
        Infinity,
      );
      const [keys, args] = this.#arguments(group, expires);
      const answer = await runScript(client, APPEND, keys, args) as AppendReply;
      this.redisNow = Number(answer[0]);
      if (isLate(answer)) return this.#again(waiting);
      // A demoted master stays reachable: only a new connection finds the new one.
      if (answer.some((item) => String(item).startsWith("!READONLY"))) {
        this.#options.connection.reset();
      }
      if (this.#options.ackReplicas > 0) {
        await this.#replicated(client, answer, expires);
      }
      // Another server may not have what this one has taken.
      if (this.#options.client() !== client) throw failedOver();
      const entry = group.entryOf(answer);
      if (entry !== undefined) this.#options.acknowledged(entry);
      const outcome = group.outcomes(answer);
      for (const one of waiting) settle(one, one.publish.rooms.map(outcome));
    } catch (error) {
      const fault = toLogError(error, "publish");
      for (const one of waiting) settleWith(one, fault);
    } finally {
      for (const one of waiting) this.#forget(one);
    }
  }

  /**
   * Waits until enough replicas have what a script has appended.
   *
   * @throws {ApiError} `log_not_replicated` if they have not by then
   */
  async #replicated(
    client: RedisClient,
    answer: AppendReply,
    expires: number,
  ): Promise<void> {
    const { ackReplicas, keys } = this.#options;
    if (answer.some((outcome) => String(outcome).startsWith("="))) {
      // Redis waits for what this connection has written, and a message that is known by its key may be another's.
      await client.sendCommand(["SET", keys.touched, "", "EX", "60"]);
    }
    const left = expires - performance.now() - REPLICAS_GRACE_MS;
    const timeoutMs = Math.max(1, Math.floor(left));
    const count = await client.sendCommand(
      ["WAIT", String(ackReplicas), String(timeoutMs)],
    );
    this.#replicasMissing = Number(count) < ackReplicas;
    if (this.#replicasMissing) throw notReplicated(Number(count), ackReplicas);
  }

  /** Redis says it is too late although it is not: its clock has moved. Now we know by how much. */
  #again(group: QueuedPublish[]): void {
    const now = performance.now();
    for (const waiting of group.toReversed()) {
      if (waiting.settle === undefined) continue;
      if (waiting.expires <= now) {
        settleWith(waiting, new ApiError("log_timeout", TOO_LATE));
        continue;
      }
      const again = { ...waiting };
      waiting.settle = undefined;
      this.#bytes += again.bytes;
      this.#pending.add(again);
      this.#queue.unshift(again);
    }
  }

  #arguments(
    group: AppendBatch,
    expires: number,
  ): [keys: string[], args: string[]] {
    const { keys, logLength, historySize, historySeconds, idempotencySeconds } =
      this.#options;
    const late = this.#clockSkewMs === undefined
      ? Number.MAX_SAFE_INTEGER
      : Math.ceil(expires + this.#clockSkewMs);
    const limits = [
      late,
      logLength,
      historySize + 1,
      historySeconds,
      idempotencySeconds,
    ];
    const [names, args] = group.arguments(keys);
    return [names, [newEpoch(), ...limits.map(String), ...args]];
  }

  #expire(): void {
    this.#pump();
    const now = performance.now();
    const { client, why: reason } = this.#options;
    const why = client() === undefined ? reason() : undefined;
    // No waiting helps until somebody makes it a master.
    const hopeless = why !== undefined &&
      toLogError(why, "publish").code === "log_read_only";
    for (const waiting of this.#pending) {
      if (waiting.expires > now && !hopeless) continue;
      const late = this.#replicasMissing
        ? notReplicated(0, this.#options.ackReplicas)
        : new ApiError("log_timeout", TOO_LATE);
      const fault = toLogError(why ?? late, "publish");
      settleWith(waiting, fault);
      const index = this.#queue.indexOf(waiting);
      if (index >= 0) {
        this.#queue.splice(index, 1);
        this.#forget(waiting);
      }
    }
  }

  #forget(waiting: QueuedPublish): void {
    if (this.#pending.delete(waiting)) this.#bytes -= waiting.bytes;
  }
}

const TOO_LATE =
  `Cannot publish: Redis has not answered in ${APPEND_TIMEOUT_MS} ms; ` +
  "try again later, with the same idempotency key";

function stopping(): ApiError {
  return new ApiError(
    "draining",
    "Cannot publish: this node is stopping; publish on another",
  );
}

function failedOver(): ApiError {
  return new ApiError(
    "log_unreachable",
    "Cannot publish: the connection to Redis changed before the message was confirmed; " +
      "publish again with the same idempotency key",
  );
}

function notReplicated(count: number, wanted: number): ApiError {
  return new ApiError(
    "log_not_replicated",
    `Cannot acknowledge the publish: ${count} of ${wanted} replicas of Redis have confirmed it; ` +
      "it may be delivered all the same, so publish it again with the same idempotency key",
  );
}

function overloaded(): ApiError {
  return new ApiError(
    "overloaded",
    "Cannot publish: too many publishes wait for Redis; try again later",
  );
}

function settle(waiting: QueuedPublish, outcomes: PublishResult[]): void {
  waiting.settle?.(outcomes);
  waiting.settle = undefined;
}

/** Answers every room of a publish with the same refusal. */
function settleWith(waiting: QueuedPublish, error: ApiError): void {
  const { rooms } = waiting.publish;
  settle(waiting, rooms.map((room) => ({ room, error })));
}
