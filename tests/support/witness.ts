/** Records what stock clients and publishers experience while Redis fails over, for {@linkcode judgeFailover}. */
import type { Subscriber } from "./client.ts";
import type {
  Happening,
  Message,
  Published,
  Timeline,
} from "./failover_judge.ts";
import { pauseFor } from "./wait.ts";

/** How long a client or publisher waits for an answer, in ms: longer than a node takes to reject a request. */
const ANSWER_TIMEOUT_MS = 5000;
/** The pause of a publisher after an error, in ms. */
const RETRY_MS = 25;

/** Records what happens to a stock client; `await using` disconnects the client. */
export class Witness implements Timeline {
  readonly client: string;
  readonly happenings: Happening[] = [];
  readonly subscriber: Subscriber;
  /** The rooms that the client has joined, as the server has confirmed, and that it has not requested to leave. */
  readonly rooms: Set<string> = new Set();
  /**
   * The rooms that the client has requested to leave on its current connection. A `joined` event for such a room may
   * still be in flight.
   */
  readonly #left = new Set<string>();
  /** Whether the client has received all events that a node sends at connect. */
  #settled = false;
  /** The newest position or id of each room that the client knows. */
  readonly #positions = new Map<string, string>();

  /** Starts to record the events of a client, which must not be connected yet. */
  constructor(name: string, subscriber: Subscriber) {
    this.client = name;
    this.subscriber = subscriber;
    const { socket } = subscriber;
    socket.on("connect", () => {
      if (!socket.recovered) this.rooms.clear();
      this.#left.clear();
      this.#settled = false;
      this.#note({ kind: "connected", recovered: socket.recovered });
    });
    socket.on("disconnect", () => this.#note({ kind: "disconnected" }));
    socket.on("joined", ({ room, position }) => {
      if (this.#left.has(room)) return;
      this.rooms.add(room);
      this.#positions.set(room, position);
      this.#note({ kind: "joined", room });
    });
    socket.on("gap", ({ room, reason }, id) => {
      this.#positions.set(room, id);
      this.#note({ kind: "gap", room, reason });
    });
    socket.on("msgReceived", (message, { room }, id) => {
      this.#positions.set(room, id);
      this.#note({ kind: "message", room, id, key: String(message) });
    });
  }

  /** Whether the client is connected now. */
  get connected(): boolean {
    return this.subscriber.socket.connected;
  }

  /** The value of `recovered` at each connect of the client. */
  get connects(): readonly boolean[] {
    return this.subscriber.connects.items;
  }

  /** Returns whether the client has received the message with this key. */
  has(key: string): boolean {
    return this.happenings.some((one) =>
      one.kind === "message" ? one.key === key : one.kind === "answered" &&
        one.messages.some((message) => message.key === key)
    );
  }

  /**
   * Sends a request and resolves to whether the client now knows its rooms: a node sends all `joined` events before it
   * answers the first request. A client that does not know its rooms may request messages, by a join with `since`, that
   * it receives anyway.
   */
  async settle(): Promise<boolean> {
    const { length } = this.connects;
    this.#settled ||= await this.#ask("leave", { room: "nowhere" }) !==
        undefined && this.connected && length === this.connects.length;
    return this.#settled;
  }

  /**
   * Lets the client join a room; if `since` is true, with its last position in that room. Resolves to `false` if the
   * join failed or was not answered.
   */
  async join(room: string, { since = false } = {}): Promise<boolean> {
    const position = since ? this.#positions.get(room) : undefined;
    const answer = await this.#ask("join", {
      room,
      ...(position !== undefined && { since: position }),
    }, (answer) => {
      if (!answer.ok) return;
      const asked: Message[] = answer.messages.map(
        ({ id, message }: { id: string; message: unknown }) => ({
          id,
          key: String(message),
        }),
      );
      // If `joined` arrived after the request, the requested messages may already have been delivered.
      const messages = this.rooms.has(room)
        ? asked.filter(({ id }) => !this.#hasId(id))
        : asked;
      this.rooms.add(room);
      this.#positions.set(room, answer.position);
      this.#note({
        kind: "answered",
        room,
        since: position !== undefined,
        recovered: answer.recovered,
        messages,
      });
    });
    return answer?.ok === true;
  }

  /** Lets the client leave a room, and retries if the request is rejected. Resolves to `false` if no answer arrives. */
  async leave(room: string): Promise<boolean> {
    if (!this.connected) return false;
    this.#left.add(room);
    this.rooms.delete(room);
    this.#note({ kind: "leaving", room });
    const { id } = this.subscriber.socket;
    for (;;) {
      const answer = await this.#ask("leave", { room });
      if (answer === undefined || answer.ok) return answer !== undefined;
      await pauseFor(RETRY_MS);
      if (this.subscriber.socket.id !== id) return false;
    }
  }

  /**
   * Breaks the client's connection, so that the client reconnects. Does nothing while the client is connecting, because
   * the client would notice the broken connection only after 20 s (socket.io-client 4.8.4, option `timeout`).
   */
  drop(): void {
    if (this.connected) this.subscriber.socket.io.engine.close();
  }

  /** Returns all events of the client in one line. Of consecutive messages, only the number is given. */
  retell(): string {
    const parts: string[] = [];
    let messages = 0;
    for (const { at, kind, ...rest } of this.happenings) {
      if (kind === "message") messages++;
      else {
        if (messages > 0) parts.push(`${messages} messages`);
        messages = 0;
        const facts = Object.values(rest).map((value) =>
          Array.isArray(value) ? `${value.length} messages` : String(value)
        );
        parts.push(`${Math.round(at)} ${[kind, ...facts].join(" ")}`);
      }
    }
    return `${this.client}: ${[...parts, `${messages} messages`].join("; ")}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.subscriber[Symbol.asyncDispose]();
  }

  #hasId(id: string): boolean {
    return this.happenings.some((one) =>
      one.kind === "message" && one.id === id
    );
  }

  #note(happening: DistributiveOmit<Happening, "at">): void {
    this.happenings.push({ at: performance.now(), ...happening } as Happening);
  }

  /**
   * Sends a request of the client. Resolves to the answer, or to undefined if the connection ends or no answer arrives
   * in time. `noted` is called synchronously with the answer, so that the answer is recorded before later events.
   */
  // deno-lint-ignore no-explicit-any -- answers of every shape
  #ask(event: string, request: unknown, noted?: (answer: any) => void) {
    const { socket } = this.subscriber;
    if (!socket.connected) return Promise.resolve(undefined);
    // deno-lint-ignore no-explicit-any -- answers of every shape
    return new Promise<any>((resolve) => {
      const end = (answer?: unknown): void => {
        clearTimeout(timer);
        socket.off("disconnect", lost);
        resolve(answer);
      };
      const lost = (): void => end();
      const timer = setTimeout(end, ANSWER_TIMEOUT_MS);
      socket.once("disconnect", lost);
      socket.emit(event, request, (answer: unknown) => {
        noted?.(answer);
        end(answer);
      });
    });
  }
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K>
  : never;

/**
 * Publishes the message `key` to `room`, with `key` also as its idempotency key. Retries after status 503 and after
 * broken connections, until the message is acknowledged or `giveUp` returns true between two attempts. Calls `urlOf`
 * for the URL of each attempt.
 *
 * @throws {Error} If the response has another status.
 */
export async function publishKeyed(
  urlOf: () => string,
  room: string,
  key: string,
  giveUp: () => boolean = () => false,
): Promise<Published> {
  const firstAt = performance.now();
  for (;;) {
    const sentAt = performance.now();
    const answer = await tryPublish(urlOf(), room, key);
    const at = performance.now();
    if (answer?.status === 200) {
      const { id, duplicate } = answer.body;
      const began = duplicate ? firstAt : sentAt;
      return { key, room, sentAt: began, acknowledged: { at, id } };
    }
    if (answer !== undefined && answer.status !== 503) {
      throw new Error(
        `Cannot publish ${key}: ${answer.status} ${
          JSON.stringify(answer.body)
        }`,
      );
    }
    if (giveUp()) return { key, room, sentAt: firstAt };
    await pauseFor(RETRY_MS);
  }
}

/** Publishes once. Resolves to the response, or to undefined if no complete response arrives. */
async function tryPublish(
  url: string,
  room: string,
  key: string,
  // deno-lint-ignore no-explicit-any -- answers of every shape
): Promise<{ status: number; body: any } | undefined> {
  try {
    const response = await fetch(`${url}/publish`, {
      method: "POST",
      headers: { "content-type": "application/json", "idempotency-key": key },
      body: JSON.stringify({ room, message: key }),
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
    return { status: response.status, body: await response.json() };
  } catch {
    return undefined;
  }
}
