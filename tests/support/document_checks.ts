/** The ways in which tests check a fenced block of a document. Each function returns a {@linkcode Check}. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { readConfig } from "../../lib/config/config.ts";
import type { Runner, Stage } from "./document_stage.ts";
import { type Block, ROOT } from "./documents.ts";
import { find } from "./install.ts";
import { until } from "./wait.ts";

/** A way to check one block of a document. */
export interface Check {
  /** The languages that the block may have. */
  readonly languages: readonly string[];
  /** Whether all programs that the check needs are installed. */
  readonly available?: boolean;
  run(stage: Stage, block: Block): Promise<void> | void;
}

const python = await find("python"), php = await find("php");

/** The programs that run the code of a block, by the block's language. */
const RUNNERS: Readonly<Record<string, Runner | undefined>> = {
  sh: ["sh", "-ec"],
  js: ["node", "--input-type=module", "-e"],
  python: python === undefined ? undefined : [python, "-c"],
  php: php === undefined ? undefined : [php, "-r"],
};

/** Returns a check that runs the code to its end. The code has to print text that matches `output`. */
export function runs(output = /^/, language = "sh"): Check {
  return {
    languages: [language],
    available: RUNNERS[language] !== undefined,
    async run(stage, block) {
      await runBlock(stage, block);
      assert.match(stage.output, output, block.where);
    },
  };
}

/** Returns a check that runs the code, which has to publish these messages into the room `chat`, and nothing else. */
export function publishes(language: string, ...messages: unknown[]): Check {
  return {
    languages: [language],
    available: RUNNERS[language] !== undefined,
    async run(stage, block) {
      const { items } = stage.subscriber.messages;
      const before = items.length;
      await runBlock(stage, block);
      await stage.subscriber.messages.have(before + messages.length);
      assert.deepEqual(
        items.slice(before).map(({ message }) => message),
        messages,
        block.where,
      );
    },
  };
}

async function runBlock(stage: Stage, block: Block): Promise<void> {
  const runner = RUNNERS[block.language];
  assert.ok(runner, `${block.where}: nothing runs ${block.language}`);
  const code = block.code.replace(/^<\?php/, "");
  await stage.run({ ...block, code }, runner);
}

/** Returns a check for a block that shows what the previous command prints. Ids and times may differ. */
export function printed(): Check {
  return {
    languages: ["json"],
    run: (stage, { code, where }) =>
      assert.deepEqual(
        withoutIds(JSON.parse(stage.output)),
        withoutIds(JSON.parse(code)),
        where,
      ),
  };
}

/** Returns a check for a block that shows the node's response to `GET path`. */
export function responds(path: string): Check {
  const { languages, run } = printed();
  return {
    languages,
    async run(stage, block) {
      stage.output = (await stage.node.get(path)).text;
      await run(stage, block);
    },
  };
}

/**
 * Returns a check for a command that prints a stream of events. The stream has to begin, and the command is then ended.
 */
export function streams(): Check {
  return {
    languages: ["sh"],
    async run(stage, block) {
      await stage.node.publish("hello");
      await using running = stage.spawn(block, ["sh", "-ec"]);
      const { lines } = running;
      await lines.where(() =>
        lines.items.some((line) => line.startsWith("retry: ")) &&
        lines.items.at(-1) === ""
      );
      stage.output = lines.items.join("\n");
    },
  };
}

/** Returns a check for a block that shows the events which the previous command prints. Ids and times may differ. */
export function streamed(): Check {
  const normalize = (text: string): string =>
    text.trim().replaceAll(/[\da-f]{16}(?=\.\d)/g, "<epoch>")
      .replaceAll(/\d{13}-\d+/g, "<id>").replaceAll(/"at":\d{13}/g, "<at>")
      .replaceAll(/^retry: \d+$/gm, "<retry>");
  return {
    languages: ["text"],
    run: (stage, { code, where }) =>
      assert.equal(normalize(stage.output), normalize(code), where),
  };
}

/** Returns a value in which ids, positions and times, which differ from run to run, are replaced. */
function withoutIds(value: unknown): unknown {
  const text = JSON.stringify(value)
    .replaceAll(/[\w-]+\.\d{13}-\d+/g, "<position>")
    .replaceAll(/\d{13}-\d+/g, "<id>")
    .replaceAll(/"at":\d{13}/g, '"at":0');
  return JSON.parse(text);
}

/**
 * Returns a check for a command that starts a node. If the command sets `REDIS_URL`, the node uses the Redis of the
 * stage, otherwise an embedded log. The node is ended by Ctrl-\ on a terminal. The same command is started only once,
 * even if several documents contain it.
 */
