/**
 * Serves clients that use Server-Sent Events: each stream is one HTTP response that does not end.
 *
 * A stream has no session. The `id:` of each message is a position, which a browser sends as `Last-Event-ID` when it
 * reconnects, and the URL names the rooms. Any node can therefore continue a stream without anything that is stored
 * (`docs/decisions/0026-streams-without-sessions.md`).
 *
 * @module
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Introduction } from "../access/hooks.ts";
import { passedOn } from "../access/passed_headers.ts";
import type { Principal } from "../access/principal.ts";
import type { Admission } from "../clients/admission.ts";
import type { Client } from "../clients/client.ts";
import type { Clients } from "../clients/clients.ts";
import { drainEvenly } from "../clients/drain.ts";
import type { StreamHello } from "../clients/hello.ts";
import { RefusalReports } from "../clients/refusal_reports.ts";
import type { FanOut } from "../delivery/fanout.ts";
import { ApiError } from "../errors.ts";
import type { ClientAddress } from "../limits/addresses.ts";
import type { ConnectionLimits, Entry } from "../limits/connection_limits.ts";
import type { HeadState } from "../log/head.ts";
import type { Observe } from "../observer.ts";
import type { DirectWriter } from "../wire/direct_write.ts";
import { HEARTBEAT, SseEncoder } from "./encoder.ts";
import { Heartbeats } from "./heartbeats.ts";
import { SseSubscriber } from "./subscriber.ts";

/** Maximum number of streams that are being opened. */
const OPENING_MAX = 10_000;
/**
 * Shortest and longest time after which a client reconnects, in ms. Each client gets a random time in between, so that
 * the clients of a killed node do not all reconnect at once.
 */
const RETRY_MS = [1000, 3000] as const;

const TOO_MANY_OPENING = new ApiError(
  "too_many_connects",
  `Cannot connect: ${OPENING_MAX} other streams are being opened; connect again later`,
);
const DRAINING = new ApiError(
  "draining",
  "Cannot connect: this node is stopping; connect again",
);
const OUTDATED = new ApiError(
  "overloaded",
  "Cannot connect: the log has changed while the stream was being opened; connect again",
);
const PIPELINED = new ApiError(
  "malformed_request",
  "Cannot open a stream: the response to an earlier request on this connection has not ended; send the request on a connection of its own",
);

/** Options of {@linkcode SseServer}. */
export interface SseServerOptions {
  readonly clients: Clients;
  readonly fanOut: FanOut;
  readonly log: { readonly head: HeadState };
  readonly directWriter: DirectWriter;
  /** Counts connections, and refuses those beyond the limits. */
  readonly connections: ConnectionLimits;
  readonly clientAddress: ClientAddress;
  /** The headers of a request that are passed on to hooks; undefined if there are no hooks. */
  readonly hookHeaders?: readonly string[] | undefined;
  /** Time between two heartbeats of a stream, in ms; by default as `Heartbeats` has it. */
  readonly heartbeatMs?: number;
  readonly observe: Observe;
}

/** A request for a stream that was read and authenticated. */
export interface StreamRequest extends StreamHello {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The headers of the response. */
  readonly headers: Readonly<Record<string, string>>;
  /** Who has sent the request; undefined if the connect hook decides about that. */
  readonly principal: Principal | undefined;
  /** The client's token, for hooks; undefined if it has sent none. */
  readonly token: string | undefined;
  /** Whether the client is an `EventSource`, so that it is sent its first position as an event. */
  readonly isEventSource: boolean;
  /** The names of the rooms; undefined for the default rooms and those of the token. */
  readonly rooms: readonly string[] | undefined;
}

/** An open stream. */
interface Stream {
  readonly client: Client;
  readonly subscriber: SseSubscriber;
  readonly entry: Entry;
}

/** Key under which a connection stores its stream, so that all connections share one listener. */
const STREAM = Symbol("stream");
type StreamSocket = Socket & { [STREAM]?: Stream | undefined };

/** How metrics name the clients of this server. */
const transport = "sse";

/**
 * Opens streams, and ends them.
 *
 * Lifetime: a timer for heartbeats runs while there are streams. Call `close()` to close all streams.
 */
export class SseServer {
  readonly #options: SseServerOptions;
  readonly #encoder: SseEncoder;
  readonly #reports: RefusalReports;
  readonly #streams = new Set<Stream>();
  readonly #heartbeats: Heartbeats<Stream>;
  readonly #onClose = this.#makeOnClose();
  #opening = 0;
  #isStopping = false;

