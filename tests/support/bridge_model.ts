/**
 * Runs real {@linkcode Sequencer} objects with a model of Redis, in any order of events.
 * `tests/lib/bridge/scripts_test.ts` shows that the real scripts reply as the model does.
 */
import { Sequencer } from "../../lib/bridge/sequencer.ts";
import type { CompareResult, Step } from "../../lib/bridge/step.ts";
import type {
  BridgePosition,
  ReceivedItem,
} from "../../lib/bridge/received_window.ts";

/**
 * Maximum number of commands that three nodes may need until nothing is left to do. Most random runs need some tens.
 */
const COMMANDS_MAX = 150;
/** The same value as `SYNCHRONIZED_TTL_MS` in `lib/bridge/scripts.ts`. */
export const SYNCHRONIZED_TTL_MS = 3000;

type Action = Exclude<Step, { kind: "wait" }>;
/** Something that Redis sends to all subscribers, in the same order. */
type Published =
  | { kind: "message"; value: number; channel: number }
  | { kind: "marker"; marker: string }
  | { kind: "position"; position: BridgePosition; writer: string };

/** A model of Redis: the state of the bridge, the log, and the bridge's scripts. */
export class ModelRedis {
  position: BridgePosition = { marker: "", number: 0, channelGroup: "" };
  readonly log: (string | "gap")[] = [];
  /**
   * The names of the synchronized nodes, each with the time at which the node last reported that it is synchronized.
   */
  readonly synchronized = new Map<string, number>();
  /** Called with each message that a script publishes on the control channel. */
  announce: (published: Published) => void = () => {};

  /** Models the script `PUBLISH_MARKER`. */
  publishMarker(
    node: string,
    marker: string,
    outOfSync: boolean,
  ): BridgePosition {
    if (outOfSync) this.synchronized.delete(node);
    this.announce({ kind: "marker", marker });
    return this.position;
  }

  /** Models the script `COMPARE_AND_APPEND`. */
  append(
    node: string,
    after: BridgePosition,
    items: readonly ReceivedItem[],
    now: number,
  ): CompareResult & { known: number; taken: number } {
    const nothing = { position: this.position, known: 0, taken: 0 };
    if (
      this.position.marker !== after.marker ||
      this.position.channelGroup !== after.channelGroup
    ) return { outcome: "elsewhere", ...nothing };
    if (after.number > this.position.number) {
      return { outcome: "back", ...nothing };
    }
    const known = this.position.number - after.number;
    let { marker, number } = this.position;
    for (const item of items.slice(known)) {
      if (item.kind === "marker") {
        [marker, number] = [item.marker, 0];
        this.synchronized.set(marker.split(".")[0] ?? "", now);
      } else {
        if (item.kind === "message") this.log.push(item.json);
        number++;
      }
    }
    const taken = Math.max(0, items.length - known);
    if (taken > 0) {
      this.#move(
        { marker, number, channelGroup: after.channelGroup },
        node,
      );
    }
    return { outcome: "appended", position: this.position, known, taken };
  }

  /** Models the script `RESUME_AFTER_GAP`. */
  resume(
    node: string,
    from: BridgePosition,
    to: BridgePosition,
    now: number,
  ): boolean {
    const { marker, number } = this.position;
    if (marker !== from.marker) return false;
    if (marker === to.marker && number > to.number) return false;
    for (const [other, at] of this.synchronized) {
      if (at < now - SYNCHRONIZED_TTL_MS) this.synchronized.delete(other);
    }
    if (this.synchronized.size > 0) return false;
    const gap = marker !== "" || this.log.some((entry) => entry !== "gap");
    if (gap) this.log.push("gap");
    this.synchronized.set(node, now);
    this.#move(to, node);
    return true;
  }

  #move(position: BridgePosition, writer: string): void {
    this.position = position;
    this.announce({ kind: "position", position, writer });
  }
}

/** All modelled nodes, the modelled Redis, and everything that was published since the start. */
export class World {
  readonly nodes: ModelNode[] = [];
  redis = new ModelRedis();
  readonly order: Published[] = [];
  now = 0;
  #values = 0;
  #commands = 0;
  #saved: (() => ModelRedis) | undefined;

  /** Starts with an empty Redis and without nodes. */
  constructor() {
    this.redis.announce = (published) => this.order.push(published);
  }

  /** The published values and the gaps in the log, in the log's order. */
  get log(): (number | "gap")[] {
    return this.redis.log.map((json) => json === "gap" ? json : Number(json));
  }

  /** Number of gaps in the log. */
  get gaps(): number {
    return this.log.filter((value) => value === "gap").length;
  }

