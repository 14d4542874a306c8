/**
 * Handles the events of connected clients: `join`, `leave`, `publish` and `refresh`, and all other events, which are
 * answered with an error.
 *
 * @module
 */
import type { Socket } from "socket.io";
import type { Access } from "../access/access.ts";
import type { Client, Joined } from "../clients/client.ts";
import type { Clients } from "../clients/clients.ts";
import type { FanOut } from "../delivery/fanout.ts";
import { type AnyListener, cork, hearAll } from "../engineio/internals.ts";
import { ApiError, LimitExceeded, toApiError } from "../errors.ts";
import { messageJson } from "../log/message_json.ts";
import type { Observe } from "../observer.ts";
import type { ClientPublisher } from "../publish/client_publisher.ts";
import {
  parseJoinRequest,
  parseLeaveRequest,
  parseRefreshRequest,
} from "../recovery/join_request.ts";
import type { JoinResult } from "../recovery/join_result.ts";
import type { Answers, Failed } from "../socket_events/events.ts";
import { DEPTH_MAX, isDeeperThan } from "../util/depth.ts";
import { adviceFor, quoted } from "../util/nearest.ts";
import { EventLimits } from "./input_limits.ts";
import { formatOffset } from "./offset.ts";
import { JsonText } from "./parser.ts";
import { subscriberOf } from "./subscriber.ts";

/** Names that people often use for an event by mistake, each with the event that they mean. */
const INSTEAD: Readonly<Record<string, string>> = {
  message: "publish",
  send: "publish",
  subscribe: "join",
  unsubscribe: "leave",
};

/** Options of {@linkcode Requests}. */
export interface RequestsOptions {
  readonly access: Pick<Access, "authenticate">;
  readonly clients: Clients;
  readonly publisher: Pick<ClientPublisher, "publish">;
  readonly fanOut: Pick<FanOut, "enforceLimit">;
  /** Returns the client of a socket while it is connected. */
  readonly clientOf: (socket: Socket) => Client | undefined;
  /** How many events a client may send per second. */
  readonly eventsPerSecondMax: number;
  /** Called with the error when an event is refused. */
  readonly onRefused: (error: ApiError) => void;
  readonly observe: Observe;
}

/** A function that sends the acknowledgement of an event; undefined if the client wants no acknowledgement. */
type Answer<A> = ((answer: A) => void) | undefined;

/** Handles one request of a client, which is an event that clients may send, and sends the answer. */
type Work<A> = (
  socket: Socket,
  client: Client,
  request: unknown,
  answer: Answer<A>,
) => Promise<void>;

