/** A socket.io client over long polling that asks only when it is told to. */
import { soon } from "./wait.ts";

/** What separates packets in an answer (Engine.IO protocol, version 4). */
const SEPARATOR = "\x1e";

/** Subscribes by polling, and polls by hand. */
export class PollingClient {
  readonly #url: string;

  private constructor(url: string) {
    this.#url = url;
  }

  /** Connects to the rooms, and takes what is sent at once. */
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

  /** Asks once; answers the events that come, each with its arguments. */
  async poll(): Promise<unknown[][]> {
    const { status, text } = await this.ask();
    if (status !== 200) throw new Error(`Cannot poll: ${status} ${text}`);
    return text.split(SEPARATOR).filter((packet) => packet.startsWith("42"))
      .map((packet) => JSON.parse(packet.slice(2)));
  }

  /** Asks once; answers what comes, as it is. */
  async ask(): Promise<{ status: number; text: string }> {
    const response = await soon(fetch(this.#url), "a poll");
    return { status: response.status, text: await response.text() };
  }

  /** Sends packets, as they are. */
  async send(...packets: string[]): Promise<void> {
    await this.#post(packets.join(SEPARATOR));
  }

  async #post(packet: string): Promise<void> {
    const response = await soon(
      fetch(this.#url, { method: "POST", body: packet }),
      "a packet is taken",
    );
    await response.text();
  }
}
