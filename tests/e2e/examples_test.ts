/** Runs the examples against one real node with Redis, over a proxy that refuses publishes and loses answers. */
import assert from "node:assert/strict";
import { chromium, type Page } from "playwright-core";
import { find } from "../support/install.ts";
import { Nginx } from "../support/nginx.ts";
import { TestNode } from "../support/node.ts";
import { Program, run } from "../support/program.ts";
import { Redis } from "../support/redis.ts";
import {
  type Attempt,
  type Fault,
  RETRY_AFTER_SECONDS,
  UnreliableProxy,
} from "../support/unreliable_proxy.ts";
import { pauseFor } from "../support/wait.ts";

const cwd = new URL("../../examples/", import.meta.url);
const [python, php, go, curl, nginx] = await Promise.all(
  (["python", "php", "go", "curl", "nginx"] as const).map(find),
);

/** Steps run at once, and Playwright keeps handles open until the process ends. */
const options = {
  sanitizeOps: false,
  sanitizeResources: false,
  sanitizeExit: false,
};

interface Publisher {
  readonly command: readonly [program: string | undefined, ...args: string[]];
  /** The lines that `subscribe.mjs` prints for the publisher's messages. */
  readonly prints: readonly string[];
  /** The faults that the publisher's requests meet, if it publishes over HTTP. */
  readonly faults?: readonly Fault[];
}

const publishers: readonly Publisher[] = [
  {
    command: [curl && "sh", "publish.sh"],
    prints: ["hello", "{ text: 'hello', from: 'curl' }", "once"],
    // curl tries again after a 503, and not after a lost answer.
    faults: ["unavailable"],
  },
  {
    command: ["node", "publish.mjs"],
    prints: ["{ text: 'hello', from: 'node' }"],
    faults: ["unavailable", "lost"],
  },
  {
    command: [python, "publish.py"],
    prints: ["{ text: 'hello', from: 'python' }"],
    faults: ["unavailable", "lost"],
  },
  {
    command: [php, "publish.php"],
    prints: ["{ text: 'hello', from: 'php' }"],
    faults: ["unavailable", "lost"],
  },
  {
    command: [go, "run", "publish.go"],
    // Go sorts the keys of a map.
    prints: ["{ from: 'go', text: 'hello' }"],
    faults: ["unavailable", "lost"],
  },
  { command: ["sh", "publish-redis.sh"], prints: ["1234567890"] },
  { command: [python, "publish-redis.py"], prints: ["hello from python"] },
  { command: [php, "publish-redis.php"], prints: ["hello from php"] },
];

Deno.test(
  "the examples work with a node that has Redis and a publish key",
  options,
  async (t) => {
    await using cluster = await Cluster.start();
    // All of them run at once, because they wait most of the time.
    await Promise.all([
      t.step(
        "each publisher publishes its message once, even if requests fail or responses are lost",
        (t) => testPublishers(t, cluster),
      ),
      t.step(
        "the pages of browser.html and llm-stream/ show what is published",
        (t) => testPages(t, cluster),
      ),
      t.step({
        name: "nginx, configured with nginx.conf, passes requests to the nodes",
        ignore: nginx === undefined,
        fn: () => testNginx(cluster),
      }),
    ]);
  },
);

async function testPublishers(
  t: Deno.TestContext,
  { proxy, env }: Cluster,
): Promise<void> {
  await using subscriber = new Program("node", ["subscribe.mjs"], { cwd, env });
  await subscriber.lines.have(1);
  assert.equal(subscriber.lines.items[0], "connected");
  // A line is time, room, id and message.
  const received = () =>
    subscriber.lines.items.slice(1).map((line) =>
      /^\S+Z chat \d+-\d+ (.*)$/.exec(line)?.[1]
    );
  const wanted: string[] = [];
  const started = publishers.map(({ command, prints, faults = [] }) => {
    const [program, ...args] = command;
    const name = args.at(-1) ?? "";
    const { url, attempts } = proxy.route(name, faults);
    const ended = program === undefined
      ? Promise.resolve("")
      : run(program, args, { cwd, env: { ...env, ROOMCAST_URL: url } });
    ended.catch(() => {});
    if (program !== undefined) wanted.push(...prints);
    return { name, ignore: program === undefined, faults, attempts, ended };
  });
  for (const { name, ignore, faults, attempts, ended } of started) {
    await t.step({
      name,
      ignore,
      fn: async () => {
        await ended;
        checkAttempts(attempts, faults);
      },
    });
  }
  await subscriber.lines.where(() =>
    wanted.every((line) => received().includes(line))
  );
  assert.deepEqual(
    received().filter((line) => wanted.includes(line ?? "")).sort(),
    wanted.sort(),
  );
}

