/**
 * A model of Redis as the log uses it: the data, the scripts that change the data, and servers that replicate the data.
 * `tests/lib/redis_log/check_script_test.ts` shows that the real script `CHECK` returns what {@linkcode check} returns.
 *
 * Data is immutable, and each command makes new data. The data of a replica that lags, of an append-only file that lost
 * its end, and of a snapshot are therefore all older elements of one list.
 */
import { CONFIRM_TIMEOUT_MS } from "../../lib/redis_log/check_script.ts";
import { type Finding, type Question } from "../../lib/redis_log/check.ts";
import { compareIds, ID_ZERO } from "../../lib/log/position.ts";
import type { Session } from "../../lib/sessions/session.ts";
import type { SessionToSave } from "../../lib/sessions/store.ts";

/** An entry of the modelled log. */
export interface ModelEntry {
  readonly id: string;
  readonly kind: "epoch" | "node" | "run" | "probe";
  /** The name of the epoch, the node or the probe, or the room of the message. */
  readonly name: string;
  readonly value: number;
  /** Number of messages, and of entries without messages, that were added to the log up to and with this entry. */
  readonly total: number;
  /** The world's step at which the entry was added. */
  readonly step: number;
}

/** The fields of the hash `server` of the script `CHECK`. */
export interface ServerHash {
  readonly epoch?: string;
  readonly id?: string;
  readonly home?: string;
  readonly begun?: number;
  readonly lineage?: string;
  readonly asked?: string;
  readonly since?: number;
  readonly vouched?: boolean;
  readonly unsaved?: boolean;
}

/** Everything that Redis holds for the log. */
export interface Data {
  readonly log: readonly ModelEntry[];
  readonly epoch: { readonly name: string; readonly began: string } | undefined;
  readonly server: ServerHash;
  readonly nodes: ReadonlyMap<string, string>;
  readonly saves: ReadonlyMap<string, number>;
  readonly sessions: ReadonlyMap<string, Session>;
  readonly keys: ReadonlyMap<string, ModelEntry>;
}

/** Names the part of the protocol that a run leaves out, so that the run has to fail. */
export interface Mutant {
  /** A check confirms an epoch although not all registered nodes have checked. */
  readonly confirmsAlone?: boolean;
  /** A node that has not read an epoch counts as one that confirms the epoch. */
  readonly anyoneVouches?: boolean;
  /** Saved sessions stay trusted although the newest ones are missing. */
  readonly sameLineage?: boolean;
  /** Ids have no random part. */
  readonly plainIds?: boolean;
  /** A node does not check whether the log has the entries that the node has acknowledged. */
  readonly asksForNothing?: boolean;
  /** A node acknowledges messages before the other nodes know the node. */
  readonly joinsAtOnce?: boolean;
  /** A node acknowledges messages that were appended over a connection that is already closed. */
  readonly acknowledgesLate?: boolean;
}

const EMPTY: Data = {
  log: [],
  epoch: undefined,
  server: {},
  nodes: new Map(),
  saves: new Map(),
  sessions: new Map(),
  keys: new Map(),
};

/** A copy of the data that a command can change. */
class Draft {
  readonly #mutant: Mutant;
  log: readonly ModelEntry[];
  epoch: Data["epoch"];
  server: ServerHash;
  readonly nodes: Map<string, string>;
  readonly saves: Map<string, number>;

  constructor(
    data: Data,
    readonly now: number,
    readonly step: number,
    readonly here: string,
    mutant: Mutant,
  ) {
    this.#mutant = mutant;
    this.log = data.log;
    this.epoch = data.epoch;
    this.server = data.server;
    this.nodes = new Map(data.nodes);
    this.saves = new Map(data.saves);
  }

  get last(): string {
    return this.log.at(-1)?.id ?? ID_ZERO;
  }

  get total(): number {
    return this.log.at(-1)?.total ?? 0;
  }

  exists(id: string): boolean {
    return this.log.some((entry) => entry.id === id);
  }

