/**
 * The bridge: a plain `PUBLISH chat hello` becomes a message of the room `chat`.
 *
 * @module
 */
import { createHash } from "node:crypto";
import {
  type BridgeAppendResult,
  BridgeCommands,
  type BridgeCommandsOptions,
} from "./commands.ts";
import { deadline } from "../util/deadline.ts";
import { ApiError } from "../errors.ts";
import { compileGlob, isPattern } from "../util/glob.ts";
import { Sequencer, type Step } from "./sequencer.ts";
import { encodeMessage, parseRoom } from "../log/message.ts";
import type { Observe } from "../observer.ts";
import type {
  ConnectionOptions,
  RedisClient,
  RedisConnection,
} from "../redis/connection.ts";
import type { ReceivedItem } from "./received_window.ts";

/** How long a node holds what it heard while another is at it; a take-over costs this and a little more. */
const TAKEOVER_DELAY_MS = 60;
/** Each node adds its own share of this, so that not all take over at once. */
const PATIENCE_SPREAD_MS = 60;
/** How often a node gives a sign of life, and how many may stay out before the subscription counts as dead. */
const HEARTBEAT_INTERVAL_MS = 1000;
const MISSED_HEARTBEATS_MAX = 2;
/** How long what others said of being in step is believed. */
const PEER_STATUS_TTL_MS = 3500;
/** What the names of control channels end with: nobody's are bridged, or two that bridge all would feed each other. */
const CONTROL = ":roomcast:bridge";
/** Redis' own news of its keys, of which every append makes some more. */
const NOTIFICATIONS = /^__key(space|event)@/;
/** How soon a sign may follow another, when somebody asks who is in step. */
const SIGN_AGAIN_MS = 50;
/** How long leaving may take. */
const LEAVE_TIMEOUT_MS = 1000;

const OTHER_CHANNELS =
  "Cannot bridge: other nodes with this KEY_PREFIX have other CHANNELS; give all the same, or another prefix";

/** What a {@linkcode RedisBridge} is made of. */
export interface BridgeOptions
  extends Omit<BridgeCommandsOptions, "node" | "group" | "control"> {
  /** Prefix of our own channels, which are never bridged. */
  readonly keyPrefix: string;
  readonly messageBytesMax: number;
  readonly observe: Observe;
  /** The connection that commands run on. */
  readonly commands: Pick<RedisConnection, "connected" | "runId">;
  /** Makes the connection that subscribes. */
  readonly connect: (
    options: Pick<ConnectionOptions, "prepare" | "ready" | "lost">,
  ) => RedisConnection;
}

/**
 * Takes what others publish on Redis channels and brings it into the log once, in order, on however many nodes
 * (`docs/decisions/0008-bridge.md`). {@linkcode Sequencer} decides what to do next; this does it, one command at a time,
 * and tells it what came of it.
 */
