/** Stock clients and publishers that record what happens to them, for {@linkcode judgeFailover}. */
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
  /** The rooms that the server has confirmed and that the client has not asked to leave. */
  readonly rooms: Set<string> = new Set();
  /** The rooms that it asked to leave on this connection. A `joined` event for them may still be in flight. */
  readonly #left = new Set<string>();
  /** Whether it has received everything that a node sends at connect. */
  #settled = false;
  /** The newest position or id of each room that the client knows. */
  readonly #positions = new Map<string, string>();

  /** Starts recording. The client must not be connected yet. */
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

  /** Whether it is connected now. */
  get connected(): boolean {
    return this.subscriber.socket.connected;
  }

  /** The value of `recovered` at each connect. */
  get connects(): readonly boolean[] {
    return this.subscriber.connects.items;
  }

  /** Returns whether it has received this message. */
  has(key: string): boolean {
    return this.happenings.some((one) =>
      one.kind === "message" ? one.key === key : one.kind === "answered" &&
        one.messages.some((message) => message.key === key)
    );
  }

  /**
   * Resolves with whether the client knows its rooms, because a node sends `joined` events before the answer to the first
   * request. Without that knowledge, a join with `since` may request messages that the client receives anyway.
   */
  async settle(): Promise<boolean> {
    const { length } = this.connects;
    this.#settled ||= await this.#ask("leave", { room: "nowhere" }) !==
        undefined && this.connected && length === this.connects.length;
    return this.#settled;
  }

  /** Joins a room, with `since` from its last position there. Resolves with `false` if no positive answer came. */
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

  /** Leaves a room, and retries if that is rejected. Resolves with `false` if no answer arrives. */
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
   * Breaks the connection, if there is one. The client then reconnects automatically. A connection that is closed while
   * it is being opened would be detected by the client only after 20 s (socket.io-client 4.8.4, option `timeout`).
   */
  drop(): void {
    if (this.connected) this.subscriber.socket.io.engine.close();
  }

  /** Returns everything that happened to it in one line; consecutive messages are only counted. */
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
   * Resolves with the answer, or with undefined if the connection ends or the time expires. `noted` runs synchronously
   * with the answer, because later events must be recorded after it.
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
 * Publishes `key` to `room` with itself as the idempotency key. Retries after 503 and after broken connections, until it
 * is acknowledged or `giveUp` returns true between two attempts. Calls `urlOf` for the URL of each attempt.
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

/** Resolves with the response, or with undefined if none arrived completely. */
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