  /** Models `add` in `lib/redis_log/batch_script.ts`. */
  add(
    candidate: string,
    kind: ModelEntry["kind"],
    name: string,
    value = 0,
  ): ModelEntry {
    const random = this.#mutant.plainIds
      ? 0
      : Number.parseInt(candidate.slice(0, 5), 16);
    let [ms, seq] = [this.now, random];
    const [lastMs = 0, lastSeq = 0] = this.last.split("-").map(Number);
    if (this.log.length > 0 && lastMs >= ms) {
      [ms, seq] = [lastMs, lastSeq + 1 + random];
    }
    const id = `${ms}-${seq}`;
    const { total, step } = this;
    const entry = { id, kind, name, value, total: total + 1, step };
    this.log = [...this.log, entry];
    return entry;
  }

  /** Models `begin` in `lib/redis_log/batch_script.ts`. */
  begin(candidate: string): void {
    const { id } = this.add(candidate, "epoch", candidate);
    this.epoch = { name: candidate, began: id };
    this.server = {
      ...this.server,
      epoch: candidate,
      home: this.here,
      begun: this.now,
      lineage: candidate,
      id: this.here,
    };
  }

  /** Models `ensure` in `lib/redis_log/batch_script.ts`. */
  ensure(candidate: string): void {
    if (this.log.length === 0 || this.epoch === undefined) {
      this.begin(candidate);
    }
  }

  settle(): void {
    const { epoch, id, home, begun, lineage } = this.server;
    this.server = {
      ...(epoch !== undefined && { epoch }),
      ...(id !== undefined && { id }),
      ...(home !== undefined && { home }),
      ...(begun !== undefined && { begun }),
      ...(lineage !== undefined && { lineage }),
    };
  }
}

/**
 * Returns how long a node has known an entry that is missing, or undefined; models `lost` in
 * `lib/redis_log/check_script.ts`.
 */
function lost(
  draft: Draft,
  {
    acknowledged,
    offset,
    offsetIsEntry,
    knowledgeAgeMs,
    acknowledgedAgeMs,
  }: Question,
  trimmable: boolean,
): number | undefined {
  const { last } = draft;
  const first = draft.log[0]?.id;
  const missing = (id: string, mayBeTrimmed: boolean): boolean =>
    compareIds(last, id) < 0 ||
    (!draft.exists(id) &&
      !(mayBeTrimmed && (first === undefined || compareIds(id, first) < 0)));
  if (acknowledged.some((id) => missing(id, trimmable))) {
    return Math.round(Math.min(knowledgeAgeMs, acknowledgedAgeMs));
  }
  const behind = offsetIsEntry
    ? missing(offset, trimmable)
    : compareIds(last, offset) < 0 || !trimmable;
  return behind ? Math.round(knowledgeAgeMs) : undefined;
}

/** Models the script `CHECK` on a master. The numbers in comments are those of the script's steps. */
function checkOnMaster(
  draft: Draft,
  question: Question,
  mutant: Mutant,
): Finding {
  const { candidate, node, epoch, offset, saves, intent } = question;
  const { now, here } = draft;
  draft.ensure(candidate);
  const name = (): string => draft.epoch?.name ?? "";
  // 1. The epoch is not confirmed for any server.
  if (draft.server.epoch !== name()) {
    if (name() === epoch && question.server === here) {
      draft.server = {
        ...draft.server,
        epoch,
        id: here,
        home: here,
        begun: now,
        lineage: candidate,
      };
    } else draft.begin(candidate);
  }
  // 2. This is another server.
  const age = now - (draft.server.begun ?? 0);
  const comes = question.server !== "" && question.server !== here &&
    age >= 0 && age < CONFIRM_TIMEOUT_MS;
  if (draft.server.asked !== here && (draft.server.id !== here || comes)) {
    const { vouched: _, ...rest } = draft.server;
    draft.server = { ...rest, asked: here, since: now };
  }
  // 3. Compare what this node knows.
  const vouches = draft.server.id !== here &&
    (mutant.anyoneVouches === true ||
      (epoch === name() && question.server === draft.server.id));
  const names = epoch === name() || draft.server.id !== here;
  let wrong: Finding["wrong"] = "";
  const knownMs = epoch === ""
    ? undefined
    : lost(draft, question, epoch === name() && !vouches);
  if (knownMs !== undefined) {
    wrong = "lost";
    if (
      name() === epoch || draft.server.home !== here || age < 0 ||
      knownMs <= age
    ) draft.begin(candidate);
  } else if (
    epoch === name() && question.offsetIsEntry && !draft.exists(offset)
  ) wrong = "cut";
  // 4. Register this node.
  const unknown = intent === "stay" && !draft.nodes.has(node);
  const announces = intent === "join" || unknown;
  if (
    unknown && draft.server.id === here && draft.server.asked !== here
  ) draft.saves.set(node, saves);
  const joinedAt = announces ? draft.add(candidate, "node", node).id : "";
  const where = intent === "leave" ? "left" : here;
  draft.nodes.set(node, `${now} ${offset} ${where}`);
  // 5. Detect saved sessions of this node that are missing.
  if ((draft.saves.get(node) ?? 0) < saves) {
    draft.saves.set(node, saves);
    const whole = mutant.sameLineage || epoch !== name();
    if (!whole && draft.server.id === here) {
      draft.server = { ...draft.server, lineage: candidate };
    } else if (!whole) draft.server = { ...draft.server, unsaved: true };
  }
  // 6. Check whether all nodes have confirmed.
  if (draft.server.asked === here) {
    const { known } = question;
    const named = names ? known : [];
    confirm(draft, { candidate, known: named }, vouches, mutant);
  }
  // 7. Remove nodes that no longer check.
  const gone = draft.server.id === here && draft.server.asked === undefined
    ? question.silent.flatMap((silent) => {
      const [other = "", time] = silent.split("@");
      return draft.nodes.get(other)?.split(" ")[0] === time ? other : [];
    })
    : [];
  for (const other of gone) {
    draft.nodes.delete(other);
    draft.saves.delete(other);
  }
  return {
    ...findingOf(draft),
    wrong,
    state: draft.server.id === here ? "confirmed" : "unconfirmed",
    lineage: draft.server.lineage ?? "",
    joinedAt,
    nodes: new Map(
      [...draft.nodes].map((
        [node, beat],
      ) => [node, { offset: beat.split(" ")[1] ?? "", beat }]),
    ),
  };
}

