/**
 * An embedded node without a protocol's server: clients, log, ring and fan-out, with connections that record what is
 * written to them.
 */
import type { Access } from "../../lib/access/access.ts";
import { makePrincipal, type Principal } from "../../lib/access/principal.ts";
import { Rights } from "../../lib/access/rights.ts";
import type { Hello } from "../../lib/clients/hello.ts";
import type { Client, Joined } from "../../lib/clients/client.ts";
import { Clients } from "../../lib/clients/clients.ts";
import type { Shown } from "../../lib/clients/missed.ts";
import type { ClusterCommand } from "../../lib/cluster/cluster.ts";
import { Delivery } from "../../lib/delivery/delivery.ts";
import { FanOut } from "../../lib/delivery/fanout.ts";
import { Ring } from "../../lib/delivery/ring.ts";
import {
  type GapNotice,
  type ReplayWatcher,
  Subscriber,
} from "../../lib/delivery/subscriber.ts";
import { Directives } from "../../lib/directives/directives.ts";
import { ApiError, type ErrorCode } from "../../lib/errors.ts";
import { type HeadState, LogHead } from "../../lib/log/head.ts";
import type { Entry, Log } from "../../lib/log/log.ts";
import { MemoryLog } from "../../lib/log/memory_log.ts";
import type { Observation } from "../../lib/observer.ts";
import type { JoinRequest } from "../../lib/recovery/join_request.ts";
import type { ReplayLimits } from "../../lib/recovery/replay_limits.ts";
import type { ReplayMemory } from "../../lib/recovery/replay_memory.ts";
import {
  MemorySessionStore,
  type SessionStore,
  type SessionToSave,
  type StoredSession,
} from "../../lib/sessions/store.ts";
import { makeReplayMemory } from "./replay_memory.ts";
import { soon } from "./wait.ts";

/** The encoder of a protocol whose frames are lists of texts. */
const encoder = {
  messages: (entries: readonly Entry[]) =>
    entries.map(({ room, json }) => `${room} ${json}`),
  gap: ({ room, reason, since }: GapNotice) => [
    `gap ${room} ${reason} ${since}`,
  ],
  event: (name: string, facts: Readonly<Record<string, unknown>>) => [
    [name, ...Object.values(facts)].join(" "),
  ],
  position: (
    { room }: { readonly room: string },
    _id: string,
    { number }: { readonly number: number },
  ) => [`position ${room} ${number}`],
};

/** Records what is written to one client. */
export class RecordingConnection extends Subscriber {
  /**
   * What was written, in order: `room json` for a message, `gap room reason since` for a gap, and `told room …` for a
   * call of `tell`, and the name and the facts of any other event.
   */
  readonly written: string[] = [];
  /** The argument of each call of `tell`. The first call is made when the client connects. */
  readonly told: Joined[] = [];
  isOpen = true;
  /** Whether the client was told not to connect again by itself. */
  isDismissed = false;
  override readonly encoder = encoder;
  override closed = false;
  override idle = true;
  override bufferedBytes = 0;
  override requestedBytes = 0;

  override write(frame: readonly string[]): void {
    this.written.push(...frame);
  }

  override writeLatest(_room: string, frame: readonly string[]): number {
    this.write(frame);
    return 0;
  }

  override replay(entries: readonly Entry[], watcher?: ReplayWatcher): void {
    this.write(encoder.messages(entries));
    watcher?.finished();
  }

  override respond(write: () => void): void {
    write();
  }

  override disconnect(): void {
    this.isOpen = false;
  }

  override dismiss(): void {
    this.isDismissed = true;
    super.dismiss();
  }

  /** Records a call of `tell`. */
  readonly tell = (joined: Joined): void => {
    this.told.push(joined);
    this.write([`told ${joined.rooms.map(({ room }) => room).join(" ")}`]);
  };

  /** The offset that a stock client would send now: the id of the last call of `tell`, and its notice if it had one. */
  get shown(): Shown | undefined {
    const last = this.told.at(-1);
    if (last === undefined) return undefined;
    const { id, notice } = last;
    return notice === undefined ? { id } : { id, confirms: notice };
  }
}

/** A connected client, with the results of its admission. */
export interface Connected {
  readonly client: Client;
  readonly secret: string;
  readonly recovered: boolean;
  readonly connection: RecordingConnection;
}

/** A session store whose loads and saves fail while `isDown` is set. */
export class FailingStore extends MemorySessionStore {
  isDown = false;

  override async save(
    sessions: readonly SessionToSave[],
    seconds: number,
  ): Promise<ReadonlySet<string>> {
    this.#check();
    return await super.save(sessions, seconds);
  }

  override async load(digest: string): Promise<StoredSession | undefined> {
    this.#check();
    return await super.load(digest);
  }

  #check(): void {
    if (this.isDown) throw new ApiError("log_unreachable", "Cannot: down");
  }
}

/** Returns a check that an error has this code, for `assert.rejects()`. */
export function failsWith(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof ApiError && error.code === code;
}

/** Options of {@linkcode ClientsSetup}. */
export interface ClientsSetupOptions {
  readonly rooms?: readonly string[];
  readonly roomsPerClientMax?: number;
  readonly ringBytes?: number;
  readonly sessions?: SessionStore;
  readonly replayLimits?: Partial<ReplayLimits>;
  /** By default, everyone may join every room that is not in {@linkcode ClientsSetup.forbidden}. */
  readonly access?: Access;
  /** By default, a list that is loaded and empty. */
  readonly directives?: Directives;
}

