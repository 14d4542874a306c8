/**
 * The part of a modelled node that handles clients: a model of `lib/clients/`, `lib/recovery/recovery.ts` and
 * `lib/sessions/writer.ts`. It calls real functions that do not wait: {@linkcode Recovery.collect},
 * {@linkcode missedBy}, {@linkcode positionAtConnect}, {@linkcode noteGaps} and those of offsets.
 */
import type { LogParts } from "../../lib/log/log.ts";
import {
  noteGaps,
  positionAtConnect,
} from "../../lib/clients/room_positions.ts";
import { CONNECT_NUMBER, missedBy } from "../../lib/clients/missed.ts";
import { formatOffset, readOffset } from "../../lib/socketio/offset.ts";
import { compareIds, idBefore, idOf, laterId } from "../../lib/log/position.ts";
import {
  isGap,
  type JoinResult,
  type PreparedJoin,
} from "../../lib/recovery/join_result.ts";
import { Recovery } from "../../lib/recovery/recovery.ts";
import type { JoinRequest } from "../../lib/recovery/join_request.ts";
import type { GapReason } from "../../lib/log/gaps.ts";
import type { RoomPosition, Session } from "../../lib/sessions/session.ts";
import type { Shown, Socket } from "./failover_clients.ts";
import type { World } from "./failover_model.ts";
import { entriesAfter, type ModelNode, toEntry } from "./failover_node.ts";
import type { ModelEntry } from "./failover_redis.ts";
import type { Work } from "./failover_wire.ts";
import { makeReplayMemory } from "./replay_memory.ts";

const START_TIMEOUT_MS = 5000;
const LOAD_TIMEOUT_MS = 3000;
const BEHIND_TIMEOUT_MS = 3000;
const CONFIRM_TIMEOUT_MS = 3000;
const SAVE_DELAY_MS = 5;
const SAVE_AGAIN_MS = 1000;
const ATTEMPTS_MAX = 3;
const UNNUMBERED = Number.MAX_SAFE_INTEGER;

/** What a node knows of a connected client. */
interface NodeClient {
  readonly pid: string;
  readonly socket: Socket;
  readonly generation: number;
  readonly owner: string;
  resumedVersion: string | undefined;
  readonly rooms: Map<string, RoomPosition>;
}

/** The result of reading a room's history up to the id `end`. */
interface Read {
  readonly entries: readonly ModelEntry[];
  readonly completeSince: string | undefined;
  readonly end: string;
}

/** Thrown if a client cannot connect now and has to connect again later. */
class Temporary extends Error {}

/** Handles the clients, sessions and recoveries of one modelled node. */
export class NodeClients {
  readonly #world: World;
  readonly #node: ModelNode;
  readonly #recovery: Recovery;
  readonly #sockets = new Set<Socket>();
  readonly #clients = new Map<Socket, NodeClient>();
  readonly #unsaved = new Map<NodeClient, ((saved: boolean) => void)[]>();
  #saving = false;