/**
 * Models step 6 of the script `CHECK`: the epoch continues on this server if every registered node has checked here and
 * a node that has read the epoch has confirmed it.
 */
function confirm(
  draft: Draft,
  { candidate, known }: Pick<Question, "candidate" | "known">,
  vouches: boolean,
  mutant: Mutant,
): void {
  const { here, now } = draft;
  for (const other of known) {
    if (!draft.nodes.has(other)) draft.nodes.set(other, "0 0-0 -");
  }
  if (vouches && draft.server.id !== here) {
    draft.server = { ...draft.server, vouched: true };
  }
  const absent = mutant.confirmsAlone ? [] : [...draft.nodes].flatMap((
    [other, beat],
  ) => ["left", here].includes(beat.split(" ")[2] ?? "") ? [] : other);
  const waited = now - (draft.server.since ?? 0);
  if (absent.length === 0) {
    if (draft.server.id !== here) {
      if (!draft.server.vouched) draft.begin(candidate);
      else {
        const { unsaved, lineage = "" } = draft.server;
        draft.server = {
          ...draft.server,
          id: here,
          lineage: unsaved ? candidate : lineage,
        };
      }
    }
    draft.settle();
  } else if (waited < 0 || waited > CONFIRM_TIMEOUT_MS) {
    for (const other of absent) {
      draft.nodes.delete(other);
      draft.saves.delete(other);
    }
    draft.begin(candidate);
    draft.settle();
  }
}

function findingOf(draft: Draft): Omit<Finding, "wrong" | "state"> {
  const { now, last, total, epoch, here } = draft;
  return {
    now,
    epoch: epoch?.name ?? "",
    began: epoch?.began ?? ID_ZERO,
    last,
    lastIsEntry: draft.exists(last),
    total,
    server: here,
    why: "",
    lineage: "",
    joinedAt: "",
    nodes: new Map(),
  };
}

/** What a script sees of the server on which it runs. */
export interface Place {
  readonly now: number;
  readonly step: number;
  /** `<run id>:<replication id>` */
  readonly here: string;
  readonly role: "master" | "replica";
}

