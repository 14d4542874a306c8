/** A real Redis (or Valkey) of a test's own. */
import { createClient } from "redis";
import { freePort } from "./net.ts";
import { soon, until } from "./wait.ts";

/** How a test wants its Redis. */
export interface RedisOptions {
  /** Keeps an append-only file, as a production Redis does. Default true. */
  readonly aof?: boolean;
  /** Program to run; `redis-server`, or `valkey-server` where only that is installed. */
  readonly program?: string;
  /** Further command-line arguments. */
  readonly args?: readonly string[];
}

/** A running Redis; `await using` ends it. */
export class Redis {
  readonly port: number;
  readonly #options: RedisOptions;
  readonly #folder: string;
  #process: Deno.ChildProcess | undefined;

  private constructor(port: number, folder: string, options: RedisOptions) {
    this.port = port;
    this.#folder = folder;
    this.#options = options;
  }

  /** Starts one on a free port, in a folder of its own. */
  static async start(options: RedisOptions = {}): Promise<Redis> {
    const folder = await Deno.makeTempDir({ prefix: "roomcast-redis-" });
    const redis = new Redis(await freePort(), folder, options);
    await redis.restart();
    return redis;
  }

  /** For `REDIS_URL`. */
  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Runs a command on a connection of its own. */
  async command(...args: string[]): Promise<unknown> {
    const client = createClient({
      url: this.url,
      RESP: 2,
      socket: { reconnectStrategy: false },
    });
    client.on("error", () => {});
    try {
      await soon(client.connect(), "Redis answers");
      return await soon(client.sendCommand(args), `Redis answers ${args[0]}`);
    } finally {
      client.destroy();
    }
  }

  /** How often a command was called since the start. */
  async calls(command: string): Promise<number> {
    const stats = String(await this.command("INFO", "commandstats"));
    return Number(
      new RegExp(`^cmdstat_${command}:calls=(\\d+)`, "m").exec(stats)?.[1] ?? 0,
    );
  }

  /** Sends the process a signal, `SIGSTOP` and `SIGCONT` among them. */
  signal(signal: Deno.Signal): void {
    this.#process?.kill(signal);
  }

  /** Kills it, `kill -9` by default, and waits until it is gone. */
  async kill(signal: Deno.Signal = "SIGKILL"): Promise<void> {
    const process = this.#process;
    if (process === undefined) return;
    this.#process = undefined;
    process.kill("SIGCONT");
    process.kill(signal);
    await process.status;
  }

  /** Starts it again on the same port and folder, and waits until it answers. */
  async restart(): Promise<void> {
    const { aof = true, program = await serverProgram(), args = [] } =
      this.#options;
    this.#process = new Deno.Command(program, {
      args: [
        ...[
          "--port",
          `${this.port}`,
          "--bind",
          "127.0.0.1",
          "--dir",
          this.#folder,
        ],
        ...[
          "--save",
          "",
          "--appendonly",
          aof ? "yes" : "no",
          "--appendfsync",
          "everysec",
        ],
        ...args,
      ],
      stdout: "null",
      stderr: "null",
    }).spawn();
    await until(
      "Redis answers",
      () => this.command("PING").then((pong) => pong === "PONG", () => false),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await Deno.remove(this.#folder, { recursive: true });
  }
}

async function serverProgram(): Promise<string> {
  for (const program of ["redis-server", "valkey-server"]) {
    const found = await new Deno.Command(program, {
      args: ["--version"],
      stdout: "null",
    })
      .output().then(({ success }) => success, () => false);
    if (found) return program;
  }
  throw new Error(
    "Cannot test: neither redis-server nor valkey-server is on PATH; run deno task test",
  );
}
