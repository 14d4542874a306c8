/**
 * Handles the events `join` and `leave` of connected clients.
 *
 * @module
 */
import type { Socket } from "socket.io";
import type { Client, Joined } from "../clients/client.ts";
import type { Clients } from "../clients/clients.ts";
import type { FanOut } from "../delivery/fanout.ts";
import { cork } from "../engineio/internals.ts";
import { toApiError } from "../errors.ts";
import type { Entry } from "../log/log.ts";
import { timestampOf } from "../log/position.ts";
import type { Observe } from "../observer.ts";
import {
  type JoinRequest,
  parseJoinRequest,
} from "../recovery/join_request.ts";
import { formatOffset } from "./offset.ts";
import { subscriberOf } from "./subscriber.ts";

/** Options of {@linkcode Requests}. */
export interface RequestsOptions {
  readonly clients: Clients;
  readonly fanOut: Pick<FanOut, "enforceLimit">;
  /** Returns the client of a socket while it is connected. */
  readonly clientOf: (socket: Socket) => Client | undefined;
  readonly observe: Observe;
}

/** Handles a client's event. `answer` is the function that sends the acknowledgement, if the client wants one. */
type RequestHandler = (this: Socket, request: unknown, answer: unknown) => void;

/** Handles one request of a client. */
type Work = (
  socket: Socket,
  client: Client,
  request: JoinRequest,
  answer: unknown,
) => Promise<void>;

/** Handles and answers the requests of connected clients. */
export class Requests {
  readonly #options: RequestsOptions;
  // All sockets share one handler, because a closure for each socket would take more memory.
  readonly #onJoin = this.#handler(this.#join.bind(this));
  readonly #onLeave = this.#handler(this.#leave.bind(this));

  /** Creates the handlers, which {@linkcode Requests.serve} adds to sockets. */
  constructor(options: RequestsOptions) {
    this.#options = options;
  }

  /** Handles a socket's requests from now on. */
  serve(socket: Socket): void {
    socket.on("join", this.#onJoin);
    socket.on("leave", this.#onLeave);
  }

  #handler(work: Work): RequestHandler {
    const handle = this.#handle.bind(this);
    return function (request, answer) {
      void handle(this, request, answer, work);
    };
  }

  async #handle(
    socket: Socket,
    request: unknown,
    answer: unknown,
    work: Work,
  ): Promise<void> {
    const client = this.#options.clientOf(socket);
    if (client === undefined) return;
    try {
      await work(socket, client, parseJoinRequest(request), answer);
    } catch (error) {
      this.#refuse(socket, error, answer);
    }
  }

  async #join(
    socket: Socket,
    client: Client,
    request: JoinRequest,
    answer: unknown,
  ): Promise<void> {
    await this.#options.clients.join(
      client,
      request,
      (joined) => tell(socket, joined, answer),
    );
  }

  async #leave(
    socket: Socket,
    client: Client,
    { room }: JoinRequest,
    answer: unknown,
  ): Promise<void> {
    await this.#options.clients.leave(client, room);
    this.#reply(socket, answer, { ok: true });
  }

  #refuse(socket: Socket, error: unknown, answer: unknown): void {
    const refusal = toApiError(error);
    if (refusal.code === "internal") {
      this.#options.observe({
        kind: "error",
        where: "a client's request",
        error,
      });
    }
    this.#reply(socket, answer, { ok: false, error: refusal.toJSON() });
  }

  /** Sends a small answer. It counts as buffered, because a client may send requests endlessly and never read. */
  #reply(
    socket: Socket,
    answer: unknown,
    facts: Readonly<Record<string, unknown>>,
  ): void {
    acknowledge(answer, facts);
    this.#options.fanOut.enforceLimit(subscriberOf(socket));
  }
}

/**
 * Sends the answer to a join, and the offset in the same write, so that a client that has received the answer has also
 * received the offset.
 */
function tell(
  socket: Socket,
  { rooms, position, id, notice }: Joined,
  answer: unknown,
): void {
  const uncork = cork(socket);
  try {
    for (const { room, recovered, reason, messages } of rooms) {
      acknowledge(answer, {
        ok: true,
        room,
        position,
        recovered,
        reason,
        messages: messages.map(toMessage),
      });
    }
    if (notice !== undefined) {
      const { room } = notice;
      socket.emit("position", { room, position }, formatOffset(id, notice));
    }
  } finally {
    uncork();
  }
}

/** Sends an acknowledgement, if the client wants one. */
function acknowledge(
  answer: unknown,
  facts: Readonly<Record<string, unknown>>,
): void {
  if (typeof answer === "function") answer(facts);
}

function toMessage({ id, json }: Entry): Record<string, unknown> {
  return { id, message: JSON.parse(json), at: timestampOf(id) };
}
