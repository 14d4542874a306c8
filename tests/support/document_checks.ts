/** How the tests check a fenced block of a document. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { readConfig } from "../../lib/config/config.ts";
import type { Runner, Stage } from "./document_stage.ts";
import { type Block, ROOT } from "./documents.ts";
import { find } from "./install.ts";
import { until } from "./wait.ts";

/** Checks one block. */
export interface Check {
  /** The languages that the block may have. */
  readonly languages: readonly string[];
  /** Whether the programs that it needs are installed. */
  readonly available?: boolean;
  run(stage: Stage, block: Block): Promise<void> | void;
}

const python = await find("python"), php = await find("php");

/** How code of a language runs. */
const RUNNERS: Readonly<Record<string, Runner | undefined>> = {
  sh: ["sh", "-ec"],
  js: ["node", "--input-type=module", "-e"],
  python: python === undefined ? undefined : [python, "-c"],
  php: php === undefined ? undefined : [php, "-r"],
};

/** The code runs to its end, and prints something that matches `output`. */
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

/** The code publishes these messages into the room `chat`, and nothing else. */
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

/** The block shows what the command before it printed, with ids and times of its own. */
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

/** The block shows the node's response to a GET request. */
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

/** Replaces what differs from run to run: ids, positions and times. */
function withoutIds(value: unknown): unknown {
  const text = JSON.stringify(value)
    .replaceAll(/[\w-]+\.\d{13}-\d+/g, "<position>")
    .replaceAll(/\d{13}-\d+/g, "<id>")
    .replaceAll(/"at":\d{13}/g, '"at":0');
  return JSON.parse(text);
}

/**
 * The command starts a node that publishes into the log of this stage if it has REDIS_URL, and into its own otherwise.
 * A terminal's Ctrl-\ ends it at once. The same command is not started again for another document.
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

/** The page, on another origin than the node, writes a message to the console. */
export function receivesInBrowser(): Check {
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
        await page.waitForFunction("socket.connected");
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

/** The program, run by Node, says that it is connected, and then prints a line for a message. */
export function receivesInNode(
  message: unknown = "to a program",
  line = "chat to a program",
): Check {
  return {
    languages: ["js"],
    async run(stage, block) {
      const [program, ...args] = RUNNERS.js ?? ["node"];
      await using running = stage.spawn(block, [program, ...args]);
      await running.lines.have(1);
      await stage.node.publish(message);
      await running.lines.have(2);
      assert.deepEqual(running.lines.items, ["connected", line]);
    },
  };
}

/** The code is a part of a program for Node: it runs between other code, which prints `output`. */
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

/** The code is a module of a page that the node serves; it passes messages to the function `show`. */
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

/** The types are valid. */
export function typeChecks(): Check {
  return {
    languages: ["ts"],
    async run(stage, block) {
      const path = await Deno.makeTempFile({ suffix: ".ts" });
      try {
        await Deno.writeTextFile(path, block.code);
        await stage.run({ ...block, code: path }, [
          Deno.execPath(),
          "check",
          "--no-config",
        ]);
      } finally {
        await Deno.remove(path);
      }
    },
  };
}

/** The benchmarks take minutes. Instead, their files have to exist. */
export function benchmarks(): Check {
  return notRun(["sh"], "takes minutes", (_, { code, where }) => {
    const paths = [...code.matchAll(/^deno run -A (\S+)/gm)];
    assert.equal(paths.length, code.trim().split("\n").length, where);
    for (const [, path = ""] of paths) Deno.statSync(new URL(path, ROOT));
  });
}

/** A block that no test can run, and what is checked instead. */
export function notRun(
  languages: readonly string[],
  _reason: string,
  run: Check["run"],
): Check {
  return { languages, run };
}

/** `docker compose up` needs Docker. Instead, its key is generated and has to be valid. */
export function composes(): Check {
  return notRun(["sh"], "needs Docker", async (stage, block) => {
    const [generate = "", ...rest] = block.code.trim().split("\n");
    assert.deepEqual(rest, ["docker compose up --build"], block.where);
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
