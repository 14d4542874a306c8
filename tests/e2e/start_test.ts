/** What somebody who starts the server sees: lines on a terminal, errors, and a Redis that is away. */
import assert from "node:assert/strict";
import { TextLineStream } from "../support/lines.ts";
import { TestNode } from "../support/node.ts";
import { freePort } from "../support/net.ts";
import { Redis } from "../support/redis.ts";
import { Inbox, soon, until } from "../support/wait.ts";

const root = new URL("../../", import.meta.url);
const decoder = new TextDecoder();
/** Settings of a node that other machines can reach. */
const OPEN = { HOST: "0.0.0.0", OPEN: "true" };

/**
 * A process that runs on a terminal of its own (made by the program `script`), and the lines that the process writes.
 */
class Terminal implements AsyncDisposable {
  readonly lines = new Inbox<string>();
  readonly #process: Deno.ChildProcess;
  readonly #reading: Promise<void>;

  constructor(command: string, env: Readonly<Record<string, string>>) {
    this.#process = new Deno.Command("script", {
      args: [
        "--quiet",
        "--flush",
        "--return",
        "--command",
        command,
        "/dev/null",
      ],
      cwd: root,
      env: {
        TERM: "xterm",
        PATH: `${Deno.execPath()}/..:${Deno.env.get("PATH")}`,
        ...env,
      },
      stdin: "null",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.#reading = this.#read();
  }

  async #read(): Promise<void> {
    const lines = this.#process.stdout.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream());
    for await (const line of lines) this.lines.push(line.trimEnd());
  }

  /** Resolves to the first line that matches `pattern`, as soon as it was written. */
  async line(pattern: RegExp): Promise<string> {
    const find = () => this.lines.items.find((line) => pattern.test(line));
    await this.lines.where(() => find() !== undefined);
    return find() ?? "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGTERM");
    await soon(this.#process.status, "the terminal closes");
    await this.#reading;
  }
}

/** Runs a line of a shell and returns what it prints. */
async function shell(line: string): Promise<string> {
  const { stdout } = await new Deno.Command("sh", { args: ["-c", line] })
    .output();
  return decoder.decode(stdout);
}

const { tasks } = JSON.parse(
  await Deno.readTextFile(new URL("deno.json", root)),
);

