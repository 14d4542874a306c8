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
import { deadline } from "../util/deadline.ts";
import { AppendReport } from "./append_report.ts";
import { BridgedChannels } from "./channels.ts";
import { BridgeCommands, type BridgeCommandsOptions } from "./commands.ts";
import { BridgeHealth } from "./health.ts";
import { Heartbeats } from "./heartbeats.ts";
import { Sequencer } from "./sequencer.ts";
import type { Step } from "./step.ts";

/**
 * How long a standby waits for the current writer before it appends a received message itself, in ms. Each node adds a
 * random share of {@linkcode TAKEOVER_SPREAD_MS}, so that not all nodes take over at once.
 */
const TAKEOVER_DELAY_MS = 60;
const TAKEOVER_SPREAD_MS = 60;
/** Time limit for appending the pending messages in {@linkcode RedisBridge.close}, and for leaving, in ms each. */
const LEAVE_TIMEOUT_MS = 1000;

const OTHER_CHANNELS =
  "Cannot bridge: other nodes with this KEY_PREFIX have other CHANNELS; give all nodes the same CHANNELS, or this one another KEY_PREFIX";

type Action = Exclude<Step, { kind: "wait" }>;

/** Options of {@linkcode RedisBridge}. */
export interface BridgeOptions extends
  Omit<
    BridgeCommandsOptions,
    "node" | "channelGroup" | "controlChannel"
  > {
  /** Prefix of Roomcast's own channels, which are never bridged. */
  readonly keyPrefix: string;
  readonly messageBytesMax: number;
  readonly observe: Observe;
  /** The connection that the bridge's commands use. */
  readonly commands: Pick<RedisConnection, "connected" | "runId">;
  /** Opens the connection for the bridge's subscription. */
  readonly connect: (
    options: Pick<ConnectionOptions, "prepare" | "ready" | "lost">,
  ) => RedisConnection;
}

/**
 * Appends the messages that other programs publish on Redis channels to the log, once and in order, on any number of
 * nodes (`docs/decisions/0008-bridge.md`). {@linkcode Sequencer} chooses the next command. This class runs one command
 * at a time and reports its result to the sequencer.
 *
 * Lifetime: the constructor starts to send heartbeats and subscribes once it has a listener slot; call
 * {@linkcode RedisBridge.close} to stop.
 */
export class RedisBridge implements Ingress {
  /** The name of this ingress in messages to operators. */
  readonly name = "Redis channels";
  readonly #options: BridgeOptions;
  readonly #node = crypto.randomUUID();
  readonly #channels: BridgedChannels;
  readonly #commands: BridgeCommands;
  readonly #sequencer: Sequencer;
  readonly #heartbeats: Heartbeats;
  readonly #health: BridgeHealth;
  readonly #report: AppendReport;
  /** The connection that subscribes; undefined while this node has no listener slot. */
  #connection: RedisConnection | undefined;
  /** The id of the Redis server process with which the last subscription was established (`run_id`). */
  #serverRunId = "";
  #wasSynchronized = false;
  #closed = false;
  #working: Promise<void> | undefined;
  /** Whether an event has occurred since the last call of `Sequencer.next()`. */
  #woken = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Starts heartbeats. */
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

  /** Whether this node appends the messages that it receives, or would append them if the current writer stopped. */
  get synchronized(): boolean {
    return this.#sequencer.synchronized;
  }

  /** Number of received items that this node has not yet seen in the log. */
  get pending(): number {
    return this.#sequencer.pending;
  }

  /**
   * Whether a message that is published on Redis now will be appended, by this node or by another. After this node has
   * lost its subscription, the value stays `true` for some seconds, so that a short interruption does not take the node
   * out of service. A node whose appends fail counts only the other nodes.
   */
  get working(): boolean {
    return this.#health.canAppend
      ? this.synchronized || this.#heartbeats.anySynchronized
      : this.#heartbeats.peersSynchronized;
  }

  /** Configuration problems that keep this node from bridging, as sentences. */
  warnings(): readonly string[] {
    return this.#health.hasFailed("channels") && !this.synchronized
      ? [OTHER_CHANNELS]
      : [];
  }

