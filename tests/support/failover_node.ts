/**
 * A model of a node: a real {@linkcode Witness}, with models of connections and of the code around the witness, line by
 * line: `lib/redis_log/reader.ts`, `lib/redis_log/appender.ts`, `lib/redis_log/redis_log.ts` and
 * `lib/sessions/writer.ts`.
 */
import type { Finding, Question } from "../../lib/redis_log/check.ts";
import { IngressGaps } from "../../lib/log/gaps.ts";
import type { HeadState } from "../../lib/log/head.ts";
import type { Entry, Gaps } from "../../lib/log/log.ts";
import { compareIds, ID_MAX, idBefore } from "../../lib/log/position.ts";
import { Ring } from "../../lib/delivery/ring.ts";
import type { SessionToSave } from "../../lib/sessions/store.ts";
import { Witness } from "../../lib/redis_log/witness.ts";
import type { Message } from "./failover_clients.ts";
import { NodeClients } from "./failover_node_clients.ts";
import type { World } from "./failover_model.ts";
import {
  append,
  type AppendAnswer,
  check,
  type ModelEntry,
  save,
  type Server,
} from "./failover_redis.ts";
import {
  ask,
  BLOCKED,
  Late,
  Link,
  type Wait,
  type Wire,
  type Work,
} from "./failover_wire.ts";

const READ_GRACE_MS = 1500;
const READ_COUNT = 256;
const BACKOFF_MS = 200;
const APPEND_TIMEOUT_MS = 2000;
const SCRIPTS_MAX = 2;
const WRITABLE_TIMEOUT_MS = 1500;
const COMMAND_TIMEOUT_MS = 2000;
const PROBE_TIMEOUT_MS = 250;
/** Number of turns in a row after which a node counts as hanging. */
const TURNS_MAX = 2000;
/** The same value as `ABSENT_MS` in `lib/redis_log/peers.ts`. */
export const ABSENT_MS = 1500;

interface Task {
  readonly work: Work;
  wait: Wait;
}

/** A publish or a probe that is in flight in one node. */
interface Attempt {
  readonly message: Message | undefined;
  readonly nonce: string;
  readonly expires: number;
  settled: boolean;
}

/** One process of a node. After it is killed, another `ModelNode` takes its place. */
export class ModelNode {
  readonly witness = new Witness();
  readonly ring = new Ring(1 << 20);
  readonly gaps: Gaps = new IngressGaps();
  readonly commands = new Link();
  readonly reading = new Link();
  readonly clients: NodeClients;
  alive = true;
  paused = false;
  started = false;
  leaving = false;
  /**
   * Whether this node was killed before every other node knew it. This happens if another node has made no check for
   * {@linkcode ABSENT_MS}, because this node then starts without waiting for that node. The other nodes cannot notice
   * that they lack messages which only this node had.
   */
  unknown = false;
  readonly #strangers = new Set<ModelNode>();
  readonly #world: World;
  readonly #tasks = new Set<Task>();
  readonly #queue: Attempt[] = [];
  readonly #pending = new Set<Attempt>();
  readonly #probes = new Set<string>();
  #scripts = 0;
  #saves = 0;
  #total: number | undefined;
  #readFrom: Wire | undefined;

