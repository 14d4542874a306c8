/**
 * Appends many publishes with few scripts (group commit).
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

/** Maximum time until the result of a publish, including its time in the queue, in ms. */
export const APPEND_TIMEOUT_MS = 2000;
/** Part of that time, in ms, that is left when `log_not_replicated` is reported, so that it precedes the timeout. */
const REPLICAS_GRACE_MS = 250;
/**
 * Scripts in flight: one executes in Redis while the next is on the wire. Publishes that arrive meanwhile are batched
 * into the following script.
 */
const SCRIPTS_MAX = 2;
/** Maximum number of pending publishes, and of characters in their messages. Further publishes fail as `overloaded`. */
const PENDING_MAX = 10_000;
const PENDING_LENGTH_MAX = 64 << 20;

/** Options of {@linkcode Appender}. */
export interface AppenderOptions {
  readonly connection: RedisConnection;
  /** Returns the connection's client, if messages that it appends may be acknowledged. */
  readonly client: () => RedisClient | undefined;
  /** Returns why there is no such client, if the reason is known. */
  readonly why: () => unknown;
  /** Called when a message in the entry `id` of the log is about to be acknowledged. */
  readonly acknowledged: (id: string) => void;
  /** How many replicas must have a publish before it is acknowledged. */
  readonly ackReplicas: number;
  readonly clock: RedisClock;
  readonly keys: Keys;
  readonly historySize: number;
  readonly historySeconds: number;
  readonly idempotencySeconds: number;
  /** Approximate number of messages that the log keeps. A reader that is further behind misses some. */
  readonly logLength: number;
}

/** A publish or a probe that is not settled yet. */
interface QueuedPublish {
  /** The publish. A probe has no rooms. */
  readonly publish: PublishRequest;
  /** The text of a probe; undefined for a publish. */
  readonly nonce: string | undefined;
  readonly expires: number;
  settle: ((outcomes: PublishResult[]) => void) | undefined;
}

/**
 * Appends publishes to the log on Redis in the order of the calls, in batches if many come at once.
 *
 * Guarantees: every publish is settled within {@linkcode APPEND_TIMEOUT_MS}. Lifetime: starts a timer in the
 * constructor; call {@linkcode Appender.close} to stop.
 */
export class Appender {
  readonly #options: AppenderOptions;
  readonly #queue: QueuedPublish[] = [];
  /** All publishes and probes that are not settled, or that were sent and have no reply yet, oldest first. */
  readonly #pending = new Set<QueuedPublish>();
  readonly #sweep: ReturnType<typeof setInterval>;
  #closed = false;
  #scripts = 0;
  #pendingLength = 0;
  /** Whether too few replicas have confirmed the messages of the last script. */
  #replicasMissing = false;

  /** Starts the timer that settles publishes that take too long. */
  constructor(options: AppenderOptions) {
    this.#options = options;
    this.#sweep = setInterval(() => this.#expire(), 100);
  }

  /** The reason why publishes are not acknowledged at the moment, as a sentence; undefined if no reason is known. */
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
   * Appends a probe, in order with the publishes: an entry that readers recognize by `nonce` and that no client
   * receives. Resolves when it is settled, even if it failed. It has succeeded only if the reader receives it.
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
    // Publishes of the same turn of the event loop go into one script.
    if (this.#queue.length === 1) queueMicrotask(() => this.#pump());
  }

  /** Stops accepting publishes and settles all pending ones, sent or not, as `draining`. */
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

  /** Sends a batch and settles each of its publishes, even after an error. */
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
      // A demoted master stays reachable, so Roomcast has to reconnect to find the new master.
      if (reply.some((item) => String(item).startsWith("!READONLY"))) {
        connection.reset();
      }
      if (ackReplicas > 0) await this.#replicated(client, reply, expires);
      // After a reconnect to another server, that server may lack messages that this one has appended.
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
   * Waits until enough replicas have confirmed the messages of a script.
   *
   * @throws {ApiError} `log_not_replicated` If they do not confirm them in time.
   */
  async #replicated(
    client: RedisClient,
    reply: AppendReply,
    expires: number,
  ): Promise<void> {
    const { ackReplicas, keys } = this.#options;
    if (reply.some((outcome) => String(outcome).startsWith("="))) {
      // `WAIT` covers only writes of this connection, and another connection may have written a message that is known
      // by its key. This write comes after that message in the replication stream, so `WAIT` covers both.
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
   * Retries a batch that Redis rejected as late before its deadline, because its clock has moved. The reply carried
   * the new time, so the retry uses the corrected clock. Publishes that expired meanwhile fail with `log_timeout`.
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
    // A replica accepts no writes until an operator makes it a master, so a retry does not help.
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

/** Settles all rooms of a publish with the same error. */
function settleWith(queued: QueuedPublish, error: ApiError): void {
  const { rooms } = queued.publish;
  settle(queued, rooms.map((room) => ({ room, error })));
}
