// deno-lint-ignore-file no-explicit-any -- messages have any type, and a program that uses them knows which
/**
 * The types of Roomcast's client module, and of the events of a plain socket.io client:
 *
 *     const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io();
 *
 * @module
 */

/** Why messages that a client missed cannot be recovered. */
export type GapReason =
  | "trimmed"
  | "epoch"
  | "expired"
  | "overloaded"
  | "ingress"
  | "position";

/** Why the server has taken a client out of a room. */
export type LeftReason = "revoked" | "expired" | "removed";

/** What a client receives with a message. */
export interface MessageFacts {
  /** The name of the room. */
  room: string;
  /** The time of the message in ms since 1970, by the log's clock. */
  at: number;
  /** The verified user who published the message from a client. */
  from?: string | undefined;
}

/** Listens to the messages of one event. `id` is the message's id. */
export type MessageListener<T = any> = (
  message: T,
  facts: MessageFacts,
  id: string,
) => void;

/** What a client receives when it is in a room. */
export interface Joined {
  room: string;
  /** The position up to which the client has every message that it asked for. */
  position: string;
  /** Whether the client named a position and gets every message after it. */
  recovered: boolean;
  /** Why messages are missing; undefined if none are. */
  reason?: GapReason | undefined;
}

/**
 * The events that a client receives. A message that was published with the name of an event arrives as this event; add
 * it like this:
 *
 *     interface Events extends ServerToClientEvents {
 *       "order.paid": MessageListener<Order>;
 *     }
 */
export interface ServerToClientEvents {
  /** A message was published without the name of an event. */
  msgReceived: MessageListener;
  /** The client is in a room. Sent once for each room at connect, and when a backend puts the client into a room. */
  joined: (joined: Joined, id: string) => void;
  /** Messages of a room may be missing after `since`, and cannot be recovered. */
  gap: (
    gap: { room: string; reason: GapReason; since: string | null },
    id: string,
  ) => void;
  /** Confirms the answer to a join. Clients need not handle it. */
  position: (place: { room: string; position: string }, id: string) => void;
  /** The server has taken the client out of a room. */
  left: (left: { room: string; reason: LeftReason }) => void;
  /** The client's token expires at this time, in ms since 1970. */
  token_expiring: (expiring: { expiresAt: number }) => void;
}

/** A room that a client wants to be in. */
export interface RoomRequest {
  /** The name of one room; clients cannot join patterns such as `news.*`. */
  room: string;
  /** A position or the id of a message: the client first receives everything after it. */
  since?: string | undefined;
  /** How many of the newest messages the client first receives, 0 to 1,000. Ignored if `since` is given. */
  last?: number | undefined;
  /** A room token, which lets the client into this room although its own token does not. */
  token?: string | undefined;
  /** Any JSON of at most 8 KiB for the join hook of your backend. */
  data?: unknown;
}

/** What a client sends as `auth` when it connects. All other fields are passed on to the connect hook. */
export interface Auth {
  /** The client's token; needed if the server has `TOKEN_SECRET` or `TOKEN_JWKS_URL`. */
  token?: string | undefined;
  /** The rooms to join; by default those of `ROOMS`. At most `ROOMS_PER_CLIENT_MAX`. */
  rooms?: (string | RoomRequest)[] | undefined;
  [field: string]: unknown;
}

/** The answer to a request that the server has refused. */
export interface Failed {
  ok: false;
  /** `code` is one of the error codes of the HTTP API, or a code of a hook. */
  error: { code: string; message: string };
  /** Seconds after which the same request may succeed; undefined if it will not. */
  retryAfter?: number | undefined;
}

/** A message that a client publishes. */
export interface PublishRequest {
  room: string;
  /** The name of the event with which clients receive the message; by default `msgReceived`. */
  event?: string | undefined;
  message: any;
  /** An idempotency key: the same key gives the same id and one message. */
  key?: string | undefined;
}

/** The answer to `publish`. `duplicate` says whether the message was stored before, with the same key. */
export type PublishAnswer =
  | { ok: true; id: string; duplicate: boolean }
  | Failed;

/** A message in the answer to `join`. */
export interface HistoryMessage {
  id: string;
  /** The name of the message's event, if it is not `msgReceived`. */
  event?: string | undefined;
  message: any;
  at: number;
  from?: string | undefined;
}

/** The answer to `join`. */
export type JoinAnswer =
  | (Joined & { ok: true; messages: HistoryMessage[] })
  | Failed;

/** The events that a client sends, each with the function that gets the answer. */
export interface ClientToServerEvents {
  /** Joins a room. No message of the room comes before the answer. */
  join: (request: RoomRequest, answer: (answer: JoinAnswer) => void) => void;
  /** Leaves a room. */
  leave: (
    request: { room: string },
    answer: (answer: { ok: true } | Failed) => void,
  ) => void;
  /** Publishes a message into a room. */
  publish: (
    request: PublishRequest,
    answer: (answer: PublishAnswer) => void,
  ) => void;
  /** Replaces the client's token by a new one of the same user. */
  refresh: (
    request: { token: string },
    answer: (
      answer: { ok: true; expiresAt?: number | undefined } | Failed,
    ) => void,
  ) => void;
}