  constructor(world: World) {
    this.#world = world;
    this.clients = new NodeClients(world, this);
    this.spawn(this.#read());
  }

  get head(): HeadState {
    const { epoch, offset, began, confirmed, lineage } = this.witness;
    return {
      epoch: this.started ? epoch : "",
      id: offset,
      began,
      confirmed,
      lineage,
    };
  }

  get links(): readonly Link[] {
    return [this.commands, this.reading];
  }

  /** The connections of this node, which have to lead to the same server. */
  get group(): readonly Link[] {
    return this.#world.mutant.acknowledgesLate ? [] : this.links;
  }

  /** Whether publishes, tasks other than reading, or sessions are in flight. */
  get busy(): boolean {
    return this.#tasks.size > 1 || this.#pending.size > 0;
  }

  after(ms: number): Wait {
    const end = this.#world.now + ms;
    return () => this.#world.now >= end;
  }

  /** Starts a task, which runs at the next {@linkcode ModelNode.run}. */
  spawn(work: Work): void {
    this.#tasks.add({ work, wait: () => true });
  }

  /** Continues every task that can continue. */
  run(): void {
    if (!this.alive || this.paused) return;
    for (let turns = 0, more = true; more; turns++) {
      if (turns > TURNS_MAX) {
        throw new Error(
          "A node does not stop working: a task repeats without waiting",
        );
      }
      more = this.#pump();
      for (const task of this.#tasks) {
        if (!task.wait()) continue;
        more = true;
        const { done, value } = task.work.next();
        if (!this.alive) return;
        if (done) this.#tasks.delete(task);
        else task.wait = value;
      }
    }
  }

  /** Kills this node: ends its tasks and connections. */
  die(): void {
    this.alive = false;
    this.unknown = [...this.#strangers].some(({ alive, witness }) =>
      alive && !witness.question("", 0).known.includes(this.witness.node)
    );
    this.#tasks.clear();
    for (const attempt of this.#pending) this.#settle(attempt, undefined);
    for (const link of this.links) link.reset();
    this.clients.close();
  }

  /** Stops this node in an orderly way; models `RedisLog.close`. */
  leave(): void {
    if (!this.alive || this.leaving) return;
    this.leaving = true;
    this.clients.close();
    for (const attempt of this.#pending) this.#settle(attempt, undefined);
    this.#queue.length = 0;
    this.spawn(this.#leave());
  }

  *#leave(): Work {
    const wire = this.writable();
    try {
      if (wire !== undefined) {
        yield* this.#ask(wire, "leave", this.after(COMMAND_TIMEOUT_MS / 4));
      }
    } catch {
      // The other nodes treat it like a node that was killed.
    }
    this.die();
  }

  /** Accepts a publish or a probe. */
  publish(message: Message | undefined, nonce = ""): void {
    if (this.leaving && message !== undefined) this.#world.refused(message);
    if (this.leaving) return;
    const expires = this.#world.now + APPEND_TIMEOUT_MS;
    const attempt = { message, nonce, expires, settled: false };
    this.#queue.push(attempt);
    this.#pending.add(attempt);
  }

  /** Models `RedisLog.#writable`. */
  writable(): Wire | undefined {
    const { wire, runId } = this.commands;
    return this.witness.mayAcknowledge(runId, this.#world.now)
      ? wire
      : undefined;
  }

  /** Runs a command with a time limit; models `RedisLog.command`. */
  *command<T>(run: (server: Server) => T): Work<T> {
    const { wire } = this.commands;
    if (wire === undefined) throw new Error("not connected");
    return yield* ask(wire, run, this.after(COMMAND_TIMEOUT_MS));
  }

  /** Models `RedisSessionStore.save`. */
  *save(sessions: readonly SessionToSave[]): Work<Set<string>> {
    const { wire } = this.commands;
    if (wire === undefined) throw new Error("not connected");
    const late = this.after(COMMAND_TIMEOUT_MS);
    const end = this.after(WRITABLE_TIMEOUT_MS);
    yield () =>
      this.writable() !== undefined || end() ||
      this.commands.wire === undefined;
    if (this.writable() === undefined) throw new Error("not confirmed");
    const count = ++this.#saves;
    const displaced = yield* ask(wire, (server) => {
      mustBeMaster(server);
      const [data, displaced] = save(
        server.data,
        this.witness.node,
        count,
        sessions,
      );
      server.data = data;
      return displaced;
    }, late);
    this.witness.saved(count);
    return displaced;
  }

  /** Models `Probe` in `lib/redis_log/probe.ts`. */
  *probe(): Work {
    if (!this.commands.wire || !this.reading.wire) {
      throw new Error("not connected");
    }
    const nonce = this.#world.name();
    this.#probes.add(nonce);
    this.publish(undefined, nonce);
    const late = this.after(PROBE_TIMEOUT_MS);
    yield () => !this.#probes.has(nonce) || late();
    if (this.#probes.delete(nonce)) throw new Late();
  }

  #pump(): boolean {
    for (const attempt of this.#pending) {
      if (this.#world.now < attempt.expires) continue;
      this.#settle(attempt, undefined);
      const index = this.#queue.indexOf(attempt);
      if (index >= 0) {
        this.#queue.splice(index, 1);
        this.#pending.delete(attempt);
      }
    }
    let sent = false;
    while (
      this.#queue.length > 0 && this.#scripts < SCRIPTS_MAX &&
      this.writable() !== undefined
    ) {
      const attempt = this.#queue.shift();
      if (attempt !== undefined) this.spawn(this.#send(attempt));
      this.#scripts++;
      sent = true;
    }
    return sent;
  }

  /** Models `Appender.#send`. */
  *#send(attempt: Attempt): Work {
    try {
      const wire = this.writable();
      if (wire === undefined) throw new Error("not connected");
      const { entry, last } = yield* ask(
        wire,
        (server) => this.#append(server, attempt),
      );
      if (
        this.writable() !== wire &&
        this.#world.mutant.acknowledgesLate !== true
      ) throw new Error("failed over");
      if (entry !== undefined) {
        if (entry.kind === "run") {
          this.witness.acknowledged(last, this.#world.now);
        }
        this.#settle(attempt, entry);
      }
    } catch (error) {
      if ((error as Error).message === "READONLY") this.commands.reset();
      this.#settle(attempt, undefined);
    } finally {
      this.#scripts--;
      this.#pending.delete(attempt);
    }
  }

  #append(
    server: Server,
    { message, nonce, expires }: Attempt,
  ): AppendAnswer | { entry: undefined; last: "" } {
    mustBeMaster(server);
    if (this.#world.now > expires) {
      return { entry: undefined, last: "" };
    }
    const [data, answer] = append(server.data, this.#world.placeOf(server), {
      candidate: this.#world.name(),
      kind: message === undefined ? "probe" : "run",
      name: message?.room ?? nonce,
      value: message?.value ?? 0,
      key: message?.key,
    }, this.#world.mutant);
    server.data = data;
    if (message !== undefined) this.#world.appended(message, answer.entry);
    return answer;
  }

  #settle(attempt: Attempt, entry: ModelEntry | undefined): void {
    if (attempt.settled) return;
    attempt.settled = true;
    if (attempt.message === undefined) return;
    if (entry === undefined) this.#world.refused(attempt.message);
    else this.#world.acknowledged(attempt.message, entry, this);
  }

  /** Models `RedisLogReader.#read`. */
  *#read(): Work {
    for (;;) {
      const { wire } = this.reading;
      try {
        if (wire === undefined) {
          this.witness.interrupted();
          yield () => this.reading.wire !== undefined;
        } else yield* this.#readOnce(wire);
      } catch (error) {
        this.witness.interrupted();
        if (error instanceof Late) this.reading.reset();
        yield this.after(BACKOFF_MS);
      }
    }
  }

  *#readOnce(wire: Wire): Work {
    const { witness } = this;
    if (wire !== this.#readFrom) witness.interrupted();
    this.#readFrom = wire;
    if (!this.started) yield* this.#start(wire);
    if (this.#checkDue && !(yield* this.#check(wire))) return;
    const before = witness.offset;
    const blockMs = Math.max(
      1,
      Math.ceil(witness.checkDueMs(this.#world.now)),
    );
    const over = this.after(blockMs);
    const entries = yield* ask(
      wire,
      ({ data }) => {
        const found = entriesAfter(data.log, before).slice(0, READ_COUNT);
        return found.length > 0 || over() ? found : BLOCKED;
      },
      this.after(blockMs + READ_GRACE_MS),
      true,
    );
    const whole = this.#joinsOn(entries);
    const due = !whole || this.#total === undefined || this.#checkDue;
    if (due && !(yield* this.#check(wire, entries[0], whole))) return;
    this.#take(entries);
  }

  get #checkDue(): boolean {
    return this.witness.checkDueMs(this.#world.now) <= 0;
  }

  #joinsOn(entries: readonly ModelEntry[]): boolean {
    let total = this.#total;
    for (const { kind, name, total: said } of entries) {
      if (kind === "epoch" && name !== this.witness.epoch) return true;
      const expected = total === undefined ? undefined : total + 1;
      const told = kind === "run" ? said : undefined;
      if (expected !== undefined && told !== undefined && told !== expected) {
        return false;
      }
      total = told ?? expected;
    }
    return true;
  }

  /** Models `RedisLogReader.#start`: the ring reaches back to the beginning of the epoch. */
  *#start(wire: Wire): Work {
    const { witness } = this;
    yield* this.#check(wire);
    if (witness.epoch === "") throw new Error("LOADING");
    const late = this.after(COMMAND_TIMEOUT_MS);
    const log = yield* ask(wire, ({ data }) => data.log, late);
    let floor = witness.offset;
    const recent: ModelEntry[] = [];
    for (const entry of log.toReversed()) {
      if (entriesAfter([entry], witness.offset).length > 0) continue;
      floor = entry.id;
      if (entry.kind === "epoch" && entry.name === witness.epoch) break;
      if (entry.kind === "run") recent.push(entry);
    }
    this.ring.reset(floor);
    for (const entry of recent.reverse()) this.ring.push(toEntry(entry));
    this.started = true;
  }

  /** Models `Continuity` in `lib/redis_log/continuity.ts`. */
  *#check(wire: Wire, next?: ModelEntry, whole = true): Work<boolean> {
    const { witness } = this;
    const { mutant, now: askedAt } = this.#world;
    const { lineage } = witness;
    const [question, finding] = yield* this.#ask(
      wire,
      undefined,
      this.after(READ_GRACE_MS),
    );
    const { admitted } = witness;
    const verdict = witness.take(
      question,
      mutant.joinsAtOnce ? asIfAllHadRead(finding) : finding,
      askedAt,
    );
    if (!admitted && witness.admitted) this.#noteStrangers(finding);
    if (verdict.kind === "started") this.#total = finding.total;
    if (verdict.kind === "epoch") {
      this.#total = undefined;
      this.gap(verdict.offset, verdict.since);
    } else if (verdict.kind === "cut" || !whole) {
      const since = `${witness.epoch}.${witness.offset}`;
      witness.skippedTo(next === undefined ? finding.last : idBefore(next.id));
      this.#total = undefined;
      this.gap(witness.offset, since, "trimmed");
    }
    if (lineage !== "" && witness.lineage !== lineage) this.clients.saveAll();
    return verdict.kind !== "epoch";
  }

  #noteStrangers({ now, nodes }: Finding): void {
    this.#strangers.clear();
    for (const other of this.#world.nodes) {
      const at = Number(nodes.get(other.witness.node)?.beat.split(" ")[0] ?? 0);
      if (other !== this && other.alive && now - at >= ABSENT_MS) {
        this.#strangers.add(other);
      }
    }
  }

  *#ask(
    wire: Wire,
    intent: "leave" | undefined,
    late: Wait,
  ): Work<[Question, Finding]> {
    const { mutant, now } = this.#world;
    const question = this.witness.question(this.#world.name(), now, intent);
    return [
      question,
      yield* ask(wire, (server): Finding => {
        if (late() && intent !== "leave") throw new Late();
        const [data, finding] = check(
          server.data,
          this.#world.placeOf(server),
          mutant.asksForNothing ? { ...question, acknowledged: [] } : question,
          mutant,
        );
        server.data = data;
        return finding;
      }, late),
    ];
  }

  /** Models `Delivery` in `lib/delivery/delivery.ts`. */
  gap(id: string, since: string, reason: "epoch" | "trimmed" = "epoch"): void {
    this.ring.reset(id);
    this.clients.gap(id, since, reason);
  }

  #take(entries: readonly ModelEntry[]): void {
    for (const entry of entries) {
      const { id, kind, name, total } = entry;
      this.#total = kind === "run"
        ? total
        : this.#total === undefined
        ? undefined
        : this.#total + 1;
      if (kind === "probe") this.#probes.delete(name);
      else if (kind === "node") this.witness.announced(name);
      else if (kind === "epoch" && name !== this.witness.epoch) {
        const since = this.witness.epochBegan(name, id);
        this.#total = undefined;
        this.gap(id, since);
      } else if (kind === "run") {
        this.ring.push(toEntry(entry));
        this.clients.deliver(entry);
      }
      this.witness.read(id, kind === "run", this.#world.now);
    }
  }
}

/** Returns the entries of a log after an id. */
export function entriesAfter(
  log: readonly ModelEntry[],
  id: string,
): readonly ModelEntry[] {
  return log.filter((entry) => compareIds(entry.id, id) > 0);
}

/** Converts an entry of the model to an {@linkcode Entry}. */
export function toEntry({ id, name, value }: ModelEntry): Entry {
  return { id, room: name, json: String(value) };
}

function mustBeMaster({ role }: Server): void {
  if (role === "replica") throw new Error("READONLY");
}

function asIfAllHadRead(finding: Finding): Finding {
  const nodes = new Map(
    [...finding.nodes].map(([node, { beat }]) => [node, {
      offset: ID_MAX,
      beat,
    }]),
  );
  return { ...finding, nodes };
}
