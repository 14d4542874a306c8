/**
 * Appends many publishes to the log with few runs of a script (group commit).
 *
 * @module
 */
import type { ApiError } from "../errors.ts";
import type { PublishResult } from "../log/log.ts";
import type { PublishRequest } from "../log/message.ts";
import { newEpoch } from "../log/position.ts";
import type { RedisClock } from "../redis/clock.ts";
import type { RedisClient, RedisConnection } from "../redis/connection.ts";
import { toLogError } from "../redis/errors.ts";
import type { Keys } from "../redis/keys.ts";
import { runScript } from "../redis/script.ts";
import { AppendBatch, type AppendReply, isLate } from "./append_batch.ts";
import {
  failedOver,
  notReplicated,
  overloaded,
  stopping,
  timedOut,
  tooFewReplicas,
} from "./append_errors.ts";
import { APPEND } from "./append_scripts.ts";

/** Maximum time until the result of a publish is known, including its time in the queue, in ms. */
export const APPEND_TIMEOUT_MS = 2000;
/**
 * How long before the end of {@linkcode APPEND_TIMEOUT_MS} a publish fails as `log_not_replicated`, in ms. Otherwise it
 * would fail as `log_timeout`, which does not name the cause.
 */
const REPLICAS_GRACE_MS = 250;
/**
 * Maximum number of scripts in flight: one executes in Redis while the next is on the wire. Publishes that arrive
 * meanwhile are batched into the following script.
 */
const SCRIPTS_MAX = 2;
/** Maximum number of pending publishes. Further publishes fail as `overloaded`. */
const PENDING_MAX = 10_000;
/** Maximum number of characters in the messages of pending publishes. Further publishes fail as `overloaded`. */
const PENDING_LENGTH_MAX = 64 << 20;

/** Options of {@linkcode Appender}. */
export interface AppenderOptions {
  readonly connection: RedisConnection;
  /**
   * Returns the connection's Redis client; undefined while messages that are appended over the connection may not be
   * acknowledged.
   */
  readonly client: () => RedisClient | undefined;
  /** Returns the reason why `client` returns undefined; undefined if the reason is not known. */
  readonly why: () => unknown;
  /**
   * Called just before messages of the log's entry `id`, or of earlier entries, are acknowledged to their publishers.
   */
  readonly acknowledged: (id: string) => void;
  /** How many replicas of Redis must have a message before its publish is acknowledged (`ACK_REPLICAS`). */
  readonly ackReplicas: number;
  readonly clock: RedisClock;
  readonly keys: Keys;
  readonly historySize: number;
  readonly historySeconds: number;
  readonly idempotencySeconds: number;
  /** Approximate number of messages that the log keeps. A node that falls behind by more messages misses some. */
  readonly logLength: number;
}

/** A publish or a probe whose result is not known yet. */
interface QueuedPublish {
  /** The publish. A probe has no rooms. */
  readonly publish: PublishRequest;
  /** The text by which a probe is recognized; undefined for a publish. */
  readonly nonce: string | undefined;
  /** Time of `performance.now()` at which the publish fails if it has no result by then. */
  readonly expires: number;
  /** Gives the caller the results; undefined once the caller has them. */
  settle: ((outcomes: PublishResult[]) => void) | undefined;
}

/**
 * Appends publishes to the log on Redis in the order of the calls, in batches if many come at once.
 *
 * Guarantees: every publish gets its results within {@linkcode APPEND_TIMEOUT_MS}. Lifetime: starts a timer in the
 * constructor; call {@linkcode Appender.close} to stop.
 */
export class Appender {
  readonly #options: AppenderOptions;
  readonly #queue: QueuedPublish[] = [];
  /**
   * The publishes and probes that are queued, or to which Redis has not replied, oldest first. Those that have timed
   * out stay here until Redis replies.
   */
  readonly #pending = new Set<QueuedPublish>();
  readonly #sweep: ReturnType<typeof setInterval>;
  #closed = false;
  #scripts = 0;
  #pendingLength = 0;
  /** Whether too few replicas have confirmed the messages of the last run of the script. */
  #replicasMissing = false;