Deno.test("a node that is started on a terminal prints its address and a curl command that publishes", async () => {
  await using redis = await Redis.start();
  // This user needs no password, so Redis accepts any.
  const address = redis.url.replace("redis://", "redis://default:hunter2@");
  const cases: [env: Record<string, string>, secret?: string][] = [
    [{ NO_COLOR: "1", ROOMS: "lobby,chat" }],
    [{ NO_COLOR: "", REDIS_URL: address, PUBLISH_KEYS: "ann:s3" }, "s3"],
  ];
  for (const [env, secret] of cases) {
    const PORT = String(await freePort());
    await using terminal = new Terminal(tasks.start.command, { ...env, PORT });
    const publish = await terminal.line(/publish.*curl/);
    // deno-lint-ignore no-control-regex -- colours
    const colors = /\x1b\[\d+m/g;
    assert.equal(colors.test(publish), env.NO_COLOR === "");
    const shown = terminal.lines.items.join("\n").replace(colors, "");
    assert.match(shown, new RegExp(`^  open +http://127.0.0.1:${PORT}$`, "m"));
    assert.doesNotMatch(shown, /^{|s3|hunter2/m);
    const [line = ""] = /curl.*/.exec(publish.replace(colors, "")) ?? [];
    if (secret !== undefined) assert.match(line, /<secret of ann>/);
    await until("the node is ready", async () => {
      const ready = await fetch(`http://127.0.0.1:${PORT}/readyz`)
        .catch(() => undefined);
      await ready?.body?.cancel();
      return ready?.ok === true;
    });
    const answer = await shell(
      line.replace("<secret of ann>", secret ?? "").replace("curl", "curl -s"),
    );
    const room = env.ROOMS === undefined ? "chat" : "lobby";
    assert.match(answer, new RegExp(`"id":"\\d+-\\d+","room":"${room}"`));
  }
});

Deno.test("a node writes its log lines as JSON if its output is no terminal or LOG_FORMAT is json", async () => {
  await using terminal = new Terminal(tasks.start.command, {
    PORT: "0",
    LOG_FORMAT: "json",
  });
  await terminal.line(/"kind":"started"/);
  for (const line of terminal.lines.items) JSON.parse(line);
  await using node = await TestNode.start();
  for (const line of node.output.trim().split("\n")) JSON.parse(line);
});

Deno.test("a node prints one line about Redis while Redis is unreachable, and a second one when Redis is connected", async () => {
  await using redis = await Redis.start();
  await redis.kill();
  const REDIS_URL = redis.url.replace("redis://", "redis://default:hunter2@");
  await using node = await TestNode.start({ REDIS_URL }, { ready: false });
  const about = () =>
    node.log.items.filter(({ kind }) => /^(redis|bridge)_/.test(kind));
  await node.log.where(() => about().length > 0);
  // Its three connections fail several times a second.
  await until(
    "all connections have failed",
    async () => await node.metric("roomcast_redis_disconnections_total") >= 3,
  );
  const [line] = about();
  assert.equal(about().length, 1, node.output);
  assert.match(String(line?.why), /ECONNREFUSED/);
  assert.doesNotMatch(node.output, /hunter2| {4}at /);
  await redis.restart();
  await node.log.where(() =>
    about().some(({ kind }) => kind === "redis_connected")
  );
  assert.equal(about()[1]?.kind, "redis_connected", node.output);
});

Deno.test("a node refuses unknown settings and arguments before it opens its port", async () => {
  const { code, output } = await TestNode.fail({
    PUBLISH_KEY: "a:hunter2",
    CHANNELS: "chat",
    WORKERS: "4",
  });
  assert.equal(code, 1);
  for (const name of ["PUBLISH_KEYS", "CHANNELS needs REDIS_URL", "WORKERS"]) {
    assert.ok(output.includes(name), output);
  }
  assert.doesNotMatch(output, /hunter2|started/);
});

Deno.test("deno task --env-file starts a node with the settings of a file", async () => {
  const file = await Deno.makeTempFile({ prefix: "roomcast-env-" });
  try {
    await Deno.writeTextFile(file, "PORT=0\nLOG_FORMAT=json\nROOMS=lobby\n");
    const command = `deno task --quiet --env-file=${file} start`;
    await using terminal = new Terminal(command, {});
    const { url } = JSON.parse(await terminal.line(/"kind":"started"/));
    assert.equal(
      (await (await fetch(`${url}/page.json`)).json()).room,
      "lobby",
    );
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("a node without HOST listens only at 127.0.0.1", async () => {
  const accepts = async (url: string, hostname: string): Promise<boolean> => {
    const port = Number(new URL(url).port);
    const connection = await Deno.connect({ hostname, port }).catch(() => {});
    connection?.close();
    return connection !== undefined;
  };
  for (const [env, isOpen] of [[{}, false], [OPEN, true]] as const) {
    await using node = await TestNode.start(env);
    assert.equal(await accepts(node.url, "127.0.0.1"), true);
    assert.equal(await accepts(node.url, "127.0.0.2"), isOpen);
  }
});

Deno.test("CHANNELS=- switches the bridge off", async () => {
  await using redis = await Redis.start();
  await using node = await TestNode.start({
    REDIS_URL: redis.url,
    CHANNELS: "-",
  });
  assert.deepEqual(
    node.log.items.find(({ kind }) => kind === "started")?.channels,
    [],
  );
  assert.equal(await redis.command("PUBLISH", "chat", "by channel"), 0);
  await node.publish("by HTTP");
  const { body } = await node.get("/rooms/chat/history");
  assert.deepEqual(
    body.messages.map(({ message }: { message: unknown }) => message),
    ["by HTTP"],
  );
});