export function starts({ onRedis = false } = {}): Check {
  return {
    languages: ["sh"],
    async run(stage, block) {
      const code = block.code.replace(/^npx -y deno@(\S+)/, (_, version) => {
        assert.equal(version, Deno.version.deno, block.where);
        return "deno";
      });
      if (stage.started.has(code)) return;
      stage.started.add(code);
      await using node = stage.spawn({ ...block, code }, ["sh", "-ec"]);
      let url = "";
      await node.lines.where(() => {
        const line = node.lines.items.find((line) =>
          line.includes('"started"')
        );
        if (line !== undefined) url = JSON.parse(line).url;
        return line !== undefined;
      });
      await until(
        `the node of ${block.where} is ready`,
        async () => {
          const { status, body } = await fetch(`${url}/readyz`);
          await body?.cancel();
          return status === 200;
        },
      );
      const before = stage.subscriber.messages.items.length;
      const response = await fetch(`${url}/publish`, {
        method: "POST",
        body: "hello",
      });
      assert.equal(response.status, 200, block.where);
      await response.body?.cancel();
      if (onRedis) await stage.subscriber.messages.have(before + 1);
      else assert.equal(stage.subscriber.messages.items.length, before);
      node.signal("SIGQUIT");
      await node.ended();
      await assert.rejects(fetch(`${url}/livez`));
    },
  };
}

/**
 * Returns a check for a page that has another origin than the node and writes a received message to the console.
 *
 * @param isConnected An expression that is true once the page is connected.
 */
export function receivesInBrowser(isConnected = "socket.connected"): Check {
  return {
    languages: ["html"],
    async run(stage, block) {
      const server = Deno.serve(
        { port: 0, hostname: "127.0.0.1", onListen: () => {} },
        () =>
          new Response(stage.adapt(block.code), {
            headers: { "content-type": "text/html" },
          }),
      );
      const page = await (await stage.browser()).newPage();
      try {
        const lines: string[] = [];
        page.on("console", (message) => lines.push(message.text()));
        await page.goto(`http://127.0.0.1:${server.addr.port}/`);
        await page.waitForFunction(isConnected);
        await stage.node.publish("to a page");
        await until(
          `${block.where} shows a message`,
          () => lines.includes("chat to a page"),
        );
      } finally {
        await page.close();
        await server.shutdown();
      }
    },
  };
}

/**
 * Returns a check for a program that Node runs. The program has to print that it is connected, and then `line` for
 * `message`.
 */
export function receivesInNode(
  message: unknown = "to a program",
  line = "chat to a program",
  event = "msgReceived",
): Check {
  return {
    languages: ["js"],
    async run(stage, block) {
      const [program, ...args] = RUNNERS.js ?? ["node"];
      await using running = stage.spawn(block, [program, ...args]);
      await running.lines.have(1);
      const { status } = await stage.node.post("/publish", { event, message });
      assert.equal(status, 200, block.where);
      await running.lines.have(2);
      assert.deepEqual(running.lines.items, ["connected", line]);
    },
  };
}

/**
 * Returns a check for a part of a program of Node. The part runs between the code `before` and `after`, and the program
 * has to print text that matches `output`.
 */
export function runsBetween(
  before: string,
  after: string,
  output: RegExp,
): Check {
  return {
    languages: ["js"],
    async run(stage, block) {
      const code = `${before}\n${block.code}\n${after}\nprocess.exit();`;
      await stage.run({ ...block, code }, RUNNERS.js ?? ["node"]);
      assert.match(stage.output, output, block.where);
    },
  };
}

/**
 * Returns a check for a module of a page that the node serves. The module has to pass received messages to the function
 * `show`.
 */
export function runsInPage(): Check {
  return {
    languages: ["js"],
    async run(stage, block) {
      const page = await (await stage.browser()).newPage();
      try {
        await page.route("**/a-page", (route) =>
          route.fulfill({
            contentType: "text/html",
            body: `<script>
              const shown = [], show = (...all) => shown.push(all);
            </script><script type="module">${block.code}</script>`,
          }));
        await page.goto(`${stage.node.url}/a-page`);
        await stage.node.publish("to a module");
        await page.waitForFunction(
          `JSON.stringify(shown.at(-1)) === '["chat","to a module"]'`,
        );
      } finally {
        await page.close();
      }
    },
  };
}

/**
 * Returns a check for a module of a page that the node serves, which loads a list from `path` and then receives
 * messages of the room `orders`. The module has to pass the items of the list, and the messages, to the function `show`.
 */
