/** Starts what the code of documents needs: a real node on a real Redis, a subscriber and a browser. */
import assert from "node:assert/strict";
import { dirname } from "node:path";
import type { Browser } from "playwright-core";
import { launch } from "./browser.ts";
import { Subscriber } from "./client.ts";
import { type Block, ROOT } from "./documents.ts";
import { TextLineStream } from "./lines.ts";
import { TestNode } from "./node.ts";
import { Redis } from "./redis.ts";
import { Inbox, soon } from "./wait.ts";

/**
 * The environment variables of commands in documents. Commands find the Deno of the tests on PATH, and nodes listen on
 * a free port.
 */
const COMMAND_ENV = {
  PATH: `${dirname(Deno.execPath())}:${Deno.env.get("PATH")}`,
  PORT: "0",
  NO_COLOR: "1",
};

/** A program that runs a block's code, with the code as its argument. */
export type Runner = readonly [program: string, ...args: string[]];

/** One node on Redis with a subscriber and a browser, shared by all blocks; `await using` ends them. */
export class Stage {
  readonly node: TestNode;
  readonly redis: Redis;
  /** A subscriber of the room `chat`. */
  readonly subscriber: Subscriber;
  /** The commands of documents that have already started a node. */
  readonly started = new Set<string>();
  /** The text that the last command has printed. */
  output = "";
  #browser: Browser | undefined;

  private constructor(redis: Redis, node: TestNode, subscriber: Subscriber) {
    this.redis = redis;
    this.node = node;
    this.subscriber = subscriber;
  }

  static async start(): Promise<Stage> {
    const redis = await Redis.start();
    const node = await TestNode.start({ REDIS_URL: redis.url });
    return new Stage(redis, node, await Subscriber.connect(node.url));
  }

  /**
   * Returns the code with this stage's addresses instead of the default ones, which other programs of this machine may
   * use.
   */
  adapt(code: string): string {
    const { port } = this.redis;
    return code
      .replaceAll(/\blocalhost:400[01]\b/g, `127.0.0.1:${this.node.port}`)
      .replaceAll(/\bPORT=\d+/g, "PORT=0")
      .replaceAll("localhost:6379", `localhost:${port}`)
      .replaceAll("redis-cli ", `redis-cli -p ${port} `)
      .replaceAll("redis.Redis()", `redis.Redis(port=${port})`)
      .replaceAll('connect("127.0.0.1")', `connect("127.0.0.1", ${port})`);
  }

  /** Runs the code of a block to its end. Rejects if the program fails. */
  async run({ code, where }: Block, [program, ...args]: Runner): Promise<void> {
    const { success, stdout, stderr } = await soon(
      new Deno.Command(program, {
        args: [...args, this.adapt(code)],
        cwd: ROOT,
        env: COMMAND_ENV,
        stdin: "null",
      }).output(),
      `the code at ${where} ends`,
    );
    const decoder = new TextDecoder();
    this.output = decoder.decode(stdout);
    assert.ok(success, `${where} failed: ${decoder.decode(stderr)}`);
  }

  /** Starts the code of a block that runs until a test ends it. */
  spawn({ code }: Block, [program, ...args]: Runner): Running {
    return new Running(program, [...args, this.adapt(code)]);
  }

  /** Returns the browser that all blocks share. */
  async browser(): Promise<Browser> {
    return this.#browser ??= await launch();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser?.close();
    await this.subscriber[Symbol.asyncDispose]();
    await this.node[Symbol.asyncDispose]();
    await this.redis[Symbol.asyncDispose]();
  }
}

/** A running command and the lines that it prints; `await using` kills it and all of its children. */
export class Running {
  readonly lines = new Inbox<string>();
  readonly #process: Deno.ChildProcess;
  readonly #reading: Promise<void>;

  constructor(program: string, args: readonly string[]) {
    // A group of its own, like a terminal's: `deno task` and `npx` start the node as a child.
    this.#process = new Deno.Command(program, {
      args: [...args],
      cwd: ROOT,
      env: COMMAND_ENV,
      stdin: "null",
      stdout: "piped",
      detached: true,
    }).spawn();
    this.#reading = this.#process.stdout.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream())
      .pipeTo(new WritableStream({ write: (line) => this.lines.push(line) }));
  }

  /** Sends a signal to the process and its children, as a terminal does for Ctrl-C and Ctrl-\. */
  signal(signal: Deno.Signal): void {
    Deno.kill(-this.#process.pid, signal);
  }

  /** Resolves when the process and its children have ended. */
  async ended(): Promise<void> {
    await soon(
      Promise.all([this.#process.status, this.#reading]),
      "the command and its children end",
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.signal("SIGKILL");
    } catch {
      // All have already ended.
    }
    await this.ended();
  }
}
