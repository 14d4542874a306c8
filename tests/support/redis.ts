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

/** A place in a server's append-only file. */
export interface AofMark {
  readonly file: string;
  readonly bytes: number;
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
  command(...args: string[]): Promise<unknown> {
    return command(this.url, ...args);
  }

  /** A field of `INFO`, as text; undefined if there is none. */
  async info(section: string, field: string): Promise<string | undefined> {
    const info = String(await this.command("INFO", section));
    return new RegExp(`^${field}:(.*?)\\r?$`, "m").exec(info)?.[1];
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
    await this.#start(this.#options.aof ?? true);
  }

  /** Returns the end of the append-only file. Redis writes a command to the file before it sends the reply. */
  async aofMark(): Promise<AofMark> {
    const folder = `${this.#folder}/appendonlydir`;
    const numbers = (await Array.fromAsync(Deno.readDir(folder)))
      .map(({ name }) => /\.(\d+)\.incr\.aof$/.exec(name)?.[1])
      .filter((number) => number !== undefined).map(Number);
    const file = `${folder}/appendonly.aof.${Math.max(...numbers)}.incr.aof`;
    return { file, bytes: (await Deno.stat(file)).size };
  }

  /**
   * Kills it, cuts its append-only file at `mark`, and starts it again. A power failure leaves the same if the newer
   * part had not reached the disk.
   */
  async losePower({ file, bytes }: AofMark): Promise<void> {
    if ((await this.aofMark()).file !== file) {
      throw new Error("Cannot cut the append-only file: Redis rewrote it");
    }
    await this.kill();
    await Deno.truncate(file, bytes);
    await this.restart();
  }

  /** Writes a snapshot (RDB) and keeps it for {@linkcode Redis.restore}. */
  async snapshot(): Promise<void> {
    await this.command("SAVE");
    await Deno.copyFile(
      `${this.#folder}/dump.rdb`,
      `${this.#folder}/kept.rdb`,
    );
  }

  /** Kills it and starts it again from the last {@linkcode Redis.snapshot} alone. */
  async restore(): Promise<void> {
    await this.kill();
    await Deno.remove(`${this.#folder}/appendonlydir`, { recursive: true })
      .catch(() => {});
    await Deno.copyFile(
      `${this.#folder}/kept.rdb`,
      `${this.#folder}/dump.rdb`,
    );
    // With an append-only file switched on at start, Redis would not read the snapshot.
    await this.#start(false);
    if (!(this.#options.aof ?? true)) return;
    await this.command("CONFIG", "SET", "appendonly", "yes");
    await this.rewritten();
  }

  /** Waits until the append-only file is complete. While Redis rewrites it, a kill would lose too much. */
  async rewritten(): Promise<void> {
    await until("the append-only file is whole", async () => {
      const info = String(await this.command("INFO", "persistence"));
      return /^aof_rewrite_in_progress:0\r?$/m.test(info) &&
        /^aof_rewrite_scheduled:0\r?$/m.test(info);
    });
  }

  async #start(aof: boolean): Promise<void> {
    const { program = await serverProgram(), args = [] } = this.#options;
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

/** Runs a command on a connection of its own to the Redis at `url`. */
export async function command(
  url: string,
  ...args: string[]
): Promise<unknown> {
  const client = createClient({
    url,
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

/** The server program that is installed. */
export async function serverProgram(): Promise<string> {
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