export class RedisBridge {
  readonly #options: BridgeOptions;
  readonly #node = crypto.randomUUID();
  readonly #control: string;
  readonly #group: string;
  readonly #commands: BridgeCommands;
  readonly #ingress: Sequencer;
  readonly #names: ReadonlySet<string>;
  readonly #patterns: readonly (readonly [
    pattern: string,
    matches: (channel: Uint8Array) => boolean,
  ])[];
  readonly #utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  readonly #signing: ReturnType<typeof setInterval>;
  #connection: RedisConnection | undefined;
  #closing = false;
  #closed = false;
  #working: Promise<void> | undefined;
  #woken = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Our last sign of life that Redis took, and the last that came back. */
  #signed = 0;
  #heardSign = 0;
  #signedAt = -Infinity;
  /** The run of the server that the last subscription was with. */
  #runId = "";
  #inStepUntil = -Infinity;
  #wasInStep = false;
  /** What was refused and not told yet, by reason. */
  readonly #refused = new Map<string, number>();
  /** Whether it was said that it cannot go on. */
  #stuck = false;
  /** Whether those who are in step take other channels. */
  #foreign = false;

  /** Asks for a seat among those who listen, and listens while it has one, until {@linkcode RedisBridge.close}. */
  constructor(options: BridgeOptions) {
    this.#options = options;
    const { channels, keyPrefix } = options;
    this.#names = new Set(channels.filter((channel) => !isPattern(channel)));
    this.#patterns = channels.filter(isPattern).map((
      pattern,
    ) => [pattern, compileGlob(pattern)]);
    this.#control = `${keyPrefix}${CONTROL}`;
    // Those who take other channels count other messages: a place of theirs means something else.
    const group = this.#group = createHash("sha256").update(
      JSON.stringify([1, [...channels].sort()]),
    ).digest("hex").slice(0, 16);
    this.#commands = new BridgeCommands({
      ...options,
      node: this.#node,
      group,
      control: this.#control,
    });
    this.#ingress = new Sequencer({
      node: this.#node,
      group,
      patienceMs: TAKEOVER_DELAY_MS + Math.random() * PATIENCE_SPREAD_MS,
    });
    this.#signing = setInterval(() => void this.#sign(), HEARTBEAT_INTERVAL_MS);
    void options.commands.connected.then(() => this.#sign());
  }

  /** Whether this node brings what it hears into the log, or would where another does not. */
  get inStep(): boolean {
    return this.#ingress.inStep;
  }

  /** How much this node has heard that it has not seen in the log. */
  get pending(): number {
    return this.#ingress.pending;
  }

  /** Whether what is published on Redis now is taken, by this node or, as far as was heard lately, by another. */
  get working(): boolean {
    return (this.inStep && !this.#stuck) ||
      performance.now() < this.#inStepUntil;
  }

  /** What keeps it from its channels although nothing is broken, as sentences. */
  warnings(): readonly string[] {
    return this.#foreign && !this.inStep ? [OTHER_CHANNELS] : [];
  }

  /** Stops listening, brings what was heard into the log, and leaves the rest to the others. */
  async close(): Promise<void> {
    this.#closing = true;
    clearInterval(this.#signing);
    await this.#unlisten();
    const left = performance.now() + LEAVE_TIMEOUT_MS;
    while (this.#ingress.pending > 0 && performance.now() < left) {
      await this.#work();
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    this.#closed = true;
    this.#tellRefused();
    clearTimeout(this.#timer);
    // Where that fails, its seat and its place run out by themselves.
    await deadline(this.#commands.leave(), LEAVE_TIMEOUT_MS, "leaving").catch(
      () => {},
    );
  }

  /** Gives a sign of life, sees whether the last ones came back, and listens where it has a seat. */
  async #sign(): Promise<void> {
    this.#tellRefused();
    const listening = this.#connection?.client !== undefined;
    if (listening && this.#signed - this.#heardSign >= MISSED_HEARTBEATS_MAX) {
      this.#options.observe({ kind: "bridge_subscription_stale" });
      this.#connection?.reset();
    }
    const sign = this.#signed + 1;
    try {
      this.#signedAt = performance.now();
      const { seated, inStep } = await this.#commands.sign(
        sign,
        this.inStep,
      );
      if (this.#closing) return;
      this.#signed = sign;
      // One that nobody was there to hear is not missed.
      if (!listening) this.#heardSign = sign;
      if (inStep > 0) {
        this.#inStepUntil = performance.now() + PEER_STATUS_TTL_MS;
      }
      if (seated) this.#listen();
      else await this.#unlisten();
    } catch (error) {
      this.#complain(error);
    }
  }

  #listen(): void {
    if (this.#connection !== undefined) return;
    const connection = this.#connection = this.#options.connect({
      prepare: (client) => this.#subscribe(client),
      ready: () => {
        this.#heardSign = this.#signed;
        if (connection.runId !== this.#runId) this.#ingress.discard();
        this.#runId = connection.runId;
        this.#ingress.listening();
        this.#wake();
      },
      lost: () => {
        if (this.#connection !== connection) return;
        this.#ingress.lost();
        this.#wake();
      },
    });
  }

  async #unlisten(): Promise<void> {
    const connection = this.#connection;
    if (connection === undefined) return;
    this.#connection = undefined;
    this.#ingress.lost();
    await connection.close();
  }

  async #subscribe(client: RedisClient): Promise<void> {
    // What comes before a connection is ready, or after it was lost, is not part of what it hears without a hole.
    const live = (): boolean => this.#connection?.client === client;
    await client.subscribe(this.#control, (payload) => {
      if (live()) this.#hearControl(String(payload));
    }, true);
    for (const name of this.#names) {
      await client.subscribe(name, (payload, channel) => {
        if (live()) this.#hear(channel, payload);
      }, true);
    }
    for (const [pattern] of this.#patterns) {
      await client.pSubscribe(pattern, (payload, channel) => {
        if (live() && this.#owner(channel) === pattern) {
          this.#hear(channel, payload);
        }
      }, true);
    }
  }

  /** Redis sends a message once for each subscription it matches; only the first of ours counts. */
  #owner(channel: Uint8Array): string | undefined {
    const name = String(channel);
    if (this.#names.has(name)) return name;
    return this.#patterns.find(([, matches]) => matches(channel))?.[0];
  }

  #hear(channel: Uint8Array, payload: Uint8Array): void {
    const { keyPrefix, observe } = this.#options;
    const name = String(channel);
    // Our own channels, and those of the Socket.IO adapter.
    if (name.startsWith(`${keyPrefix}:`) || name.startsWith(`${keyPrefix}#`)) {
      return;
    }
    if (name.endsWith(CONTROL) || NOTIFICATIONS.test(name)) return;
    if (!this.#ingress.heard(this.#toItem(channel, payload))) {
      observe({ kind: "bridge_overflow" });
    }
    this.#wake();
  }

  /** What cannot be taken has a place all the same: others may take it, and all have to count alike. */
  #toItem(channel: Uint8Array, payload: Uint8Array): ReceivedItem {
    const heardAt = performance.now();
    const refused = (reason: string): ReceivedItem => ({
      kind: "refused",
      heardAt,
      reason,
    });
    if (payload.length === 0) return refused("empty");
    try {
      const room = parseRoom(this.#utf8.decode(channel));
      const message = this.#utf8.decode(payload);
      const json = encodeMessage(message, this.#options.messageBytesMax);
      return { kind: "message", heardAt, room, json };
    } catch (error) {
      return refused(error instanceof ApiError ? error.code : "not_utf8");
    }
  }

  #hearControl(payload: string): void {
    const [kind, ...words] = payload.split(" ");
    const [first = "", second = "", third = "", fourth = ""] = words;
    const number = Number(second);
    if (kind === "sign") {
      if (first === this.#node && number <= this.#signed + 1) {
        this.#heardSign = number;
      }
      return;
    }
    const now = performance.now();
    if (kind === "marker") {
      this.#ingress.marker(first, now);
      // Who asks goes on without us unless it is known that we are in step.
      const ours = first.startsWith(`${this.#node}.`);
      if (this.inStep && !ours && now - this.#signedAt > SIGN_AGAIN_MS) {
        void this.#sign();
      }
    } else if (kind === "at" && Number.isSafeInteger(number)) {
      this.#ingress.announced({ marker: first, number, group: third }, fourth);
    }
    this.#wake();
  }

  /** Has it decided anew what is to be done, once what has just arrived has been heard to its end. */
  #wake(): void {
    this.#woken = true;
    queueMicrotask(() => void this.#work());
  }

  #work(): Promise<void> {
    return this.#working ??= this.#workOff().finally(() => {
      this.#working = undefined;
      // Woken after it had decided to wait, and before it was over.
      if (this.#woken && !this.#closed) void this.#work();
    });
  }

  /** Does what is to be done, one command after the other, until it is to wait. */
  async #workOff(): Promise<void> {
    clearTimeout(this.#timer);
    while (!this.#closed) {
      // Nobody goes on over a hole while somebody is known to be in step; the sooner that is known, the better.
      if (this.inStep && !this.#wasInStep) void this.#sign();
      this.#wasInStep = this.inStep;
      this.#woken = false;
      const step = this.#ingress.next(performance.now());
      if (step.kind === "wait") {
        if (step.ms < Infinity) {
          this.#timer = setTimeout(() => void this.#work(), step.ms);
        }
        return;
      }
      try {
        await this.#do(step);
      } catch (error) {
        this.#ingress.failed(performance.now());
        // A replica also passes on what its new master's publishers say, which is counted there in another order.
        if (error instanceof ApiError && error.code === "log_read_only") {
          this.#ingress.discard();
        }
        this.#complain(error);
      }
    }
  }

  async #do(step: Exclude<Step, { kind: "wait" }>): Promise<void> {
    if (step.kind === "ask") {
      const { marker, anew } = step;
      const place = await this.#commands.ask(marker, anew);
      this.#ingress.asked(marker, place);
      this.#foreign = place.marker !== "" && place.group !== this.#group;
      if (this.#foreign) this.#complain(OTHER_CHANNELS);
    } else if (
      step.kind === "append" && this.#options.commands.runId !== this.#runId
    ) {
      this.#ingress.discard();
    } else if (step.kind === "append") {
      const { after, items, slice } = step;
      const appending = await this.#commands.append(after, items);
      const now = performance.now();
      this.#ingress.appended(slice, appending, now);
      this.#tell(items, appending, now);
    } else {
      const { done, gap } = await this.#commands.resume(step.from, step.to);
      this.#ingress.resumed(done, step.to, performance.now());
      if (gap) this.#options.observe({ kind: "bridge_gap" });
    }
  }

  /** Says what became of items that this node has brought into the log, each node its own. */
  #tell(
    items: readonly ReceivedItem[],
    { known, taken, refused, tookOver, error }: BridgeAppendResult,
    now: number,
  ): void {
    const { observe } = this.#options;
    const lagsMs: number[] = [];
    for (let i = known; i < known + taken; i++) {
      const item = items[i];
      if (item === undefined || item.kind === "marker") continue;
      if (item.kind === "message" && !refused.has(i)) {
        lagsMs.push(now - item.heardAt);
        continue;
      }
      const reason = item.kind === "refused" ? item.reason : "log_wrong_type";
      this.#refused.set(reason, (this.#refused.get(reason) ?? 0) + 1);
    }
    observe({ kind: "bridged", lagsMs });
    if (tookOver) observe({ kind: "bridge_taken_over" });
    if (error === undefined) this.#stuck = false;
    else this.#complain(error);
  }

  /** Says what was refused, together: whoever sends nonsense fast must not fill the logs. */
  #tellRefused(): void {
    for (const [reason, count] of this.#refused) {
      this.#options.observe({ kind: "bridge_refused", reason, count });
    }
    this.#refused.clear();
  }

  /** Says once that it cannot go on, until it can. */
  #complain(why: unknown): void {
    if (!this.#stuck) {
      this.#options.observe({ kind: "bridge_stuck", why: String(why) });
    }
    this.#stuck = true;
  }
}
