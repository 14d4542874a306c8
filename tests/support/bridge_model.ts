/**
 * A world in which bridges can be run through any order of events: real {@linkcode Sequencer}es, and a model of what
 * Redis does for them. `tests/lib/bridge/scripts_test.ts` shows that the real scripts answer as the model does.
 */
import {
  type CompareResult,
  Sequencer,
  type Step,
} from "../../lib/bridge/sequencer.ts";
import type {
  BridgePosition,
  ReceivedItem,
} from "../../lib/bridge/received_window.ts";

/** How many commands three nodes may need to come to rest: some tens, were it not for rare detours. */
const COMMANDS_MAX = 150;
/** As in `lib/bridge/scripts.ts`. */
export const FRESH_MS = 3000;

type Action = Exclude<Step, { kind: "wait" }>;
/** What subscribers hear, in one order. */
type Heard =
  | { kind: "message"; value: number; channel: number }
  | { kind: "marker"; marker: string }
  | { kind: "at"; place: BridgePosition; writer: string };

/** What Redis keeps of a bridge. */
export class ModelRedis {
  place: BridgePosition = { marker: "", number: 0, group: "" };
  readonly log: (string | "gap")[] = [];
  readonly inStep = new Map<string, number>();
  /** Everything published on the control channel and told to the world. */
  announce: (heard: Heard) => void = () => {};

  /** As `ASK`. */
  ask(node: string, marker: string, anew: boolean): BridgePosition {
    if (anew) this.inStep.delete(node);
    this.announce({ kind: "marker", marker });
    return this.place;
  }

  /** As `COMPARE_AND_APPEND`. */
  append(
    node: string,
    after: BridgePosition,
    items: readonly ReceivedItem[],
    now: number,
  ): CompareResult & { known: number; taken: number } {
    const nothing = { place: this.place, known: 0, taken: 0 };
    if (
      this.place.marker !== after.marker || this.place.group !== after.group
    ) return { outcome: "elsewhere", ...nothing };
    if (after.number > this.place.number) {
      return { outcome: "back", ...nothing };
    }
    const known = this.place.number - after.number;
    let { marker, number } = this.place;
    for (const item of items.slice(known)) {
      if (item.kind === "marker") {
        [marker, number] = [item.marker, 0];
        this.inStep.set(marker.split(".")[0] ?? "", now);
      } else {
        if (item.kind === "message") this.log.push(item.json);
        number++;
      }
    }
    const taken = Math.max(0, items.length - known);
    if (taken > 0) this.#move({ marker, number, group: after.group }, node);
    return { outcome: "appended", place: this.place, known, taken };
  }

  /** As `RESUME`. */
  resume(
    node: string,
    from: BridgePosition,
    to: BridgePosition,
    now: number,
  ): boolean {
    const { marker, number } = this.place;
    if (marker !== from.marker) return false;
    if (marker === to.marker && number > to.number) return false;
    for (const [other, at] of this.inStep) {
      if (at < now - FRESH_MS) this.inStep.delete(other);
    }
    if (this.inStep.size > 0) return false;
    const gap = marker !== "" || this.log.some((entry) => entry !== "gap");
    if (gap) this.log.push("gap");
    this.inStep.set(node, now);
    this.#move(to, node);
    return true;
  }

  #move(place: BridgePosition, writer: string): void {
    this.place = place;
    this.announce({ kind: "at", place, writer });
  }
}

/** All nodes, Redis, and everything that was ever published. */
export class World {
  readonly nodes: ModelNode[] = [];
  redis = new ModelRedis();
  readonly order: Heard[] = [];
  now = 0;
  #values = 0;
  #commands = 0;
  #saved: (() => ModelRedis) | undefined;

  /** Nobody has published yet. */
  constructor() {
    this.redis.announce = (heard) => this.order.push(heard);
  }

  /** The log: values, and gaps. */
  get log(): (number | "gap")[] {
    return this.redis.log.map((json) => json === "gap" ? json : Number(json));
  }

  /** How many gaps the log tells of. */
  get gaps(): number {
    return this.log.filter((value) => value === "gap").length;
  }

