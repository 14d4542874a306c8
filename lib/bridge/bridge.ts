/**
 * The Redis bridge: a plain `PUBLISH chat hello` becomes a message of the room `chat`.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import type { Observe } from "../observer.ts";
import type { Ingress } from "../publish/ingress.ts";
import type {
  ConnectionOptions,
  RedisConnection,
} from "../redis/connection.ts";
import { deadline, pause } from "../util/deadline.ts";
import { AppendReport } from "./append_report.ts";
import { BridgedChannels } from "./channels.ts";
import { BridgeCommands, type BridgeCommandsOptions } from "./commands.ts";
import { parseControl } from "./control_message.ts";
import { BridgeHealth } from "./health.ts";
import { Heartbeats } from "./heartbeats.ts";
import { Sequencer } from "./sequencer.ts";
import type { Step } from "./step.ts";

/** How long a node waits, in ms, before it appends a message that another node should have appended. */
const TAKEOVER_DELAY_MS = 60;
/** Maximum random addition to {@linkcode TAKEOVER_DELAY_MS}, in ms, so that not all nodes take over at once. */
const TAKEOVER_SPREAD_MS = 60;
/** Time limit of the last appends in {@linkcode RedisBridge.close}, and of giving up the listener slot, in ms each. */
const LEAVE_TIMEOUT_MS = 1000;

const OTHER_CHANNELS =
  "Cannot bridge Redis channels: other nodes with the same KEY_PREFIX have other CHANNELS; give all of them the same CHANNELS, or this node another KEY_PREFIX";

type Action = Exclude<Step, { kind: "wait" }>;
type StepOf<K extends Step["kind"]> = Extract<Step, { kind: K }>;

/** Options of {@linkcode RedisBridge}. */
export interface BridgeOptions extends
  Omit<
    BridgeCommandsOptions,
    "node" | "channelGroup" | "controlChannel"
  > {
  /** Prefix of the channels that Roomcast itself uses (`KEY_PREFIX`). They are never bridged. */
  readonly keyPrefix: string;
  readonly messageBytesMax: number;
  readonly observe: Observe;
  /** The connection over which `command` runs the bridge's commands. */
  readonly commands: Pick<RedisConnection, "connected" | "runId">;
  /** Opens the connection with which the bridge subscribes to the Redis channels. */
  readonly connect: (
    options: Pick<ConnectionOptions, "prepare" | "ready" | "lost">,
  ) => RedisConnection;
}

/**
 * Appends the messages that other programs publish on Redis channels to the log, once and in order, on any number of
 * nodes (`docs/decisions/0008-bridge.md`). {@linkcode Sequencer} chooses the next command. This class runs one command
 * at a time and reports the command's result to the sequencer.
 *
 * Lifetime: the constructor starts to send heartbeats. The node subscribes to the Redis channels once the reply to a
 * heartbeat has given it a listener slot, the right to subscribe to them. Call {@linkcode RedisBridge.close} to stop.
 */
