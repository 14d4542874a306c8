/** A stock socket.io client that records the events that it receives. */
import {
  io,
  type ManagerOptions,
  type Socket,
  type SocketOptions,
} from "socket.io-client";
import { RESERVED_EVENTS } from "../../lib/log/event_name.ts";
import { checkAnswer, checkEvent } from "./described_events.ts";
import { recordRequests } from "./polling_requests.ts";
import { keepSecret } from "./secrets.ts";
import { Inbox, soon, until } from "./wait.ts";

/** The data of one event with a message. */
export interface Received {
  readonly event: string;
  readonly message: unknown;
  readonly room: string;
  readonly at: number;
  readonly id: string;
  /** Number of arguments that the event had. */
  readonly length: number;
}

/** The private fields of a stock client with which it resumes its session. */
export interface Resumable {
  readonly _pid: string;
  readonly _lastOffset: string | undefined;
}

/** Returns that with which a client would resume its session, to be assigned to the socket of another client. */
export function sessionOf({ socket }: Subscriber): Resumable {
  const { _pid = "", _lastOffset } = socket as unknown as Partial<Resumable>;
  return { _pid, _lastOffset };
}

/** A stock client that joins rooms and records what it receives; `await using` closes the client. */
export class Subscriber {
  readonly messages = new Inbox<Received>();
  readonly gaps = new Inbox<
    { room: string; reason: string; since: string; id: string }
  >();
  readonly joined = new Inbox<
    {
      room: string;
      position: string;
      recovered: boolean;
      reason?: string;
      id: string;
    }
  >();
  readonly disconnects = new Inbox<string>();
  readonly connects = new Inbox<boolean>();
  readonly errors = new Inbox<
    Error & { data?: { code: string; message: string } }
  >();
  readonly socket: Socket;

  /**
   * Creates a client and starts to connect it. `isDescribed` says whether the server is a Roomcast, whose events have to
   * be as their schemas describe them.
   */
  constructor(
    url: string,
    options: Partial<ManagerOptions & SocketOptions> = {},
    isDescribed = true,
  ) {
    this.socket = io(url, { forceNew: true, ...options });
    this.socket.onAny((event, ...args) => {
      if (isDescribed) checkEvent(event, args);
      if (RESERVED_EVENTS.has(event)) return;
      const [message, { room, at }, id] = args;
      this.messages.push({ event, message, room, at, id, length: args.length });
    });
    this.socket.on("gap", (gap, id) => this.gaps.push({ ...gap, id }));
    this.socket.on(
      "joined",
      (joined, id) => this.joined.push({ ...joined, id }),
    );
    this.socket.on("connect", () => {
      keepSecret(sessionOf(this)._pid);
      this.connects.push(this.socket.recovered);
    });
    this.socket.on("connect_error", (error) => this.errors.push(error));
    this.socket.on("disconnect", (reason) => this.disconnects.push(reason));
  }

  /** Creates a client and waits until the client is connected. */
  static async connect(
    url: string,
    options: Partial<ManagerOptions & SocketOptions> = {},
  ): Promise<Subscriber> {
    const subscriber = new Subscriber(url, options);
    await soon(subscriber.connects.have(1), "the client connects");
    return subscriber;
  }

  /** The ids of the received messages, in the order of receipt. */
  get ids(): string[] {
    return this.messages.items.map(({ id }) => id);
  }

  /** Resolves once the client has been connected or refused. */
  async settled(): Promise<void> {
    await until(
      "the client is connected or refused",
      () => this.connects.items.length + this.errors.items.length > 0,
    );
  }

  /** Resolves once the client has received this message. */
  async receives(message: unknown): Promise<void> {
    await this.messages.where(() =>
      this.messages.items.some((received) => received.message === message)
    );
  }

  /** Sends an event. Resolves to the arguments of its acknowledgement. */
  // deno-lint-ignore no-explicit-any -- tests read acknowledgements of every shape
  ask(event: string, request: unknown): Promise<any[]> {
    const answered = new Promise<unknown[]>((resolve) =>
      this.socket.emit(event, request, (...args: unknown[]) => {
        checkAnswer(event, args);
        resolve(args);
      })
    );
    return soon(answered, `${event} is acknowledged`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { engine } = this.socket.io;
    if (engine === undefined) return void this.socket.disconnect();
    const requestsEnd = recordRequests(this.socket);
    this.socket.disconnect();
    engine.close();
    // Waiting for the upgrade could take longer than a test. Without an upgrade, the client only sends its last packet.
    const { upgrading } = engine as unknown as { upgrading: boolean };
    if (engine.readyState === "closing" && upgrading) closeAtOnce(this.socket);
    await until("the client is closed", () => engine.readyState === "closed");
    await requestsEnd();
  }
}

/**
 * Closes a client's connection without waiting for an upgrade from polling. Under Deno, a client is not always notified
 * if its connection breaks during the WebSocket handshake; `close()` then waits for ever.
 */
export function closeAtOnce(socket: Socket): void {
  (socket.io.engine as unknown as { _onClose(reason: string): void })
    ._onClose("transport close");
}