  /** Unsubscribes, appends the received messages, and leaves later messages to the other nodes. */
  async close(): Promise<void> {
    this.#heartbeats.stop();
    await this.#unsubscribe();
    const end = performance.now() + LEAVE_TIMEOUT_MS;
    while (this.#sequencer.pending > 0 && performance.now() < end) {
      await this.#work();
      await new Promise((resolve) => setTimeout(resolve, 1));
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
          // Anything that a client receives before it is ready or after it is lost may be incomplete.
          live: (client) => this.#connection?.client === client,
          control: (payload) => this.#receiveControl(payload),
          message: (channel, payload) => this.#receive(channel, payload),
        }),
      ready: () => {
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

  /**
   * Handles a message of the control channel: `sign <node> <number>` is a heartbeat, `marker <name>` a marker, and
   * `at <marker> <number> <channel group> <writer>` announces the log's position.
   */
  #receiveControl(payload: string): void {
    const [kind, ...words] = payload.split(" ");
    const [first = "", second = "", third = "", fourth = ""] = words;
    const number = Number(second);
    if (kind === "sign") {
      if (first === this.#node) this.#heartbeats.received(number);
      return;
    }
    if (kind === "marker") {
      this.#sequencer.markerReceived(first, performance.now());
      const own = first.startsWith(`${this.#node}.`);
      if (this.synchronized && !own) this.#heartbeats.answerMarker();
    } else if (kind === "at" && Number.isSafeInteger(number)) {
      const position = { marker: first, number, channelGroup: third };
      this.#sequencer.positionAnnounced(position, fourth);
    }
    this.#wake();
  }

  /** Lets the sequencer choose the next step after all data of this turn of the event loop has been handled. */
  #wake(): void {
    this.#woken = true;
    queueMicrotask(() => void this.#work());
  }

  #work(): Promise<void> {
    return this.#working ??= this.#runSteps().finally(() => {
      this.#working = undefined;
      // An event occurred after the sequencer had decided to wait.
      if (this.#woken && !this.#closed) void this.#work();
    });
  }

  /** Runs steps, one after the other, until the sequencer decides to wait. Never rejects. */
  async #runSteps(): Promise<void> {
    clearTimeout(this.#timer);
    while (!this.#closed) {
      // Send a heartbeat at once, because no node records a gap while another node is known to be synchronized.
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
        // All items that could not be appended before have been appended by another node or discarded.
        if (this.pending === 0) this.#health.succeeded("append");
      } catch (error) {
        this.#sequencer.failed(performance.now());
        // This Redis is a replica: it relays messages of the new master's publishers, in an order that differs from the
        // master's.
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
      // No step is left, so the parts that failed before are not needed any more.
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
    { marker, outOfSync }: Extract<Step, { kind: "publish_marker" }>,
  ): Promise<void> {
    const position = await this.#commands.publishMarker(marker, outOfSync);
    this.#sequencer.markerPublished(marker, position);
    this.#health.succeeded("publish_marker");
    const { group } = this.#channels;
    if (position.marker !== "" && position.channelGroup !== group) {
      this.#health.failed("channels", OTHER_CHANNELS);
    } else this.#health.succeeded("channels");
  }

  async #append(
    { after, items, window }: Extract<Step, { kind: "append" }>,
  ): Promise<void> {
    // The subscription was on another server than the log is on now, so its items have no position in the log.
    if (this.#options.commands.runId !== this.#serverRunId) {
      return this.#sequencer.discard();
    }
    const result = await this.#commands.append(after, items);
    const now = performance.now();
    this.#sequencer.appended(window, result, now);
    this.#report.appended(items, result, now);
    if (result.error === undefined) this.#health.succeeded("append");
    else this.#health.failed("append", result.error);
  }

  async #resume(
    { from, to }: Extract<Step, { kind: "resume" }>,
  ): Promise<void> {
    const { done, gap } = await this.#commands.resume(from, to);
    this.#sequencer.resumed(done, to, performance.now());
    if (done) this.#health.succeeded("resume");
    if (gap) this.#options.observe({ kind: "bridge_gap" });
  }
}