  /** Publishes the next value on one of two channels. Nodes of channel group `a` subscribe to the first one only. */
  publish(channel: number): void {
    this.order.push({ kind: "message", value: this.#values++, channel });
  }

  /** Returns the values that were published on a channel, in order. */
  published(channel: number): number[] {
    return this.order.flatMap((one) =>
      one.kind === "message" && one.channel === channel ? one.value : []
    );
  }

  /** Counts one command that a node has sent to Redis. */
  count(): void {
    this.#commands++;
  }

  /** Advances the time by `ms`, and lets running nodes send a heartbeat. */
  pass(ms: number): void {
    this.now += ms;
    for (const node of this.nodes) node.sendHeartbeat();
  }

  /** Stores the current state of Redis for {@linkcode World.failOver}. */
  save(): void {
    const { position, log, synchronized } = this.redis;
    const [entries, nodes] = [[...log], [...synchronized]];
    this.#saved = () => {
      const redis = new ModelRedis();
      redis.position = position;
      redis.log.push(...entries);
      for (const [node, at] of nodes) redis.synchronized.set(node, at);
      return redis;
    };
  }

  /**
   * Replaces Redis by one with the saved state; a gap in the log stands for the new epoch. If `broken` is `false`,
   * subscriptions stay, as if the same Redis had restored older data.
   */
  failOver(broken: boolean): void {
    if (this.#saved !== undefined) this.#replace(this.#saved(), broken);
  }

  /** Empties Redis; a gap in the log stands for the new epoch. */
  flush(): void {
    this.#saved = undefined;
    this.#replace(new ModelRedis(), false);
  }

  /** Returns whether, apart from `other`, there is a node that is {@linkcode ModelNode.reliable}. */
  reliableWithout(other: ModelNode): boolean {
    return this.nodes.some((node) => node !== other && node.reliable);
  }

  /** Lets all nodes run in turn until `done` returns `true`. */
  settle(done: () => boolean): void {
    const commands = this.#commands;
    for (let round = 0; round < 1000 && !done(); round++) {
      for (const node of this.nodes) node.turn();
      this.pass(20);
    }
    if (!done()) throw new Error("The nodes do not reach the expected state");
    if (this.#commands - commands > COMMANDS_MAX) {
      throw new Error(
        `The nodes need more than ${COMMANDS_MAX} commands to reach the expected state`,
      );
    }
  }

  /** Ends all faults, and continues until all received messages are in the log. */
  heal(): void {
    for (const node of this.nodes) {
      node.resume();
      node.start("a");
    }
    for (const node of this.nodes) if (!node.subscribed) node.subscribe();
    this.settle(() =>
      this.nodes.some(({ sequencer }) => sequencer.synchronized) &&
      this.nodes.every(({ sequencer, behind, channelGroup }) =>
        channelGroup !== this.redis.position.channelGroup ||
        (sequencer.pending === 0 && !behind)
      )
    );
  }

  /** Returns the values of the first channel that are missing from the log without a gap in their place. */
  silentlyMissing(): number[] {
    const { log } = this;
    const present = new Set(log);
    const last = log.findLastIndex((value) => value === "gap");
    return this.published(0).filter((value) => {
      if (present.has(value)) return false;
      // A gap between the value before it and the value after it counts as recorded.
      const after = log.findIndex((other) =>
        typeof other === "number" && other > value
      );
      const before = log.findLastIndex((other) =>
        typeof other === "number" && other < value
      );
      const gap = log.indexOf("gap", before + 1);
      return after === -1 ? last <= before : gap === -1 || gap > after;
    });
  }

  #replace(redis: ModelRedis, broken: boolean): void {
    this.redis.announce = () => {};
    redis.log.push("gap");
    redis.announce = (published) => this.order.push(published);
    this.redis = redis;
    if (!broken) return;
    for (const node of this.nodes) {
      if (node.subscribed) node.unsubscribe();
      node.break();
    }
  }
}

/**
 * A modelled node: a real {@linkcode Sequencer}, the node's subscription, and the one command that may be in flight.
 */
export class ModelNode {
  readonly #world: World;
  readonly #name: string;
  sequencer: Sequencer;
  channelGroup = "a";
  #starts = 0;
  /** Number of published items that the node has received; undefined if the node is not subscribed. */
  #received: number | undefined;
  #command: Action | undefined;
  /** Passes the reply of the command in flight to the sequencer; undefined until Redis has executed the command. */
  #reply: (() => void) | undefined;
  #paused = false;
  #heartbeatAt = -Infinity;
  #dead = false;

  /** Starts a node without a subscription. */
  constructor(world: World, name: string) {
    this.#world = world;
    this.#name = name;
    this.sequencer = this.#create();
  }

  /** Whether the node is subscribed. */
  get subscribed(): boolean {
    return this.#received !== undefined;
  }

  /** Whether something was published that the node has not received yet. */
  get behind(): boolean {
    return this.#received !== undefined &&
      this.#received < this.#world.order.length;
  }

  /** Whether the node runs, is subscribed and synchronized, and has reported that to Redis within the last second. */
  get reliable(): boolean {
    return !this.#dead && !this.#paused && this.subscribed &&
      this.sequencer.synchronized &&
      this.#heartbeatAt > this.#world.now - 1000;
  }

