/** `curl -N`, as a client of a stream that is started again with `Last-Event-ID` whenever it ends. */
import { type StreamEvent, StreamParser } from "./event_stream.ts";
import { pauseFor } from "./wait.ts";

/** How long to wait before curl is started again, in ms. */
const RETRY_MS = 200;

/** Runs `curl -N` with a URL until it is disposed. */
export class CurlStream implements AsyncDisposable {
  readonly events: StreamEvent[] = [];
  readonly parser = new StreamParser((event) => this.events.push(event));
  readonly #url: string;
  readonly #running: Promise<void>;
  #process: Deno.ChildProcess | undefined;
  #isStopped = false;

  constructor(url: string) {
    this.#url = url;
    this.#running = this.#run();
  }

  /** The messages that have arrived, in order. */
  get messages(): unknown[] {
    return this.events.flatMap(({ data }) =>
      "message" in data ? [data.message] : []
    );
  }

  /** The gaps that have arrived. */
  get gaps(): StreamEvent[] {
    return this.events.filter(({ event }) => event === "gap");
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      const { lastEventId } = this.parser;
      const process = this.#process = new Deno.Command("curl", {
        args: [
          ...["-s", "-N", "--fail", this.#url],
          ...lastEventId === "" ? [] : ["-H", `last-event-id: ${lastEventId}`],
        ],
        stdout: "piped",
      }).spawn();
      const texts = process.stdout.pipeThrough(new TextDecoderStream());
      // What has arrived of an event that is not complete is discarded, as an `EventSource` does.
      const parser = new StreamParser(
        (event) => this.events.push(event),
        lastEventId,
      );
      for await (const text of texts) {
        parser.read(text);
        this.parser.lastEventId = parser.lastEventId;
      }
      await process.status;
      await pauseFor(RETRY_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true;
    try {
      this.#process?.kill();
    } catch {
      // It has already exited.
    }
    await this.#running;
  }
}
