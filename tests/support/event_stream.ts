/** A client of Server-Sent Events that parses a stream as the specification says, and an `EventSource` made of it. */
import { Inbox, soon, until } from "./wait.ts";

/** An event with data. */
export interface StreamEvent {
  readonly event: string;
  /** The last event id at this event. */
  readonly lastEventId: string;
  // deno-lint-ignore no-explicit-any -- each event has other data
  readonly data: any;
}

/** Parses a stream (WHATWG HTML §9.2.6). */
export class StreamParser {
  /** The id that an `EventSource` would send when it reconnects now. */
  lastEventId: string;
  /** The time after which an `EventSource` reconnects, in ms; undefined if the stream has not set it. */
  retryMs: number | undefined;
  comments = 0;
  readonly #onEvent: (event: StreamEvent) => void;
  #rest = "";
  #id: string;
  #event = "";
  #data: string[] = [];

  /** Creates the parser of a stream that goes on after `lastEventId`. */
  constructor(onEvent: (event: StreamEvent) => void, lastEventId = "") {
    this.#onEvent = onEvent;
    this.lastEventId = this.#id = lastEventId;
  }

  /** Reads the next part of the stream. */
  read(text: string): void {
    const lines = (this.#rest + text).split(/\r\n|\n|\r/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#readLine(line);
  }

  #readLine(line: string): void {
    if (line === "") return this.#dispatch();
    if (line.startsWith(":")) return void this.comments++;
    const [, field, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "event") this.#event = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "retry" && /^\d+$/.test(value)) {
      this.retryMs = Number(value);
    }
  }

  #dispatch(): void {
    const event = this.#event || "message";
    const text = this.#data.join("\n");
    this.lastEventId = this.#id;
    this.#event = "";
    this.#data = [];
    if (text === "") return;
    const { lastEventId } = this;
    this.#onEvent({ event, lastEventId, data: JSON.parse(text) });
  }
}

/** Options of {@linkcode EventStream.open}. */
export interface EventStreamOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** The id of the last event that was received before. */
  readonly lastEventId?: string;
}

/** One stream; `await using` closes it. */
export class EventStream implements AsyncDisposable {
  readonly events = new Inbox<StreamEvent>();
  readonly response: Response;
  readonly parser: StreamParser;
  /** Whether the server has ended or broken off the response. */
  isEnded = false;
  /** The error with which the response was broken off. */
  error: unknown;
  readonly #controller: AbortController;
  readonly #reading: Promise<void>;
  /** The body of an error. */
  #text = "";

  private constructor(
    response: Response,
    controller: AbortController,
    lastEventId: string | undefined,
  ) {
    this.response = response;
    this.#controller = controller;
    this.parser = new StreamParser(
      (event) => this.events.push(event),
      lastEventId,
    );
    this.#reading = this.#read();
  }

  /** Opens a stream. Resolves when the head of the response has arrived, whatever its status. */
  static async open(
    url: string,
    { headers = {}, lastEventId }: EventStreamOptions = {},
  ): Promise<EventStream> {
    const controller = new AbortController();
    const response = await soon(
      fetch(url, {
        headers: {
          ...headers,
          ...lastEventId !== undefined && { "last-event-id": lastEventId },
        },
        signal: controller.signal,
      }),
      `the response to ${url}`,
    );
    return new EventStream(response, controller, lastEventId);
  }

  /** Opens a stream and waits until it has begun, which is when its position is known. */
  static async start(
    url: string,
    options: EventStreamOptions = {},
  ): Promise<EventStream> {
    const stream = await EventStream.open(url, options);
    await until(
      "the stream has begun",
      () => stream.parser.retryMs !== undefined,
    );
    return stream;
  }

  /** The messages that have arrived, in order. */
  get messages(): unknown[] {
    return this.events.items.flatMap(({ data }) =>
      "message" in data ? [data.message] : []
    );
  }

  /** The ids of the messages that have arrived, in order. */
  get ids(): string[] {
    return this.events.items.flatMap(({ data }) =>
      "message" in data ? [data.id] : []
    );
  }

  /** The code of the error, if the response is one that has ended. */
  get code(): string {
    return JSON.parse(this.#text).error.code;
  }

  /** Resolves when the server has ended the stream. */
  async ended(): Promise<void> {
    await soon(this.#reading, "the stream ends");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#controller.abort();
    await this.#reading;
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    try {
      for await (const chunk of this.response.body ?? []) {
        const text = decoder.decode(chunk, { stream: true });
        if (this.response.ok) this.parser.read(text);
        else this.#text += text;
      }
    } catch (error) {
      this.error = error;
    }
    this.isEnded = true;
  }
}
