/** Starts a real Redis (or Valkey) for one test. */
import { createClient } from "@redis/client";
import { freePort } from "./net.ts";
import { soon, until } from "./wait.ts";

/** Options of a test's Redis. */
export interface RedisOptions {
  /** Whether the server keeps an append-only file, like a Redis in production; true by default. */
  readonly aof?: boolean;
  /**
   * When the server writes the append-only file to disk; `everysec` by default, like a Redis in production. The server
   * then keeps acknowledged writes in its memory while the disk is slow, for up to 2 s, and loses them if it is killed.
   */
  readonly fsync?: "always" | "everysec";
  /** The program to run; by default `redis-server`, or `valkey-server` if only that is installed. */
  readonly program?: string;
  /** Further command-line arguments of the server. */
  readonly args?: readonly string[];
}

/** A place in a server's append-only file. */
export interface AofMark {
  readonly file: string;
  readonly bytes: number;
}

/** A running Redis server; `await using` stops the server. */
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

  /** Starts a server on a free port, with a folder of its own for its data. */
  static async start(options: RedisOptions = {}): Promise<Redis> {
    const folder = await Deno.makeTempDir({ prefix: "roomcast-redis-" });
    const redis = new Redis(await freePort(), folder, options);
    await redis.restart();
    return redis;
  }

  /** The URL of the server, for `REDIS_URL`. */
  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Runs a command on the server, on a new connection. */
  command(...args: string[]): Promise<unknown> {
    return command(this.url, ...args);
  }

  /** Resolves to the value of a field of `INFO`; undefined if the server has no such field. */
  async info(section: string, field: string): Promise<string | undefined> {
    const info = String(await this.command("INFO", section));
    return new RegExp(`^${field}:(.*?)\\r?$`, "m").exec(info)?.[1];
  }

  /** Resolves to the number of calls of a command since the server started. */
  async calls(command: string): Promise<number> {
    const stats = String(await this.command("INFO", "commandstats"));
    return Number(
      new RegExp(`^cmdstat_${command}:calls=(\\d+)`, "m").exec(stats)?.[1] ?? 0,
    );
  }

  /** Deletes entries of a stream, and sets the stream's last id back to the id of the newest entry that is left. */
  async removeEntries(stream: string, ids: readonly string[]): Promise<void> {
    await this.command("XDEL", stream, ...ids);
    const [[last = "0-0"] = []] = await this.command(
      "XREVRANGE",
      stream,
      "+",
      "-",
      "COUNT",
      "1",
    ) as [string][];
    await this.command("XSETID", stream, last);
  }

  /** Sends the server's process a signal, for example `SIGSTOP` or `SIGCONT`. */
  signal(signal: Deno.Signal): void {
    this.#process?.kill(signal);
  }

  /** Sends the server's process a signal, by default SIGKILL, and waits until it has exited. */
  async kill(signal: Deno.Signal = "SIGKILL"): Promise<void> {
    const process = this.#process;
    if (process === undefined) return;
    this.#process = undefined;
    process.kill("SIGCONT");
    process.kill(signal);
    await process.status;
  }

  /** Starts the server again with the same port and folder, and waits until it responds. */
  async restart(): Promise<void> {
    await this.#start(this.#options.aof ?? true);
  }

  /**
   * Resolves to the end of the append-only file. All commands with a reply are before this place, because Redis writes
   * a command to the file before it sends the reply.
   */
  async aofMark(): Promise<AofMark> {
    const folder = `${this.#folder}/appendonlydir`;
    const numbers = (await Array.fromAsync(Deno.readDir(folder)))
      .map(({ name }) => /\.(\d+)\.incr\.aof$/.exec(name)?.[1])
      .filter((number) => number !== undefined).map(Number);
    const file = `${folder}/appendonly.aof.${Math.max(...numbers)}.incr.aof`;
    return { file, bytes: (await Deno.stat(file)).size };
  }

  /**
   * Kills the server, truncates its append-only file at `mark`, and starts the server again. A power failure has the
   * same effect if the part after `mark` had not reached the disk.
   */
  async losePower({ file, bytes }: AofMark): Promise<void> {
    if ((await this.aofMark()).file !== file) {
      throw new Error("Cannot truncate the append-only file: Redis rewrote it");
    }
    await this.kill();
    await Deno.truncate(file, bytes);
    await this.restart();
  }

  /** Writes a snapshot (RDB) and keeps a copy of it for {@linkcode Redis.restore}. */
  async snapshot(): Promise<void> {
    await this.command("SAVE");
    await Deno.copyFile(
      `${this.#folder}/dump.rdb`,
      `${this.#folder}/kept.rdb`,
    );
  }

  /** Kills the server and starts it again with only the data of the last {@linkcode Redis.snapshot}. */
  async restore(): Promise<void> {
    await this.kill();
    await Deno.remove(`${this.#folder}/appendonlydir`, { recursive: true })
      .catch(() => {});
    await Deno.copyFile(
      `${this.#folder}/kept.rdb`,
      `${this.#folder}/dump.rdb`,
    );
    // Redis would not read the snapshot if the append-only file were enabled at start.
    await this.#start(false);
    if (!(this.#options.aof ?? true)) return;
    await this.command("CONFIG", "SET", "appendonly", "yes");
    await this.rewritten();
  }

  /**
   * Waits until Redis has finished to rewrite its append-only file. A kill before that would lose more data than the
   * test intends.
   */
  async rewritten(): Promise<void> {
    await until("the append-only file is complete", async () => {
      const info = String(await this.command("INFO", "persistence"));
      return /^aof_rewrite_in_progress:0\r?$/m.test(info) &&
        /^aof_rewrite_scheduled:0\r?$/m.test(info);
    });
  }

  async #start(aof: boolean): Promise<void> {
    const { program = await serverProgram(), fsync = "everysec", args = [] } =
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
          fsync,
        ],
        ...args,
      ],
      stdout: "null",
      stderr: "null",
    }).spawn();
    await until(
      "Redis responds",
      () => this.command("PING").then((pong) => pong === "PONG", () => false),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await Deno.remove(this.#folder, { recursive: true });
  }
}

/** Runs a command on the Redis server at `url`, on a new connection. */
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
    await soon(client.connect(), "Redis responds");
    return await soon(client.sendCommand(args), `Redis replies to ${args[0]}`);
  } finally {
    client.destroy();
  }
}

/** Resolves to the name of the installed server program, of Redis or of Valkey. */
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