/** Handles and answers the requests of connected clients, which are the events that they may send. */
export class Requests {
  readonly #options: RequestsOptions;
  /** The events that a client may send, by name, each with its handler. */
  readonly #events: ReadonlyMap<string, Work<unknown>> = new Map(
    Object.entries(
      {
        join: this.#join.bind(this),
        leave: this.#leave.bind(this),
        publish: this.#publish.bind(this),
        refresh: this.#refresh.bind(this),
      } satisfies { [E in keyof Answers]: Work<Answers[E]> },
    ),
  );
  readonly #limits: EventLimits;
  /** The clients whose new token is being verified. */
  readonly #refreshing = new WeakSet<Client>();
  // All sockets share one listener, because a closure for each socket would take more memory.
  readonly #listeners = [this.#makeListener()];

  /** Creates the handlers of requests. They have no effect until {@linkcode Requests.serve} is called with a socket. */
  constructor(options: RequestsOptions) {
    this.#options = options;
    this.#limits = new EventLimits(options);
  }

  /** Handles all events of a socket from now on. */
  serve(socket: Socket): void {
    hearAll(socket, this.#listeners);
  }

  #makeListener(): AnyListener {
    const handle = this.#handle.bind(this);
    return function (event, ...args) {
      handle(this, event, args);
    };
  }

  /**
   * Handles an event. Neither this method nor {@linkcode Requests.#start} is `async`, because a function that waits
   * would keep the parsed arguments in memory.
   */
  #handle(socket: Socket, event: unknown, args: unknown[]): void {
    const client = this.#options.clientOf(socket);
    if (client === undefined) return;
    const answer = answerIn(args);
    try {
      this.#start(socket, client, event, args, answer)
        .catch((error) => this.#refuse(socket, error, answer));
    } catch (error) {
      this.#refuse(socket, error, answer);
    }
  }

  /** Starts to handle an event. @throws {ApiError} if the event is refused at once */
  #start(
    socket: Socket,
    client: Client,
    event: unknown,
    args: unknown[],
    answer: Answer<unknown>,
  ): Promise<void> {
    const requests = answer === undefined ? args : args.slice(0, -1);
    this.#limits.count(socket, client);
    // The levels of a published message are limited by themselves, as over HTTP.
    if (event !== "publish" && isDeeperThan(DEPTH_MAX + 1, args)) {
      throw tooDeep(event);
    }
    const work = this.#events.get(String(event));
    if (work === undefined) throw this.#unknown(event);
    if (requests.length !== 1) {
      throw new ApiError(
        "invalid_parameter",
        `Cannot ${event}: the event has ${requests.length} arguments; send one, as in docs/socket-events.md`,
      );
    }
    return work(socket, client, requests[0], answer);
  }

  #unknown(event: unknown): ApiError {
    this.#options.observe({ kind: "unknown_event" });
    const name = String(event);
    const known = [...this.#events.keys()];
    return new ApiError(
      "unknown_event",
      `Cannot handle the event: ${quoted(name)} is unknown; ${
        adviceFor(name, { known, instead: INSTEAD })
      }`,
    );
  }

  async #join(
    socket: Socket,
    client: Client,
    request: unknown,
    answer: Answer<Answers["join"]>,
  ): Promise<void> {
    await this.#options.clients.join(
      client,
      parseJoinRequest(request),
      (joined) => tell(socket, joined, answer),
    );
  }

  async #leave(
    socket: Socket,
    client: Client,
    request: unknown,
    answer: Answer<Answers["leave"]>,
  ): Promise<void> {
    await this.#options.clients.leave(client, parseLeaveRequest(request));
    this.#reply(socket, answer, { ok: true });
  }

  /** Publishes. Not `async`, for the same reason as {@linkcode Requests.#handle}. */
  #publish(
    socket: Socket,
    client: Client,
    request: unknown,
    answer: Answer<Answers["publish"]>,
  ): Promise<void> {
    return this.#options.publisher.publish(client, request).then((
      { id, duplicate },
    ) => this.#reply(socket, answer, { ok: true, id, duplicate }));
  }

  async #refresh(
    socket: Socket,
    client: Client,
    request: unknown,
    answer: Answer<Answers["refresh"]>,
  ): Promise<void> {
    const secret = parseRefreshRequest(request);
    const { access, clients } = this.#options;
    if (this.#refreshing.has(client)) {
      throw new ApiError(
        "overloaded",
        "Cannot refresh: the last token that you sent is still being verified; wait for its answer",
      );
    }
    this.#refreshing.add(client);
    try {
      const principal = await access.authenticate({ from: "client", secret });
      clients.refresh(client, principal);
      const { expiresAt } = principal;
      this.#reply(socket, answer, { ok: true, expiresAt });
    } finally {
      this.#refreshing.delete(client);
    }
  }

  #refuse(socket: Socket, error: unknown, answer: Answer<Failed>): void {
    const refusal = toApiError(error);
    if (refusal.code === "internal") {
      this.#options.observe({
        kind: "error",
        where: "a client's request",
        error,
      });
    }
    this.#options.onRefused(refusal);
    this.#reply(socket, answer, {
      ok: false,
      error: refusal.toJSON(),
      ...refusal.retryable && { retryAfter: refusal.retrySeconds },
    });
  }

  /**
   * Sends a small answer. The bytes of the answer count as buffered, because a client may send requests endlessly and
   * never read the answers.
   */
  #reply<A>(socket: Socket, answer: Answer<A>, facts: A): void {
    answer?.(facts);
    this.#options.fanOut.enforceLimit(subscriberOf(socket));
  }
}

function tooDeep(event: unknown): ApiError {
  return new LimitExceeded(
    "levels",
    "invalid_parameter",
    `Cannot handle the event ${
      quoted(String(event))
    }: its arguments are nested on more than ${DEPTH_MAX} levels; flatten them`,
  );
}

/**
 * Sends the answer to a join. If the answer is a notice, also sends a `position` event in the same write, so that a
 * client that has received the answer also has the event. The event's offset confirms the notice when the client
 * reconnects.
 */
function tell(
  socket: Socket,
  { rooms, position, id, notice }: Joined,
  answer: Answer<Answers["join"]>,
): void {
  const uncork = cork(socket);
  try {
    for (const joined of rooms) {
      (answer as Answer<JsonText>)?.(joinAnswer(joined, position));
    }
    if (notice !== undefined) {
      const { room } = notice;
      socket.emit("position", { room, position }, formatOffset(id, notice));
    }
  } finally {
    uncork();
  }
}

/**
 * Returns the function that sends the acknowledgement of an event; undefined if the client wants no acknowledgement.
 * Socket.IO passes this function as the last of the event's arguments.
 */
function answerIn(args: readonly unknown[]): Answer<unknown> {
  const last = args.at(-1);
  return typeof last === "function" ? last as Answer<unknown> : undefined;
}

/** Returns the answer to a join. It may have many messages, which are JSON already. */
function joinAnswer(
  { room, recovered, reason, messages }: JoinResult,
  position: string,
): JsonText {
  type Facts = Omit<Exclude<Answers["join"], Failed>, "messages">;
  const facts: Facts = { ok: true, room, position, recovered, reason };
  return new JsonText(
    `${JSON.stringify(facts).slice(0, -1)},"messages":[${
      messages.map(messageJson).join()
    }]}`,
  );
}