  /** Somebody publishes the next value on one of two channels; nodes of group `a` take the first one only. */
  publish(channel: number): void {
    this.order.push({ kind: "message", value: this.#values++, channel });
  }

  /** Values of a channel, in order. */
  published(channel: number): number[] {
    return this.order.flatMap((heard) =>
      heard.kind === "message" && heard.channel === channel ? heard.value : []
    );
  }

  /** A command is sent. */
  count(): void {
    this.#commands++;
  }

  /** Time goes on, and nodes that run give their sign of life. */
  pass(ms: number): void {
    this.now += ms;
    for (const node of this.nodes) node.sign();
  }

  /** Redis writes to its disk. */
  save(): void {
    const { place, log, inStep } = this.redis;
    const [entries, marks] = [[...log], [...inStep]];
    this.#saved = () => {
      const redis = new ModelRedis();
      redis.place = place;
      redis.log.push(...entries);
      for (const [node, at] of marks) redis.inStep.set(node, at);
      return redis;
    };
  }

  /**
   * Another Redis goes on from what was saved; the log tells of that as a new epoch. Where subscriptions stay, it is
   * the same Redis with older data: restored, or a master that has become a replica.
   */
  failOver(broken: boolean): void {
    if (this.#saved !== undefined) this.#replace(this.#saved(), broken);
  }

  /** Everything in Redis is gone, the log too; its new epoch tells of that. */
  flush(): void {
    this.#saved = undefined;
    this.#replace(new ModelRedis(), false);
  }

  /** Whether some other node than this one runs, listens and is in step. */
  standing(other: ModelNode): boolean {
    return this.nodes.some((node) => node !== other && node.stands);
  }

  /** Lets all nodes run, evenly, until `done`. */
  settle(done: () => boolean): void {
    const commands = this.#commands;
    for (let round = 0; round < 1000 && !done(); round++) {
      for (const node of this.nodes) node.turn();
      this.pass(20);
    }
    if (!done()) throw new Error("It does not settle");
    if (this.#commands - commands > COMMANDS_MAX) {
      throw new Error("It takes too many commands to settle");
    }
  }

  /** Ends all faults, and waits until everything heard is in the log. */
  heal(): void {
    for (const node of this.nodes) {
      node.resume();
      node.start("a");
    }
    for (const node of this.nodes) if (!node.listens) node.listen();
    this.settle(() =>
      this.nodes.some(({ ingress }) => ingress.inStep) &&
      this.nodes.every(({ ingress, behind, group }) =>
        group !== this.redis.place.group || (ingress.pending === 0 && !behind)
      )
    );
  }

  /** Values of the first channel that are not in the log, with no gap where they should be. */
  silentlyMissing(): number[] {
    const { log } = this;
    const present = new Set(log);
    const last = log.findLastIndex((value) => value === "gap");
    return this.published(0).filter((value) => {
      if (present.has(value)) return false;
      // Told, if a gap lies between what came before it and what came after.
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
    redis.announce = (heard) => this.order.push(heard);
    this.redis = redis;
    if (!broken) return;
    for (const node of this.nodes) {
      if (node.listens) node.unlisten();
      node.break();
    }
  }
}

/** A node: a real Ingress, its subscription and its one command under way. */
export class ModelNode {
  readonly #world: World;
  readonly #name: string;
  ingress: Sequencer;
  group = "a";
  #starts = 0;
  /** How far it has heard; undefined: it does not listen. */
  #heard: number | undefined;
  #command: Action | undefined;
  #answer: (() => void) | undefined;
  #paused = false;
  #signedAt = -Infinity;
  #dead = false;

  /** Runs, and does not listen yet. */
  constructor(world: World, name: string) {
    this.#world = world;
    this.#name = name;
    this.ingress = this.#create();
  }

  /** Whether it has a subscription. */
  get listens(): boolean {
    return this.#heard !== undefined;
  }

  /** Whether there is something it has not heard yet. */
  get behind(): boolean {
    return this.#heard !== undefined &&
      this.#heard < this.#world.order.length;
  }

  /** Whether it can be relied on: it is in step, and has said so lately. */
  get stands(): boolean {
    return !this.#dead && !this.#paused && this.listens &&
      this.ingress.inStep && this.#signedAt > this.#world.now - 1000;
  }

  /** Says that it is in step, as long as it is, if it runs. */
  sign(): void {
    if (this.#dead || this.#paused) return;
    if (this.ingress.inStep) {
      this.#world.redis.inStep.set(this.#id, this.#world.now);
      this.#signedAt = this.#world.now;
    } else this.#world.redis.inStep.delete(this.#id);
  }

  /** Its subscription stands. */
  listen(): void {
    if (this.listens || this.#dead || this.#paused) return;
    this.#heard = this.#world.order.length;
    this.ingress.listening();
  }

  /** Its subscription is lost. */
  unlisten(): void {
    if (!this.listens) return;
    this.#heard = undefined;
    this.ingress.lost();
  }

  /** Hears some of what comes next. */
  hear(count: number): void {
    for (let i = 0; i < count && !this.#paused && this.behind; i++) {
      const heard = this.#world.order[this.#heard ?? 0];
      this.#heard = (this.#heard ?? 0) + 1;
      const heardAt = this.#world.now;
      if (heard?.kind === "marker") {
        this.ingress.marker(heard.marker, heardAt);
        if (!heard.marker.startsWith(`${this.#id}.`)) this.sign();
      } else if (heard?.kind === "at") {
        this.ingress.announced(heard.place, heard.writer);
      } else if (
        heard?.kind === "message" && (heard.channel === 0 || this.group === "b")
      ) {
        const json = String(heard.value);
        this.ingress.heard(
          { kind: "message", room: "chat", json, heardAt },
        );
      }
    }
  }

  /** Sends the next command, if there is one to send. */
  decide(): void {
    if (this.#command !== undefined || this.#paused || this.#dead) return;
    const step = this.ingress.next(this.#world.now);
    if (step.kind === "wait") return;
    this.#command = step;
    this.#world.count();
  }

  /** Redis executes it. */
  execute(): void {
    const step = this.#command;
    if (step === undefined || this.#answer !== undefined) return;
    const { redis, now } = this.#world;
    const { ingress } = this;
    if (step.kind === "ask") {
      const place = redis.ask(this.#id, step.marker, step.anew);
      this.#answer = () => ingress.asked(step.marker, place);
    } else if (step.kind === "append") {
      const { after, items, slice } = step;
      const answer = redis.append(this.#id, after, items, now);
      this.#answer = () => ingress.appended(slice, answer, this.#world.now);
    } else {
      const standing = this.#world.nodes.some((node) => node.stands);
      const had = redis.place.marker;
      const done = redis.resume(this.#id, step.from, step.to, now);
      if (done && had !== "" && standing) {
        throw new Error("A gap was made for nothing");
      }
      this.#answer = () => ingress.resumed(done, step.to, this.#world.now);
    }
  }

  /** Its answer arrives. */
  answer(): void {
    if (this.#answer === undefined || this.#paused) return;
    const answer = this.#answer;
    this.#command = this.#answer = undefined;
    answer();
  }

  /** The connection for commands is lost, with whatever is under way, executed or not. */
  break(): void {
    if (this.#command === undefined || this.#paused) return;
    this.#command = this.#answer = undefined;
    this.ingress.failed(this.#world.now);
  }

  /** The process is killed. */
  crash(): void {
    this.#dead = true;
    this.#paused = false;
    this.#heard = this.#command = this.#answer = undefined;
    this.ingress = this.#create();
  }

  /** A new process is started in its place, if it is dead. */
  start(group: string): void {
    if (!this.#dead) return;
    this.#dead = false;
    this.group = group;
    this.#starts++;
    this.ingress = this.#create();
  }

  /** The process stands still. */
  pause(): void {
    this.#paused = !this.#dead;
    this.#signedAt = -Infinity;
  }

  /** It goes on. */
  resume(): void {
    this.#paused = false;
  }

  /** Does whatever there is to do. */
  turn(): void {
    if (!this.listens) this.listen();
    this.hear(Infinity);
    this.decide();
    this.execute();
    this.answer();
    this.hear(Infinity);
  }

  get #id(): string {
    return `${this.#name}-${this.#starts}`;
  }

  #create(): Sequencer {
    const { group } = this;
    return new Sequencer({ node: this.#id, group, patienceMs: 60 });
  }
}