  /** Starts the timer that gives a publish the error `log_timeout` if it takes too long. */
  constructor(options: AppenderOptions) {
    this.#options = options;
    this.#sweep = setInterval(() => this.#expire(), 100);
  }

  /** A sentence which says that too few replicas confirm publishes; undefined if enough replicas do. */
  get warning(): string | undefined {
    return this.#replicasMissing
      ? tooFewReplicas(this.#options.ackReplicas)
      : undefined;
  }

  /** Appends publishes as described at {@linkcode Log.append}. */
  append(publishes: readonly PublishRequest[]): Promise<PublishResult[][]> {
    const expires = performance.now() + APPEND_TIMEOUT_MS;
    const results: PublishResult[][] = [];
    let left = publishes.length;
    return new Promise((resolve) => {
      if (left === 0) resolve(results);
      for (const [index, publish] of publishes.entries()) {
        this.#add({
          publish,
          nonce: undefined,
          expires,
          settle: (outcomes) => {
            results[index] = outcomes;
            if (--left === 0) resolve(results);
          },
        });
      }
    });
  }

  /**
   * Appends a probe, in order with the publishes: an entry of the log with the text `nonce`, which no client receives.
   * Resolves even if the append has failed. The append has succeeded only if this node then reads the probe from the
   * log.
   */
  probe(nonce: string): Promise<void> {
    return new Promise((resolve) =>
      this.#add({
        publish: { rooms: [], json: "" },
        nonce,
        expires: performance.now() + APPEND_TIMEOUT_MS,
        settle: () => resolve(),
      })
    );
  }

  #add(queued: QueuedPublish): void {
    if (this.#closed) return settleWith(queued, stopping());
    const length = this.#pendingLength + queued.publish.json.length;
    if (this.#pending.size >= PENDING_MAX || length > PENDING_LENGTH_MAX) {
      return settleWith(queued, overloaded(PENDING_MAX, PENDING_LENGTH_MAX));
    }
    this.#pendingLength = length;
    this.#pending.add(queued);
    this.#queue.push(queued);
    // Wait for the end of this turn of the event loop, so that all its publishes go into one script.
    if (this.#queue.length === 1) queueMicrotask(() => this.#pump());
  }

  /** Stops accepting publishes. All pending publishes, even those that were sent to Redis, fail as `draining`. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#sweep);
    for (const queued of this.#pending) settleWith(queued, stopping());
    this.#queue.length = 0;
  }

  #pump(): void {
    const client = this.#options.client();
    while (
      client !== undefined && this.#queue.length > 0 &&
      this.#scripts < SCRIPTS_MAX
    ) {
      const batch = new AppendBatch();
      const next = this.#queue.findIndex((queued) => !addTo(batch, queued));
      const sent = this.#queue.splice(0, next < 0 ? Infinity : next);
      this.#scripts++;
      this.#send(batch, sent).finally(() => {
        this.#scripts--;
        this.#pump();
      });
    }
  }

  /** Sends a batch and gives each publish of the batch its results, or an error if the batch failed. */
  async #send(batch: AppendBatch, sent: QueuedPublish[]): Promise<void> {
    const { client: clientNow, connection, clock, ackReplicas, acknowledged } =
      this.#options;
    try {
      const client = clientNow();
      if (client === undefined) throw new Error("not connected");
      const expires = sent.reduce(
        (least, { expires }) => Math.min(least, expires),
        Infinity,
      );
      const [keys, args] = this.#arguments(batch, expires);
      const reply = await runScript(client, APPEND, keys, args) as AppendReply;
      clock.set(Number(reply[0]));
      if (isLate(reply)) return this.#retry(sent);
      // A master that has become a replica stays reachable, so Roomcast has to reconnect to find the new master.
      if (reply.some((item) => String(item).startsWith("!READONLY"))) {
        connection.reset();
      }
      if (ackReplicas > 0) await this.#replicated(client, reply, expires);
      // After a reconnect, the new server may lack messages that the previous one has appended.
      if (clientNow() !== client) throw failedOver();
      const entry = batch.entryOf(reply);
      if (entry !== undefined) acknowledged(entry);
      const outcome = batch.outcomes(reply);
      for (const one of sent) settle(one, one.publish.rooms.map(outcome));
    } catch (error) {
      const failure = toLogError(error, "publish");
      for (const one of sent) settleWith(one, failure);
    } finally {
      for (const one of sent) this.#forget(one);
    }
  }

  /**
   * Waits until enough replicas have confirmed the messages that one run of the script has appended.
   *
   * @throws {ApiError} `log_not_replicated` If too few replicas confirm the messages in time.
   */
  async #replicated(
    client: RedisClient,
    reply: AppendReply,
    expires: number,
  ): Promise<void> {
    const { ackReplicas, keys } = this.#options;
    if (reply.some((outcome) => String(outcome).startsWith("="))) {
      // `WAIT` covers only writes of this connection, and another connection may have written a message that is only
      // recognized by its key. The `SET` comes after that message in the replication stream, so `WAIT` covers both.
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

  /**
   * Sends publishes again that Redis rejected as late although their deadline has not passed, because Redis' clock has
   * moved. The rejection contained the new time, so the deadline is now computed correctly. Publishes whose deadline
   * has passed meanwhile fail with `log_timeout`.
   */
  #retry(sent: QueuedPublish[]): void {
    const now = performance.now();
    for (const queued of sent.toReversed()) {
      if (queued.settle === undefined) continue;
      if (queued.expires <= now) {
        settleWith(queued, timedOut(APPEND_TIMEOUT_MS));
        continue;
      }
      const again = { ...queued };
      queued.settle = undefined;
      this.#pendingLength += again.publish.json.length;
      this.#pending.add(again);
      this.#queue.unshift(again);
    }
  }

  #arguments(
    batch: AppendBatch,
    expires: number,
  ): [keys: string[], args: string[]] {
    const { keys, logLength, historySize, historySeconds, idempotencySeconds } =
      this.#options;
    const limits = [
      Math.ceil(this.#options.clock.at(expires) ?? Number.MAX_SAFE_INTEGER),
      logLength,
      historySize + 1,
      historySeconds,
      idempotencySeconds,
    ];
    const [names, args] = batch.arguments(keys);
    return [names, [newEpoch(), ...limits.map(String), ...args]];
  }

  #expire(): void {
    this.#pump();
    const now = performance.now();
    const { client, why: whyNoClient, ackReplicas } = this.#options;
    const why = client() === undefined ? whyNoClient() : undefined;
    // Fail at once if Redis is a replica: it accepts no writes until it is promoted, so waiting does not help.
    const isReadOnly = why !== undefined &&
      toLogError(why, "publish").code === "log_read_only";
    for (const queued of this.#pending) {
      if (queued.expires > now && !isReadOnly) continue;
      const late = this.#replicasMissing
        ? notReplicated(0, ackReplicas)
        : timedOut(APPEND_TIMEOUT_MS);
      settleWith(queued, toLogError(why ?? late, "publish"));
      const index = this.#queue.indexOf(queued);
      if (index >= 0) {
        this.#queue.splice(index, 1);
        this.#forget(queued);
      }
    }
  }

  #forget(queued: QueuedPublish): void {
    if (this.#pending.delete(queued)) {
      this.#pendingLength -= queued.publish.json.length;
    }
  }
}

function addTo(batch: AppendBatch, { publish, nonce }: QueuedPublish): boolean {
  if (nonce === undefined) return batch.add(publish);
  batch.addProbe(nonce);
  return true;
}

function settle(queued: QueuedPublish, results: PublishResult[]): void {
  queued.settle?.(results);
  queued.settle = undefined;
}

/** Gives a publish the same error for all its rooms. */
function settleWith(queued: QueuedPublish, error: ApiError): void {
  const { rooms } = queued.publish;
  settle(queued, rooms.map((room) => ({ room, error })));
}