  /** Reports to Redis whether the node is synchronized, if the node runs. */
  sendHeartbeat(): void {
    if (this.#dead || this.#paused) return;
    const { synchronized } = this.#world.redis;
    if (this.sequencer.synchronized) {
      synchronized.set(this.#id, this.#world.now);
      this.#heartbeatAt = this.#world.now;
    } else synchronized.delete(this.#id);
  }

  /** Establishes the node's subscription. */
  subscribe(): void {
    if (this.subscribed || this.#dead || this.#paused) return;
    this.#received = this.#world.order.length;
    this.sequencer.subscribed();
  }

  /** Ends the node's subscription. */
  unsubscribe(): void {
    if (!this.subscribed) return;
    this.#received = undefined;
    this.sequencer.subscriptionLost();
  }

  /** Lets the node receive the next `count` published items, or as many as there are. */
  receive(count: number): void {
    for (let i = 0; i < count && !this.#paused && this.behind; i++) {
      const item = this.#world.order[this.#received ?? 0];
      this.#received = (this.#received ?? 0) + 1;
      const receivedAt = this.#world.now;
      if (item?.kind === "marker") {
        this.sequencer.markerReceived(item.marker, receivedAt);
        if (!item.marker.startsWith(`${this.#id}.`)) this.sendHeartbeat();
      } else if (item?.kind === "position") {
        this.sequencer.positionAnnounced(item.position, item.writer);
      } else if (
        item?.kind === "message" &&
        (item.channel === 0 || this.channelGroup === "b")
      ) {
        const json = String(item.value);
        this.sequencer.received(
          { kind: "message", room: "chat", json, receivedAt },
        );
      }
    }
  }

  /** Sends the next command, if the sequencer chooses one. */
  decide(): void {
    if (this.#command !== undefined || this.#paused || this.#dead) return;
    const step = this.sequencer.next(this.#world.now);
    if (step.kind === "wait") return;
    this.#command = step;
    this.#world.count();
  }

  /** Lets Redis execute the command in flight. */
  execute(): void {
    const step = this.#command;
    if (step === undefined || this.#reply !== undefined) return;
    const { redis, now } = this.#world;
    const { sequencer } = this;
    if (step.kind === "publish_marker") {
      const { marker, outOfSync } = step;
      const position = redis.publishMarker(this.#id, marker, outOfSync);
      this.#reply = () => sequencer.markerPublished(marker, position);
    } else if (step.kind === "append") {
      const { after, items, window } = step;
      const result = redis.append(this.#id, after, items, now);
      this.#reply = () => sequencer.appended(window, result, this.#world.now);
    } else {
      const reliable = this.#world.nodes.some((node) => node.reliable);
      const markerBefore = redis.position.marker;
      const done = redis.resume(this.#id, step.from, step.to, now);
      if (done && markerBefore !== "" && reliable) {
        throw new Error("A gap was recorded although a node was synchronized");
      }
      this.#reply = () => sequencer.resumed(done, step.to, this.#world.now);
    }
  }

  /** Delivers the reply to the command in flight, if Redis has executed the command. */
  receiveReply(): void {
    if (this.#reply === undefined || this.#paused) return;
    const reply = this.#reply;
    this.#command = this.#reply = undefined;
    reply();
  }

  /**
   * Breaks the connection for commands. The reply to the command in flight is lost, whether Redis has executed the
   * command or not.
   */
  break(): void {
    if (this.#command === undefined || this.#paused) return;
    this.#command = this.#reply = undefined;
    this.sequencer.failed(this.#world.now);
  }

  /** Kills the node's process. */
  crash(): void {
    this.#dead = true;
    this.#paused = false;
    this.#received = this.#command = this.#reply = undefined;
    this.sequencer = this.#create();
  }

  /** Starts a new process of the node, if the previous one was killed. */
  start(channelGroup: string): void {
    if (!this.#dead) return;
    this.#dead = false;
    this.channelGroup = channelGroup;
    this.#starts++;
    this.sequencer = this.#create();
  }

  /** Suspends the node's process. */
  pause(): void {
    this.#paused = !this.#dead;
    this.#heartbeatAt = -Infinity;
  }

  /** Continues the node's suspended process. */
  resume(): void {
    this.#paused = false;
  }

  /** Lets the node and Redis do everything that is possible now. */
  turn(): void {
    if (!this.subscribed) this.subscribe();
    this.receive(Infinity);
    this.decide();
    this.execute();
    this.receiveReply();
    this.receive(Infinity);
  }

  get #id(): string {
    return `${this.#name}-${this.#starts}`;
  }

  #create(): Sequencer {
    const { channelGroup } = this;
    return new Sequencer({
      node: this.#id,
      channelGroup,
      takeoverDelayMs: 60,
    });
  }
}