  /** Creates a server without streams. */
  constructor(options: SseServerOptions) {
    this.#options = options;
    this.#encoder = new SseEncoder(options.log.head);
    this.#reports = new RefusalReports(options.observe);
    this.#heartbeats = new Heartbeats(
      (stream) => this.#beat(stream),
      options.heartbeatMs,
    );
  }

  /** Number of open streams. */
  get count(): number {
    return this.#streams.size;
  }

  /**
   * Opens a stream: writes the response's head, the messages that the client missed, and from then on all messages of
   * its rooms.
   *
   * @returns `false` if the stream could be opened but was not, because the client has closed the connection meanwhile
   * or because the request is a `HEAD`. Nothing was written to the response then.
   * @throws {ApiError} If the stream cannot be opened. Nothing was written to the response then.
   */
  async open(stream: StreamRequest): Promise<boolean> {
    const { clients, connections } = this.#options;
    const { request, response } = stream;
    const { socket } = response;
    this.#check(socket);
    const entry = connections.enter(request);
    let isOpen = false;
    this.#opening++;
    try {
      const admission = await clients.admit({
        principal: stream.principal,
        introduction: this.#introduce(stream),
        secret: undefined,
        shown: undefined,
        rooms: stream.rooms,
        stream,
        isOpen: () => !socket.destroyed,
      });
      const isWanted = !socket.destroyed && request.method !== "HEAD";
      if (!isWanted || this.#isStopping) {
        clients.abandon(admission);
        if (isWanted) throw DRAINING;
        return false;
      }
      const opened = this.#connect(stream, socket, admission, entry);
      // From here on, the entry is released when the connection closes.
      isOpen = true;
      this.#start(opened, stream);
      return true;
    } finally {
      this.#opening--;
      if (!isOpen) connections.leave(entry);
    }
  }

  /** Reports that a stream was refused with this error. */
  refused(error: ApiError): void {
    this.#reports.report(error);
  }

  /** Ends all streams evenly, as complete responses, and opens no new ones. */
  async drain(durationMaxMs: number): Promise<void> {
    this.#isStopping = true;
    await drainEvenly(
      [...this.#streams],
      durationMaxMs,
      ({ subscriber }) => subscriber.end(),
    );
  }

  /** Closes all streams at once. */
  close(): void {
    this.#isStopping = true;
    this.#reports.close();
    this.#heartbeats.close();
    for (const { subscriber } of this.#streams) subscriber.disconnect();
  }

  #check(socket: Socket | null): asserts socket is Socket {
    if (this.#isStopping) throw DRAINING;
    if (socket === null) throw PIPELINED;
    if (this.#opening >= OPENING_MAX) throw TOO_MANY_OPENING;
  }

  #introduce({ request, token }: StreamRequest): Introduction | undefined {
    const { clientAddress, hookHeaders } = this.#options;
    return hookHeaders && {
      transport,
      origin: request.headers.origin,
      address: clientAddress(request),
      data: {},
      token,
      headers: passedOn(request.headers, hookHeaders),
    };
  }

  /** Connects an admitted client. Call `#start()` in the same synchronous step. */
  #connect(
    { request, isEventSource }: StreamRequest,
    socket: StreamSocket,
    admission: Admission,
    entry: Entry,
  ): Stream {
    const { clients, fanOut, directWriter } = this.#options;
    const isChunked = isChunkedFor(request);
    const encoder = this.#encoder;
    const subscriber = new SseSubscriber(socket, {
      encoder,
      directWriter,
      isChunked,
    });
    const { client } = admission;
    try {
      const isWelcome = clients.welcome(
        admission,
        subscriber,
        ({ position }) =>
          fanOut.send(
            subscriber,
            encoder.opening(position, randomRetryMs(), isEventSource),
          ),
      );
      if (!isWelcome) throw OUTDATED;
    } catch (error) {
      clients.dropped(client, true);
      throw error;
    }
    const stream = { client, subscriber, entry };
    this.#streams.add(stream);
    this.#heartbeats.add(stream);
    // The listener is added before anything is written, because a write may close the connection.
    socket[STREAM] = stream;
    socket.on("close", this.#onClose);
    return stream;
  }

  /** Writes the head of the response, and then the opening event and the messages that the client has missed. */
  #start({ subscriber }: Stream, { request, headers }: StreamRequest): void {
    subscriber.start(headOf(headers, isChunkedFor(request)));
    const { observe } = this.#options;
    observe({ kind: "client_connected", transport, clients: this.count });
  }

  #makeOnClose(): (this: StreamSocket) => void {
    const closed = (socket: StreamSocket): void => {
      const stream = socket[STREAM];
      socket[STREAM] = undefined;
      if (stream !== undefined) this.#closed(stream);
    };
    return function () {
      closed(this);
    };
  }

  #closed(stream: Stream): void {
    const { clients, connections, observe } = this.#options;
    this.#streams.delete(stream);
    this.#heartbeats.delete(stream);
    connections.leave(stream.entry);
    clients.dropped(stream.client, true);
    observe({ kind: "client_disconnected", transport, clients: this.count });
  }

  /**
   * Sends a heartbeat, unless other bytes are buffered. If the same write was in progress at the last call already, the
   * client is gone or does not read, and is disconnected.
   */
  #beat({ subscriber }: Stream): void {
    const { fanOut, observe } = this.#options;
    const waitingBytes = subscriber.bufferedBytes;
    if (subscriber.isStalled()) {
      observe({ kind: "slow_client_disconnected", waitingBytes });
      subscriber.disconnect();
    } else if (subscriber.idle) fanOut.send(subscriber, HEARTBEAT);
  }
}

/** Returns whether the client that has sent a request understands chunks. */
function isChunkedFor({ httpVersion }: IncomingMessage): boolean {
  return httpVersion !== "1.0";
}

/** Returns the head of a response, which ends with its connection. */
function headOf(
  headers: Readonly<Record<string, string>>,
  isChunked: boolean,
): string {
  const all = {
    ...headers,
    date: new Date().toUTCString(),
    connection: "close",
    ...isChunked && { "transfer-encoding": "chunked" },
  };
  const lines = Object.entries(all).map(([name, value]) =>
    `${name}: ${value}\r\n`
  );
  return `HTTP/1.1 200 OK\r\n${lines.join("")}\r\n`;
}

function randomRetryMs(): number {
  const [least, most] = RETRY_MS;
  return Math.round(least + Math.random() * (most - least));
}