async function testPages(
  t: Deno.TestContext,
  { node, proxy, env }: Cluster,
): Promise<void> {
  await using pages = servePages(node.url);
  const browser = await chromium.launch({
    executablePath: Deno.env.get("CHROMIUM") ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu"],
  });
  await using _closing = { [Symbol.asyncDispose]: () => browser.close() };
  const open = async (path: string): Promise<Page> => {
    const page = await browser.newPage();
    await page.goto(pages.url + path);
    return page;
  };

  await t.step("browser.html", async () => {
    const page = await open("browser.html");
    await page.locator("#state", { hasText: /^connected$/ }).waitFor();
    await node.publish("<b>hello</b>", "chat", {
      authorization: "Bearer s3cret",
    });
    await page.locator("li", { hasText: 'chat "<b>hello</b>"' }).waitFor();
  });

  await t.step("llm-stream", async () => {
    const tokens = Array.from({ length: 300 }, (_, i) => ` token${i}`);
    const whole = tokens.join("");
    const { url, attempts } = proxy.route("llm", [
      undefined,
      "lost",
      undefined,
      "unavailable",
    ]);
    await using model = new Program("node", [
      "llm-stream/publish.mjs",
      "answer.1",
    ], { cwd, env: { ...env, ROOMCAST_URL: url } });
    const write = async (part: string[]): Promise<void> => {
      for (const token of part) {
        await model.write(token);
        // A model takes its time between two tokens.
        await pauseFor(5);
      }
    };
    const first = await open("llm-stream/?room=answer.1");
    const second = await open("llm-stream/?room=answer.1");
    await write(tokens.slice(0, 100));
    await first.locator("#answer", { hasText: "token9" }).waitFor();
    const rest = write(tokens.slice(100)).then(() => model.end());
    await first.reload();
    assert.notEqual(await first.locator("#state").textContent(), "complete");
    const late = await open("llm-stream/?room=answer.1");
    assert.equal(await rest, 0);
    const after = await open("llm-stream/?room=answer.1");
    for (const page of [first, second, late, after]) {
      await page.locator("#state", { hasText: "complete" }).waitFor();
      assert.equal(await page.locator("#answer").textContent(), whole);
    }
    // Fewer messages than tokens, and each one acknowledged in the end.
    const messages = new Set(attempts.map(({ key }) => key)).size;
    assert.ok(messages < tokens.length / 2, `${messages}`);
    assert.equal(attempts.length, messages + 2);
  });
}

async function testNginx({ node, env }: Cluster): Promise<void> {
  await using proxy = await Nginx.start(nginx ?? "", [node.port]);
  const answer = await run("node", ["publish.mjs", "through nginx"], {
    cwd,
    env: { ...env, ROOMCAST_URL: proxy.url },
  });
  assert.match(answer, /room: 'chat', duplicate: false/);
}

/** One node with Redis and a publish key, and the proxy in front of it. */
class Cluster {
  private constructor(
    readonly redis: Redis,
    readonly node: TestNode,
    readonly proxy: UnreliableProxy,
  ) {}

  static async start(): Promise<Cluster> {
    const redis = await Redis.start();
    const node = await TestNode.start({
      REDIS_URL: redis.url,
      PUBLISH_KEYS: "backend:s3cret",
    });
    return new Cluster(redis, node, await UnreliableProxy.start(node.url));
  }

  /** The environment of an example. */
  get env(): Record<string, string> {
    return {
      ROOMCAST_URL: this.node.url,
      REDIS_URL: this.redis.url,
      ROOMCAST_KEY: "s3cret",
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy[Symbol.asyncDispose]();
    await this.node[Symbol.asyncDispose]();
    await this.redis[Symbol.asyncDispose]();
  }
}

/** Serves the pages of examples/ with the address of the server at `node` in place of their own. */
function servePages(node: string): AsyncDisposable & { url: string } {
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    async (request) => {
      const { pathname } = new URL(request.url);
      const file = `.${pathname.replace(/\/$/, "/index.html")}`;
      if (!file.endsWith(".html")) return new Response(null, { status: 404 });
      const html = await Deno.readTextFile(new URL(file, cwd));
      return new Response(html.replaceAll("http://localhost:4000", node), {
        headers: { "content-type": "text/html" },
      });
    },
  );
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/**
 * Checks that all attempts to publish the first message had the same key, and that none was made before `Retry-After`.
 */
function checkAttempts(
  attempts: readonly Attempt[],
  faults: readonly Fault[],
): void {
  const tries = attempts.slice(0, faults.length && faults.length + 1);
  assert.equal(tries.length, faults.length && faults.length + 1);
  assert.ok(tries.every(({ key }) => key !== undefined));
  assert.ok(new Set(tries.map(({ key }) => key)).size <= 1);
  tries.slice(1).forEach(({ at }, index) => {
    const { fault, at: before = 0 } = tries[index] ?? {};
    if (fault !== "unavailable") return;
    // Clocks of timers are read in whole milliseconds.
    assert.ok(at - before >= RETRY_AFTER_SECONDS * 1000 - 5, `${at - before}`);
  });
}