export function loadsStateInPage(path: string): Check {
  return {
    languages: ["js"],
    async run(stage, block) {
      const page = await (await stage.browser()).newPage();
      try {
        await page.route(`**${path}`, async (route) => {
          await stage.node.publish("while it loads", "orders");
          await route.fulfill({ json: ["of the API"] });
        });
        await page.route("**/a-page", (route) =>
          route.fulfill({
            contentType: "text/html",
            body: `<script>const shown = [], show = (one) => shown.push(one);
              </script><script type="module">${block.code}</script>`,
          }));
        await page.goto(`${stage.node.url}/a-page`);
        await page.waitForFunction("shown.length > 1");
        await stage.node.publish("live", "orders");
        await page.waitForFunction("shown.length > 2");
        assert.deepEqual(
          await page.evaluate("shown"),
          ["of the API", "while it loads", "live"],
          block.where,
        );
      } finally {
        await page.close();
      }
    },
  };
}

/**
 * Returns a check that the types of the code are valid. `files` has the file of this repository for each file that the
 * code imports; the code may then import packages, too.
 */
export function typeChecks(
  files: Readonly<Record<string, string>> = {},
): Check {
  return {
    languages: ["ts"],
    async run(stage, block) {
      const path = await Deno.makeTempFile({ suffix: ".ts" });
      try {
        const code = Object.entries(files).reduce(
          (code, [name, file]) =>
            code.replaceAll(`"${name}"`, `"${new URL(file, ROOT)}"`),
          block.code,
        );
        await Deno.writeTextFile(path, code);
        const config = Object.keys(files).length > 0
          ? "--config=deno.json"
          : "--no-config";
        await stage.run(
          { ...block, code: path },
          [Deno.execPath(), "check", config],
        );
      } finally {
        await Deno.remove(path);
      }
    },
  };
}

/** Returns a check that the files of benchmarks exist. The benchmarks do not run, because they take minutes. */
export function benchmarks(): Check {
  return notRun(["sh"], "takes minutes", (_, { code, where }) => {
    const paths = [...code.matchAll(/^deno run -A (\S+)/gm)];
    assert.equal(paths.length, code.trim().split("\n").length, where);
    for (const [, path = ""] of paths) Deno.statSync(new URL(path, ROOT));
  });
}

/** Returns a check for a block that tests cannot run. `run` says what is checked instead. */
export function notRun(
  languages: readonly string[],
  _reason: string,
  run: Check["run"],
): Check {
  return { languages, run };
}

/**
 * Returns a check for the start with Docker Compose. Nothing is started; only the command that generates the key runs.
 */
export function composes(): Check {
  return notRun(["sh"], "needs Docker", async (stage, block) => {
    const [generate = "", ...rest] = block.code.trim().split("\n");
    assert.deepEqual(
      rest,
      ["docker compose up --build --detach --wait"],
      block.where,
    );
    const code = `${generate}\nprintf %s "$PUBLISH_KEYS"`;
    await stage.run({ ...block, code }, ["sh", "-ec"]);
    const { publishKeys } = readConfig({ PUBLISH_KEYS: stage.output });
    assert.deepEqual(
      publishKeys.map(({ name, secret }) => [name, Buffer.byteLength(secret)]),
      [["backend", 32]],
    );
    const compose = await Deno.readTextFile(new URL("compose.yaml", ROOT));
    assert.match(compose, /\$\{PUBLISH_KEYS:\?/);
  });
}

/**
 * Returns a check for the start with Docker alone. Nothing is started; the container must have the same restrictions as
 * with Docker Compose, and get the same setting.
 */
export function runsContainer(): Check {
  return notRun(["sh"], "needs Docker", async (_, { code, where }) => {
    const [build, run = "", ...rest] = code.trim().split("\n");
    assert.deepEqual([build, ...rest], ["docker build -t roomcast ."], where);
    const compose = await Deno.readTextFile(new URL("compose.yaml", ROOT));
    for (
      const [flag, line] of [
        [" --read-only ", /^ {4}read_only: true$/m],
        [" --cap-drop ALL ", /^ {4}cap_drop:\n {6}- ALL$/m],
        [
          " --security-opt no-new-privileges ",
          /^ {4}security_opt:\n {6}- no-new-privileges:true$/m,
        ],
        [" -p 127.0.0.1:4000:4000 ", /^ {6}- 127\.0\.0\.1:4000:4000$/m],
        [" -e PUBLISH_KEYS ", /^ {6}PUBLISH_KEYS: /m],
      ] as const
    ) {
      assert.ok(run.includes(flag), `${where} has no ${flag}`);
      assert.match(compose, line);
    }
    assert.doesNotMatch(compose, /tmpfs/, "the server writes no file");
    assert.match(run, / roomcast$/);
  });
}