/** The parts of an embedded node that handle clients, with a log in memory. */
export class ClientsSetup implements Disposable {
  readonly ring: Ring;
  readonly fanOut: FanOut;
  readonly log: MemoryLog;
  readonly sessions: SessionStore;
  readonly clients: Clients;
  readonly replayMemory: ReplayMemory;
  readonly observed: Observation[] = [];
  /** Commands that were sent to other nodes. */
  readonly sent: ClusterCommand[] = [];
  /** Passes a command to the clients as if another node had sent it. */
  receive: (command: ClusterCommand) => void = () => {};
  /** Rooms that no client may join. */
  readonly forbidden = new Set<string>();
  /** Principals that have been revoked. */
  readonly revoked = new Set<Principal>();
  /** How often it was asked whether a principal has been revoked. */
  revokedAsked = 0;
  /** What backends have said. Tests add to it, and call `clients.directed.apply()`. */
  readonly directives: Directives;
  /** Each room that a client has joined or left, with the client's user. */
  readonly changes: (readonly [room: string, user: string | undefined])[] = [];
  /** Values that replace those of the log's real head. */
  head: Partial<HeadState> = {};
  readonly principal: Principal = makePrincipal({
    kind: "anonymous",
    rights: new Rights([{ rooms: ["*"], actions: ["subscribe"] }]),
  });

  constructor(options: ClientsSetupOptions = {}) {
    const observe = (observation: Observation): void =>
      void this.observed.push(observation);
    this.ring = new Ring(options.ringBytes ?? 1 << 20);
    this.fanOut = new FanOut({
      clientBufferBytesMax: 1000,
      latestOnly: () => false,
      observe,
    });
    this.log = new MemoryLog({
      historySize: 1000,
      historySeconds: 3600,
      idempotencySeconds: 600,
      reader: new Delivery({
        ring: this.ring,
        fanOut: this.fanOut,
        onGap: () => {},
        onLineageChanged: () => {},
      }),
    });
    this.sessions = options.sessions ?? new MemorySessionStore();
    this.directives = options.directives ?? new Directives();
    if (options.directives === undefined) this.directives.loaded();
    this.replayMemory = makeReplayMemory({
      ring: this.ring,
      disconnect: (subscriber, bytes) =>
        this.fanOut.disconnectSlow(subscriber, bytes),
      observe,
      limits: options.replayLimits ?? {},
    });
    this.clients = new Clients({
      log: this.#logWithHead(),
      history: this.log.history,
      gaps: this.log.gaps,
      sessions: this.sessions,
      ring: this.ring,
      replayMemory: this.replayMemory,
      fanOut: this.fanOut,
      access: options.access ?? this.#access(),
      cluster: {
        send: (command) => void this.sent.push(command),
        onCommand: (_, handle) => this.receive = handle as typeof this.receive,
      },
      directives: this.directives,
      changed: (room, user) => void this.changes.push([room, user]),
      rooms: options.rooms ?? ["chat"],
      roomsPerClientMax: options.roomsPerClientMax ?? 100,
      recoverySeconds: 120,
      observe,
    });
  }

  [Symbol.dispose](): void {
    this.clients.close();
  }

  /** Publishes one message to a room. */
  async publish(room: string, json: string): Promise<void> {
    await this.log.append([{ rooms: [room], json }]);
  }

  /** Returns what a new client sends at connect, with the properties of `hello` replaced. */
  hello(hello: Partial<Hello> = {}): Hello {
    return {
      principal: this.principal,
      secret: undefined,
      shown: undefined,
      rooms: undefined,
      isOpen: () => true,
      ...hello,
    };
  }

  /** Connects a client, as the server of a protocol does. A client that a backend has disconnected is dismissed. */
  async connect(hello: Partial<Hello> = {}): Promise<Connected> {
    const admission = await soon(
      this.clients.admit(this.hello(hello)),
      "admitted",
    );
    const connection = new RecordingConnection();
    const { client, secret, recovered } = admission;
    const { tell } = connection;
    const isWelcome = this.clients.welcome(admission, connection, tell);
    if (!isWelcome && !connection.isDismissed) {
      throw new Error("Cannot connect: the admission is outdated");
    }
    return { client, secret, recovered, connection };
  }

  /** Joins a client to a room. */
  async join(
    { client, connection }: Connected,
    request: JoinRequest,
  ): Promise<void> {
    await soon(
      this.clients.join(client, request, connection.tell),
      "the client joins",
    );
  }

  #access(): Access {
    return {
      authenticate: () => Promise.resolve(this.principal),
      asksHook: () => false,
      decide: () => Promise.resolve(this.principal),
      refusal: (_, __, room = "") =>
        this.forbidden.has(room)
          ? new ApiError("unauthorized", "Cannot join: it is forbidden")
          : undefined,
      grant: () => Promise.resolve(undefined),
      mayStay: (_, room) => !this.forbidden.has(room),
      isRevoked: ({ user, tokenId }) => {
        this.revokedAsked++;
        return [...this.revoked].some((revoked) =>
          revoked.user === user && revoked.tokenId === tokenId
        );
      },
      refusalEverywhere: () => undefined,
    };
  }

  /** Returns the log with a head whose values tests can replace by `head`. */
  #logWithHead(): Log {
    const { log } = this;
    const value = <K extends keyof HeadState>(key: K): HeadState[K] =>
      this.head[key] ?? log.head[key];
    const head = new LogHead({
      get epoch() {
        return value("epoch");
      },
      get id() {
        return value("id");
      },
      get began() {
        return value("began");
      },
      get confirmed() {
        return value("confirmed");
      },
      get lineage() {
        return value("lineage");
      },
    });
    return {
      head,
      append: (publishes) => log.append(publishes),
      probe: () => log.probe(),
      knows: () => log.knows(),
      contains: () => log.contains(),
      warnings: () => log.warnings(),
      close: () => log.close(),
    };
  }
}