/** Models the script `CHECK`: returns the data after the script, and the script's result. */
export function check(
  data: Data,
  { now, step, here, role }: Place,
  question: Question,
  mutant: Mutant = {},
): [Data, Finding] {
  const draft = new Draft(data, now, step, here, mutant);
  if (role === "replica") {
    const { epoch } = question;
    const back = epoch !== "" && draft.epoch !== undefined &&
      lost(
          draft,
          { ...question, acknowledged: [] },
          draft.epoch.name === epoch,
        ) !== undefined;
    return [data, {
      ...findingOf(draft),
      wrong: back ? "back" : "",
      state: "replica",
    }];
  }
  const finding = checkOnMaster(draft, question, mutant);
  const { log, epoch, server, nodes, saves } = draft;
  return [{ ...data, log, epoch, server, nodes, saves }, finding];
}

/** The result of the model's {@linkcode append}. */
export interface AppendAnswer {
  readonly entry: ModelEntry;
  /** The log's last id. */
  readonly last: string;
}

/** Models the script `APPEND` for one publish to one room, or for a probe. */
export function append(
  data: Data,
  { now, step, here }: Place,
  { candidate, kind, name, value, key }: {
    candidate: string;
    kind: "run" | "probe";
    name: string;
    value: number;
    key: string | undefined;
  },
  mutant: Mutant = {},
): [Data, AppendAnswer] {
  const draft = new Draft(data, now, step, here, mutant);
  draft.ensure(candidate);
  const known = key === undefined ? undefined : data.keys.get(key);
  const entry = known ?? draft.add(candidate, kind, name, value);
  const { log, epoch, server } = draft;
  const keys = key === undefined || known
    ? data.keys
    : new Map([...data.keys, [key, entry]]);
  return [
    { ...data, log, epoch, server, keys },
    { entry, last: draft.last },
  ];
}

/** Models the script `SAVE` of `lib/sessions/redis_store.ts`. */
export function save(
  data: Data,
  node: string,
  count: number,
  sessions: readonly SessionToSave[],
): [Data, displaced: Set<string>] {
  const all = new Map(data.sessions);
  const displaced = new Set<string>();
  for (const { digest, session, resumedVersion } of sessions) {
    const stored = all.get(digest);
    const { generation = 0, owner = "" } = stored ?? {};
    const may = (generation === session.generation &&
      owner === session.owner) ||
      (resumedVersion === undefined
        ? generation < session.generation
        : JSON.stringify(stored) === resumedVersion);
    if (may) all.set(digest, session);
    else displaced.add(digest);
  }
  const saves = new Map(data.saves).set(node, count);
  return [{ ...data, sessions: all, saves }, displaced];
}

/** A model of one Redis server process, from its start to its end. */
export class Server {
  /** All states of the server's data, oldest first. A replica has the states of its master. */
  states: Data[] = [EMPTY];
  master: Server | undefined;
  /** On a replica, the number of the master's states that the replica has received. */
  applied = 1;
  dead = false;
  /** Commands of closed connections that the server has not executed yet. */
  readonly late: ((server: Server) => unknown)[] = [];
  /** How often the server became a replica. Each time, connections that wait for entries get an error. */
  demotions = 0;
  /** When another server was promoted in place of this one; `Infinity` if none was. */
  replacedAt = Infinity;

  constructor(readonly runId: string, public replicationId: string) {}

  get here(): string {
    return `${this.runId}:${
      this.master?.here.split(":")[1] ?? this.replicationId
    }`;
  }

  get role(): "master" | "replica" {
    return this.master === undefined ? "master" : "replica";
  }

  get data(): Data {
    return (this.master === undefined
      ? this.states.at(-1)
      : this.master.states[this.applied - 1]) ?? EMPTY;
  }

  set data(data: Data) {
    if (data !== this.data) this.states.push(data);
  }

  /** Executes the oldest command of the closed connections. */
  runLate(): void {
    try {
      this.late.shift()?.(this);
    } catch {
      // The error reaches no client, because the connection is closed.
    }
  }

  /** Makes this server a replica of `master`, without the master's newest `behind` states. */
  follow(master: Server, behind = 0): void {
    if (this.master === undefined) this.demotions++;
    this.master = master;
    this.applied = Math.max(1, master.states.length - behind);
  }

  /** Lets this replica receive the next `count` states of its master. */
  replicate(count: number): void {
    const length = this.master?.states.length ?? 0;
    this.applied = Math.min(length, this.applied + Math.max(0, count));
  }

  /** Promotes this replica: makes it a master with the data that it has. */
  promote(replicationId: string): void {
    this.states = [this.data];
    this.master = undefined;
    this.replicationId = replicationId;
    this.replacedAt = Infinity;
  }
}