/** What `onMessage` and the listeners of `on()` get with a message. */
export interface MessageInfo extends MessageFacts {
  /** The id of the message. */
  id: string;
  /** The name of the event with which the message was published, by default `msgReceived`. */
  event: string;
}

/** Why the server refused something: one of the error codes of the HTTP API or a code of a hook, and a text for people. */
export interface Reason {
  code: string;
  message: string;
}

/**
 * Returns the state of a room, or a promise of it. The state has to contain everything that was published before the
 * call. `signal` is aborted if the state is no longer needed.
 */
export type GetState = (
  load: { room: string; position: string; signal: AbortSignal },
) => any;

/** The settings of {@linkcode roomcast}. */
export interface Settings {
  /** The URL of the server; by default the origin of the page. */
  url?: string | undefined;
  /** The names of the rooms to join. */
  rooms: Iterable<string>;
  /** How many earlier messages to receive in a room without a position. */
  last?: number | undefined;
  /**
   * How long a publish is sent again until it is answered, in s, by default 300. It has to be less than
   * `IDEMPOTENCY_SECONDS` of the server.
   */
  retrySeconds?: number | undefined;
  /** Options for `io`; the fields of `auth`, an object or a function, are sent as well. */
  options?: object | undefined;
  /** Stores the positions; by default `sessionStorage`. */
  storage?: {
    getItem: (key: string) => any;
    setItem: (key: string, value: string) => void;
  } | undefined;
  /** Loads the state of a room, for all rooms that have no function of their own. */
  getState?: GetState | undefined;
  /** Called for each message, whatever its event. */
  onMessage?: ((message: any, info: MessageInfo) => void) | undefined;
  /** Called if messages of a room are missing. */
  onGap?:
    | ((gap: { room: string; reason: GapReason; id: string }) => void)
    | undefined;
  /** Called with the state of a room, right before the messages after it. */
  onLoaded?:
    | ((state: any, info: { room: string; position: string }) => void)
    | undefined;
  /**
   * Called when `getState` is called, when it is to be called again in `retryMs` because it failed, and when the module
   * has given up.
   */
  onLoading?: ((load: Loading) => void) | undefined;
  /** Called when a room is joined, also after each reconnect. */
  onJoined?: ((joined: Joined) => void) | undefined;
  /** `why` is the reason that the server gave for refusing or closing the connection; undefined if it gave none. */
  onState?: ((state: ConnectionState, why?: Reason) => void) | undefined;
  /** Called if the server has taken the client out of a room. The room is then forgotten, but not its position. */
  onLeft?: ((left: { room: string; reason: LeftReason }) => void) | undefined;
  /** Called if the server rejects the connection, or, with `room`, if it permanently rejects the join of a room. */
  onRefused?: ((error: any, room?: string) => void) | undefined;
}

/** The state of the connection. */
export type ConnectionState =
  | "connecting"
  | "connected"
  | "reconnecting"
  | "disconnected";

/** What happens to the state of a room. */
export interface Loading {
  room: string;
  status: "loading" | "retrying" | "failed";
  /** What `getState` has thrown. */
  error?: any;
  /** After how many ms `getState` is called again. */
  retryMs?: number | undefined;
}

/** A client. */
export interface Roomcast {
  /** The socket of socket.io-client. */
  readonly socket: any;
  /** Calls `listener` for each message with this event from now on. Returns the function that ends this. */
  on<T = any>(
    event: string,
    listener: (message: T, info: MessageInfo) => void,
  ): () => void;
  /**
   * Joins a room, from its position if it has one. `token` returns a room token, or a promise of one. It is called at
   * each join, also after a reconnect and after the last token has expired. `getState` loads the state of this room.
   */
  join(
    room: string,
    options?: { token?: () => any; getState?: GetState },
  ): void;
  /** Loads the state of a room again, for example because `getState` has failed too often. */
  reload(room: string): void;
  /** Leaves a room and deletes its position. */
  leave(room: string): void;
  /**
   * Publishes a message once, also if connections break, and resolves when it is stored. Rejects with an error that has
   * the `code` and the `message` of the refusal.
   */
  publish(
    room: string,
    message: any,
    options?: { event?: string; key?: string },
  ): Promise<{ id: string; duplicate: boolean }>;
  /** Disconnects permanently, and rejects the publishes that are not answered. The positions stay in the storage. */
  close(): void;
}

/**
 * Connects, joins `rooms`, and reconnects until `close()` of the returned object is called or the server rejects the
 * connection permanently.
 *
 * @param io of socket.io-client
 */
export function roomcast(
  io: (...args: any[]) => any,
  settings: Settings,
): Roomcast;