  constructor(world: World, node: ModelNode) {
    this.#world = world;
    this.#node = node;
    const log = {
      get head() {
        return node.head;
      },
    };
    const { gaps } = node;
    this.#recovery = new Recovery(
      { log, gaps } as LogParts,
      node.ring,
      makeReplayMemory(),
    );
  }

  /** Closes all connections of clients, as at the end of the process. */
  close(): void {
    for (const socket of this.#sockets) socket.close();
  }

  /** Handles the connect of a client. */
  admit(socket: Socket, shown: Shown): void {
    this.#sockets.add(socket);
    this.#node.spawn(this.#admit(socket, shown));
  }

  /** Handles the request of a client to join a room. */
  join(socket: Socket, room: string): void {
    const client = this.#clients.get(socket);
    if (client !== undefined) this.#node.spawn(this.#join(client, room));
  }

  /** Handles the end of a client's connection. */
  left(socket: Socket): void {
    this.#sockets.delete(socket);
    this.#clients.delete(socket);
  }

  deliver({ id, name: room, value }: ModelEntry): void {
    for (const [socket, { rooms }] of this.#clients) {
      if (!socket.rooms.has(room) || !rooms.has(room)) continue;
      socket.send({ kind: "message", room, value, offset: id });
    }
  }

  /** Models `FanOut.gap` and `Clients.gap`. */
  gap(id: string, since: string, reason: GapReason): void {
    const unconfirmed = laterId(idBefore(id), idOf(since));
    for (const [socket, client] of this.#clients) {
      for (const room of client.rooms.keys()) {
        if (socket.rooms.has(room)) {
          socket.send({ kind: "gap", room, offset: id });
        }
        client.rooms.set(room, {
          since: id,
          notice: { at: unconfirmed, number: UNNUMBERED, gap: reason },
        });
      }
    }
    this.saveAll();
  }

  saveAll(): void {
    for (const client of this.#clients.values()) this.#save(client);
  }

  *#admit(socket: Socket, shown: Shown): Work {
    try {
      yield* this.#tryAdmit(socket, shown);
    } catch {
      socket.close();
    }
  }

  /** Models `Admissions.#tryAdmit` and `Clients.welcome`. */
  *#tryAdmit(socket: Socket, { pid: known, offset: last, rooms }: Shown): Work {
    const node = this.#node;
    const late = node.after(START_TIMEOUT_MS);
    yield () => node.head.epoch !== "" || late();
    if (node.head.epoch === "") throw new Temporary("not started");
    const shown = readOffset(last);
    const offset = shown?.id;
    const session = known === undefined ? undefined : yield* this.#load(known);
    const requests: JoinRequest[] =
      session === undefined || session === "unreachable"
        ? rooms.map((room) =>
          session === undefined || offset === undefined
            ? { room }
            : { room, since: { epoch: undefined, id: offset } }
        )
        : missedBy(this.#trusted(session), shown);
    const gone = known === undefined || session !== undefined
      ? undefined
      : offset !== undefined && compareIds(offset, node.head.began) < 0
      ? "epoch"
      : "expired";
    const prepared: PreparedJoin[] = [];
    for (const request of requests) {
      prepared.push(
        gone === undefined ? yield* this.#prepare(request) : {
          request,
          reason: gone,
          prefix: [],
          epoch: node.head.epoch,
        },
      );
    }
    const recovered = session !== undefined && session !== "unreachable" &&
      prepared.every(({ reason }) => reason === undefined);
    const client: NodeClient = {
      pid: recovered && known !== undefined ? known : this.#world.name(),
      socket,
      generation: Math.max(
        recovered ? session.generation : 0,
        shown?.confirms?.generation ?? 0,
      ) + 1,
      owner: this.#world.name(),
      resumedVersion: recovered ? JSON.stringify(session) : undefined,
      rooms: this.#positionsOf(prepared, offset),
    };
    const { lineage } = node.head;
    // A real node admits the client without a saved session and saves it again later. The limit is stated in
    // `docs/decisions/0007-recovery.md`.
    if (!(yield* this.#saved(client))) throw new Temporary("not saved");
    const collected = this.#recovery.collect(prepared);
    if (
      !socket.open || collected === undefined ||
      node.head.lineage !== lineage ||
      prepared.some(({ epoch }) => epoch !== node.head.epoch) ||
      (recovered && collected.some(({ reason }) => reason !== undefined))
    ) throw new Temporary("changed meanwhile");
    this.#welcome(client, collected, recovered);
  }

  #welcome(
    client: NodeClient,
    collected: readonly JoinResult[],
    recovered: boolean,
  ): void {
    const { id } = this.#node.head;
    const { pid, socket, generation } = client;
    for (const [other, { pid }] of this.#clients) {
      if (pid === client.pid) other.close();
    }
    this.#clients.set(socket, client);
    const rooms = collected.map(({ room, recovered }) =>
      [room, recovered] as const
    );
    socket.send({ kind: "connect", recovered, pid, rooms });
    const messages = collected.flatMap(({ messages }) => messages)
      .sort((a, b) => compareIds(a.id, b.id));
    for (const { id, room, json } of messages) {
      socket.send({ kind: "message", room, value: Number(json), offset: id });
    }
    for (const { room, reason } of collected) {
      if (reason !== undefined) socket.send({ kind: "gap", room, offset: id });
    }
    for (const { room } of collected) {
      socket.send({ kind: "joined", offset: id });
      socket.rooms.add(room);
    }
    if (client.rooms.values().some(({ notice }) => notice !== undefined)) {
      const offset = formatOffset(id, { generation, number: CONNECT_NUMBER });
      socket.send({ kind: "position", offset });
    }
    if (collected.some(isGap)) {
      noteGaps(client, collected, id);
      this.#save(client);
    }
  }

  #positionsOf(
    prepared: readonly PreparedJoin[],
    shown: string | undefined,
  ): Map<string, RoomPosition> {
    const { id } = this.#node.head;
    const results = this.#recovery.collect(prepared);
    if (results === undefined) throw new Temporary("too fast");
    return new Map(
      results.map((result) => [
        result.room,
        positionAtConnect(result, id, shown),
      ]),
    );
  }

  #trusted(session: Session): Session {
    return session.lineage === this.#node.head.lineage
      ? session
      : { ...session, epoch: "" };
  }

  /** Models `Admissions.#load`. */
  *#load(pid: string): Work<Session | "unreachable" | undefined> {
    const late = this.#node.after(LOAD_TIMEOUT_MS);
    for (;;) {
      try {
        const session = yield* this.#node.command(({ data }) =>
          data.sessions.get(pid)
        );
        if (this.#node.head.confirmed) return session;
      } catch {
        // The node asks again.
      }
      if (late()) return "unreachable";
      yield this.#node.after(50);
    }
  }

  /** Models `Recovery.prepare`. */
  *#prepare(request: JoinRequest): Work<PreparedJoin> {
    const { head, ring } = this.#node;
    const { epoch } = head;
    const { since } = request;
    const refused = (reason: GapReason): PreparedJoin => ({
      request,
      reason,
      prefix: [],
      epoch,
    });
    if (request.gap !== undefined) return refused(request.gap);
    if (since === null) return refused("position");
    if (since === undefined) return { request, prefix: [], epoch };
    const ofAnother = compareIds(since.id, head.began) < 0;
    if (ofAnother || (since.epoch !== undefined && since.epoch !== epoch)) {
      return refused("epoch");
    }
    if (!(yield* this.#caughtUp(since.id))) return refused("position");
    if (!(yield* this.#isOfThisLog(since))) return refused("position");
    if (this.#node.head.epoch !== epoch) return refused("epoch");
    if (ring.covers(since.id)) {
      return { request, prefix: [], from: since.id, epoch };
    }
    const { entries, completeSince, end } = yield* this.#read(
      request.room,
      since.id,
    );
    if (this.#node.head.epoch !== epoch) return refused("epoch");
    if (
      completeSince === undefined || compareIds(completeSince, since.id) > 0
    ) {
      return refused("trimmed");
    }
    return { request, prefix: entries.map(toEntry), from: end, epoch };
  }

  /** Models `SharedReads.read` for a single client. */
  *#read(room: string, from: string): Work<Read> {
    const { epoch } = this.#node.head;
    for (let attempts = 0; attempts < ATTEMPTS_MAX; attempts++) {
      const read = yield* this.#node.command(({ data }): Read => ({
        entries: entriesAfter(data.log, from).filter(({ kind, name }) =>
          kind === "run" && name === room
        ),
        completeSince: data.epoch?.name === epoch &&
            compareIds(from, data.log.at(-1)?.id ?? "0-0") <= 0
          ? "0-0"
          : undefined,
        end: data.log.at(-1)?.id ?? "0-0",
      }));
      if (
        read.completeSince === undefined ||
        ((yield* this.#caughtUp(read.end)) && this.#node.ring.covers(read.end))
      ) return read;
    }
    throw new Temporary("too fast");
  }

  /** Models `Recovery.#caughtUp`. */
  *#caughtUp(id: string): Work<boolean> {
    const late = this.#node.after(BEHIND_TIMEOUT_MS);
    const there = (): boolean => compareIds(id, this.#node.head.id) <= 0;
    yield () => there() || late();
    if (!there()) yield* this.#node.probe();
    return there();
  }

  /** Models `Recovery.isOfThisLog`. */
  *#isOfThisLog(
    { epoch, id }: { epoch: string | undefined; id: string },
  ): Work<boolean> {
    const node = this.#node;
    if (node.ring.has(id) || node.witness.hasRead(id)) return true;
    const late = node.after(CONFIRM_TIMEOUT_MS);
    yield () => node.head.confirmed || late();
    if (!node.head.confirmed) throw new Temporary("not confirmed");
    return epoch !== undefined || (yield* node.command(({ data: { log } }) => {
      const [oldest] = log;
      return oldest === undefined || compareIds(id, oldest.id) < 0 ||
        log.some((entry) => entry.id === id);
    }));
  }

  /** Models `Subscriptions.join` for a request without earlier messages. */
  *#join(client: NodeClient, room: string): Work {
    const { socket } = client;
    if (client.rooms.has(room)) return;
    client.rooms.set(room, { since: this.#node.head.id });
    if (!(yield* this.#saved(client))) {
      client.rooms.delete(room);
      if (this.#clients.has(socket)) this.#save(client);
      return;
    }
    if (!this.#clients.has(socket)) return;
    const { id } = this.#node.head;
    client.rooms.set(room, { since: id });
    this.#save(client);
    socket.rooms.add(room);
    socket.send({ kind: "answer", room });
  }

  /** Models `SessionWriter.saveAndWait`. */
  *#saved(client: NodeClient): Work<boolean> {
    let saved: boolean | undefined;
    this.#save(client);
    this.#unsaved.get(client)?.push((done) => saved = done);
    yield () => saved !== undefined;
    return saved ?? false;
  }

  #save(client: NodeClient): void {
    if (!this.#unsaved.has(client)) this.#unsaved.set(client, []);
    if (this.#saving) return;
    this.#saving = true;
    this.#node.spawn(this.#saveAll());
  }

  /** Models `SessionWriter.#saveAll`. */
  *#saveAll(): Work {
    yield this.#node.after(SAVE_DELAY_MS);
    this.#saving = false;
    const batch = [...this.#unsaved];
    this.#unsaved.clear();
    const { epoch, lineage } = this.#node.head;
    const sessions = batch.map(([client]) => {
      const { pid, rooms, generation, owner, resumedVersion } = client;
      const session = {
        rooms: [...rooms],
        epoch,
        lineage,
        generation,
        owner,
      };
      return { digest: pid, session, resumedVersion };
    });
    const tell = (isSaved: (pid: string) => boolean): void => {
      for (const [client, waiting] of batch) {
        const saved = isSaved(client.pid);
        if (saved) client.resumedVersion = undefined;
        for (const told of waiting) told(saved);
      }
    };
    try {
      const displaced = yield* this.#node.save(sessions);
      for (const [{ socket, pid }] of batch) {
        if (displaced.has(pid) && this.#clients.has(socket)) socket.close();
      }
      tell((pid) => !displaced.has(pid));
    } catch {
      tell(() => false);
      yield this.#node.after(SAVE_AGAIN_MS);
      for (const [client] of batch) {
        if (this.#clients.has(client.socket)) this.#save(client);
      }
    }
  }
}
