/** A socket.io client over long polling that polls only when a test tells it to. */
import { soon } from "./wait.ts";

/** Separates the packets in the body of a request or response (Engine.IO protocol 4). */
const SEPARATOR = "\x1e";

/** A polling client. It sends a poll only when `poll()` or `ask()` is called. */
export class PollingClient {
  readonly #url: string;

  private constructor(url: string) {
    this.#url = url;
  }

  /** Connects a client that joins `rooms`, and discards the events that are sent at connect. */
  static async connect(
    url: string,
    rooms: readonly string[],
  ): Promise<PollingClient> {
    const path = `${url}/socket.io/?EIO=4&transport=polling`;
    const open = await (await soon(fetch(path), "a handshake")).text();
    const client = new PollingClient(
      `${path}&sid=${JSON.parse(open.slice(1)).sid}`,
    );
    await client.#post(`40${JSON.stringify({ rooms })}`);
    let joined = 0;
    while (joined < rooms.length) {
      const events = await client.poll();
      joined += events.filter(([event]) => event === "joined").length;
    }
    return client;
  }

  /** Polls once. Resolves to the received events, each as an array of its name and arguments. */
  async poll(): Promise<unknown[][]> {
    const { status, text } = await this.ask();
    if (status !== 200) throw new Error(`Cannot poll: ${status} ${text}`);
    return text.split(SEPARATOR).filter((packet) => packet.startsWith("42"))
      .map((packet) => JSON.parse(packet.slice(2)));
  }

  /** Polls once. Resolves to the status and the text of the response. */
  async ask(): Promise<{ status: number; text: string }> {
    const response = await soon(fetch(this.#url), "a poll");
    return { status: response.status, text: await response.text() };
  }

  /** Sends packets, which are already encoded, in one request. */
  async send(...packets: string[]): Promise<void> {
    await this.#post(packets.join(SEPARATOR));
  }

  async #post(packet: string): Promise<void> {
    const response = await soon(
      fetch(this.#url, { method: "POST", body: packet }),
      "a packet is accepted",
    );
    await response.text();
  }
}
