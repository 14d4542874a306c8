import assert from "node:assert/strict";
import { find } from "../support/install.ts";
import { TextLineStream } from "../support/lines.ts";
import { TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";
import { Inbox } from "../support/wait.ts";

const cwd = new URL("../../examples/", import.meta.url);
const python = await find("python"), curl = await find("curl");

Deno.test({
  name:
    "the examples publish and receive messages with Redis and a publish key",
  ignore: curl === undefined,
  async fn() {
    await using redis = await Redis.start();
    await using node = await TestNode.start({
      REDIS_URL: redis.url,
      PUBLISH_KEYS: "backend:s3cret",
    });
    const env = {
      ROOMCAST_URL: node.url,
      REDIS_URL: redis.url,
      PUBLISH_KEY: "s3cret",
    };
    await using subscriber = new Program("node", ["subscribe.mjs"], env);
    await subscriber.lines.have(1);
    assert.equal(subscriber.lines.items[0], "connected");
    await run("sh", ["publish.sh"], env);
    await run("sh", ["publish-redis.sh"], env);
    if (python !== undefined) await run(python, ["publish.py"], env);
    const wanted = [
      "hello",
      '{ text: "hello", from: "curl" }',
      "once",
      "1234567890",
      ...python === undefined ? [] : ["1234567890"],
    ];
    const [, ...lines] = await subscriber.lines.have(1 + wanted.length);
    // A line is time, room, id and message; Node chooses the quotation marks.
    assert.deepEqual(
      lines.map((line) =>
        /^\S+Z chat \d+-\d+ (.*)$/.exec(line)?.[1]?.replaceAll("'", '"')
      ),
      wanted,
    );
  },
});

/** A running program and the lines that it prints. */
class Program {
  readonly lines = new Inbox<string>();
  readonly #process: Deno.ChildProcess;
  readonly #reading: Promise<void>;

  constructor(program: string, args: string[], env: Record<string, string>) {
    this.#process = new Deno.Command(program, {
      args,
      cwd,
      env,
      stdout: "piped",
    }).spawn();
    this.#reading = this.#process.stdout.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream())
      .pipeTo(new WritableStream({ write: (line) => this.lines.push(line) }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await Promise.all([this.#process.status, this.#reading]);
  }
}

async function run(
  program: string,
  args: string[],
  env: Record<string, string>,
): Promise<void> {
  const { success, stdout, stderr } = await new Deno.Command(program, {
    args,
    cwd,
    env,
  }).output();
  const output = [stdout, stderr].map((bytes) =>
    new TextDecoder().decode(bytes)
  );
  assert.ok(success, output.join("\n"));
}