export class RedisBridge implements Ingress {
  /** The name of this source of messages in errors and log lines for operators. */
  readonly name = "Redis channels";
  readonly #options: BridgeOptions;
  readonly #node = crypto.randomUUID();
  readonly #channels: BridgedChannels;
  readonly #commands: BridgeCommands;
  readonly #sequencer: Sequencer;
  readonly #heartbeats: Heartbeats;
  readonly #health: BridgeHealth;
  readonly #report: AppendReport;
  /** The connection that subscribes to the Redis channels; undefined while Redis does not let this node subscribe. */
  #connection: RedisConnection | undefined;
  /** The `run_id` of the Redis server on which this node last subscribed. */
  #serverRunId = "";
  /** The server on which the first marker of the current subscription was published, as `PublishedMarker.server`. */
  #server = "";
  #wasSynchronized = false;
  #closed = false;
  #stepsRunning: Promise<void> | undefined;
  /** Whether a message was received or the subscription changed since the last call of `Sequencer.next()`. */
  #woken = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Starts to send heartbeats. */
  constructor(options: BridgeOptions) {
    this.#options = options;
    this.#channels = new BridgedChannels({
      channels: options.channels,
      keyPrefix: options.keyPrefix,
      messageBytesMax: options.messageBytesMax,
    });
    this.#health = new BridgeHealth(options.observe);
    this.#report = new AppendReport(options.observe);
    const { group: channelGroup, controlChannel } = this.#channels;
    const node = this.#node;
    this.#commands = new BridgeCommands({
      channels: options.channels,
      historySize: options.historySize,
      historySeconds: options.historySeconds,
      logLength: options.logLength,
      keys: options.keys,
      command: options.command,
      node,
      channelGroup,
      controlChannel,
    });
    this.#sequencer = new Sequencer({
      node,
      channelGroup,
      takeoverDelayMs: TAKEOVER_DELAY_MS + Math.random() * TAKEOVER_SPREAD_MS,
    });
    this.#heartbeats = this.#startHeartbeats();
    void options.commands.connected.then(() => this.#heartbeats.send());
  }

  /** Whether this node can append the messages that it receives, at once or if the node that appends them stops. */
  get synchronized(): boolean {
    return this.#sequencer.synchronized;
  }

  /** Number of messages and markers that were received from Redis and are not yet known to be in the log. */
  get pending(): number {
    return this.#sequencer.pending;
  }

  /**
   * Whether some node can append a message that is published on a Redis channel now. If this node fails to append, only
   * the other nodes count. The value stays `true` for 3.5 s (`PEER_STATUS_TTL_MS`) after the last heartbeat that found
   * a node that can append, so that a short interruption does not take this node out of service.
   */
  get working(): boolean {
    return this.#health.canAppend
      ? this.synchronized || this.#heartbeats.anySynchronized
      : this.#heartbeats.peersSynchronized;
  }

  /** Returns a sentence for each configuration problem that keeps this node from bridging. */
  warnings(): readonly string[] {
    return this.#health.hasFailed("channels") && !this.synchronized
      ? [OTHER_CHANNELS]
      : [];
  }

  /** Unsubscribes, appends the messages received so far, and gives up this node's listener slot. */
  async close(): Promise<void> {
    this.#heartbeats.stop();
    await this.#unsubscribe();
    const end = performance.now() + LEAVE_TIMEOUT_MS;
    while (this.#sequencer.pending > 0 && performance.now() < end) {
      await this.#work();
      await pause(1);
    }
    this.#closed = true;
    this.#report.flushRefused();
    clearTimeout(this.#timer);
    // If this fails, the listener slot expires.
    await deadline(this.#commands.leave(), LEAVE_TIMEOUT_MS, "leaving").catch(
      () => {},
    );
  }

  #startHeartbeats(): Heartbeats {
    return new Heartbeats({
      commands: this.#commands,
      synchronized: () => this.synchronized,
      subscribed: () => this.#connection?.client !== undefined,
      succeeded: (listener) => {
        this.#health.succeeded("heartbeat");
        this.#report.flushRefused();
        if (!listener) return this.#unsubscribe();
        this.#subscribe();
      },
      failed: (error) => {
        this.#health.failed("heartbeat", error);
        this.#report.flushRefused();
      },
      subscriptionStale: () => {
        this.#options.observe({ kind: "bridge_subscription_stale" });
        this.#connection?.reset();
      },
    });
  }

  #subscribe(): void {
    if (this.#connection !== undefined) return;
    const connection = this.#connection = this.#options.connect({
      prepare: (client) =>
        this.#channels.subscribe(client, {
          // What a Redis client receives before it has all subscriptions, or after its loss, may be incomplete.
          isCurrent: (client) => this.#connection?.client === client,
          control: (payload) => this.#receiveControl(payload),
          message: (channel, payload) => this.#receive(channel, payload),
        }).catch((error) => this.#health.subscribeFailed(error)),
      ready: () => {
        this.#health.succeeded("subscribe");
        this.#heartbeats.subscribed();
        if (connection.runId !== this.#serverRunId) this.#sequencer.discard();
        this.#serverRunId = connection.runId;
        this.#sequencer.subscribed();
        this.#wake();
      },
      lost: () => {
        if (this.#connection !== connection) return;
        this.#sequencer.subscriptionLost();
        this.#wake();
      },
    });
  }

  async #unsubscribe(): Promise<void> {
    const connection = this.#connection;
    if (connection === undefined) return;
    this.#connection = undefined;
    this.#sequencer.subscriptionLost();
    await connection.close();
  }

  #receive(channel: Uint8Array, payload: Uint8Array): void {
    if (!this.#sequencer.received(this.#channels.toItem(channel, payload))) {
      this.#options.observe({ kind: "bridge_overflow" });
    }
    this.#wake();
  }

  #receiveControl(payload: string): void {
    const message = parseControl(payload);
    switch (message?.kind) {
      case "heartbeat":
        if (message.node !== this.#node) return;
        return this.#heartbeats.received(message.number);
      case "marker":
        this.#sequencer.markerReceived(message.marker, performance.now());
        if (this.synchronized && !message.marker.startsWith(`${this.#node}.`)) {
          this.#heartbeats.answerMarker();
        }
        break;
      case "position":
        this.#sequencer.positionAnnounced(message.position, message.writer);
    }
    this.#wake();
  }

  /** Asks the sequencer for the next step, once all data that has arrived from Redis is handled. */
  #wake(): void {
    this.#woken = true;
    queueMicrotask(() => void this.#work());
  }

  #work(): Promise<void> {
    return this.#stepsRunning ??= this.#runSteps().finally(() => {
      this.#stepsRunning = undefined;
      // A message was received, or the subscription changed, after the sequencer had decided to wait.
      if (this.#woken && !this.#closed) void this.#work();
    });
  }

  /**
   * Runs the steps that the sequencer chooses, one after the other, until the sequencer chooses to wait. Never rejects.
   */
  async #runSteps(): Promise<void> {
    clearTimeout(this.#timer);
    while (!this.#closed) {
      // Announce by a heartbeat that this node is now synchronized, so that no other node records a gap.
      if (this.synchronized && !this.#wasSynchronized) {
        this.#health.succeeded("channels");
        void this.#heartbeats.send();
      }
      this.#wasSynchronized = this.synchronized;
      this.#woken = false;
      const step = this.#sequencer.next(performance.now());
      if (step.kind === "wait") return this.#waitFor(step.ms);
      try {
        await this.#run(step);
        // If this node's append failed before, another node has appended the items meanwhile, or they were discarded.
        if (this.pending === 0) this.#health.succeeded("append");
      } catch (error) {
        this.#sequencer.failed(performance.now());
        // This Redis has become a replica. It relays the messages of the new master, perhaps in another order.
        if (error instanceof ApiError && error.code === "log_read_only") {
          this.#sequencer.discard();
        }
        this.#health.failed(step.kind, error);
      }
    }
  }

  #waitFor(ms: number): void {
    if (ms < Infinity) {
      this.#timer = setTimeout(() => void this.#work(), ms);
    } else {
      // No step is left to run, so the earlier failure of a step no longer matters.
      this.#health.succeeded("publish_marker", "append", "resume");
    }
  }

  async #run(step: Action): Promise<void> {
    switch (step.kind) {
      case "publish_marker":
        return await this.#publishMarker(step);
      case "append":
        return await this.#append(step);
      case "resume":
        return await this.#resume(step);
    }
  }

  async #publishMarker(
    { marker, outOfSync }: StepOf<"publish_marker">,
  ): Promise<void> {
    const { position, server } = await this.#commands.publishMarker(
      marker,
      outOfSync,
    );
    if (server !== this.#server) {
      // The items that were received earlier may not be all that this log counts.
      this.#server = outOfSync ? server : "";
      return this.#sequencer.discard();
    }
    this.#sequencer.markerPublished(marker, position);
    this.#health.succeeded("publish_marker");
    const { group } = this.#channels;
    if (position.marker !== "" && position.channelGroup !== group) {
      this.#health.failed("channels", OTHER_CHANNELS);
    } else this.#health.succeeded("channels");
  }

  async #append({ after, items, window }: StepOf<"append">): Promise<void> {
    // The items came from another server than the one that holds the log now, so they have no bridge position there.
    if (this.#options.commands.runId !== this.#serverRunId) {
      return this.#sequencer.discard();
    }
    const result = await this.#commands.append(after, items, this.#server);
    const now = performance.now();
    this.#sequencer.appended(window, result, now);
    this.#report.appended(items, result, now);
    if (result.error === undefined) this.#health.succeeded("append");
    else this.#health.failed("append", result.error);
  }

  async #resume({ from, to }: StepOf<"resume">): Promise<void> {
    const { done, gap } = await this.#commands.resume(from, to, this.#server);
    this.#sequencer.resumed(done, to, performance.now());
    if (done) this.#health.succeeded("resume");
    if (gap) this.#options.observe({ kind: "bridge_gap" });
  }
}
