/**
 * Records `docs/images/demo.gif` and its last state, `docs/images/demo.png`: two windows on two nodes and a terminal.
 * One node is killed, and its window gets what it missed from the other one. Everything in it really happens.
 *
 *     deno run -A tests/support/record_demo.ts [folder]
 *
 * Needs redis-server, redis-cli, Chromium and ffmpeg. Record it on an idle machine: a frame takes about 0.1 s.
 *
 * @module
 */
import type { Browser, Page } from "playwright-core";
import { Buffer } from "node:buffer";
import { launch } from "./browser.ts";
import { Proxy } from "./net.ts";
import { TestNode } from "./node.ts";
import { Redis } from "./redis.ts";
import { pauseFor, soon } from "./wait.ts";

const WIDTH = 1200, HEIGHT = 675;
/** The part of a window below its title bar, in pixels of the recording. */
const VIEW = { width: 578, height: 400 };
/** The page is laid out larger than it is shown, so that more of it can be seen. */
const SCALE = 0.85;
/** Lines that fit into the terminal. */
const TERMINAL_LINES = 6;
const LETTERS_PER_SECOND = 40;
/** Colors of the recording; with more the file exceeds 2 MB. */
const COLORS = 128;
const LAST_FRAME_SECONDS = 2.5;

/** The two windows and the terminal, which the frames are screenshots of. */
const STAGE = `<!DOCTYPE html><meta charset="utf-8"><style>
  * { box-sizing: border-box; margin: 0; }
  body { width: ${WIDTH}px; height: ${HEIGHT}px; padding: 14px; background: #d9e0dc; overflow: hidden;
    display: grid; grid-template: auto 1fr / 1fr 1fr; gap: 12px; font: 14px system-ui, sans-serif; }
  .window { background: #fff; border-radius: 9px; overflow: hidden; box-shadow: 0 2px 10px #0003; }
  .bar { height: 34px; padding: 0 12px; background: #eef2f0; display: flex; align-items: center; gap: 7px; color: #3c4843; }
  .bar i { width: 11px; height: 11px; border-radius: 50%; background: #c3ccc7; }
  .bar b { margin-left: auto; padding: 3px 10px; border-radius: 99px; font-weight: 600; color: #fff; background: #0b7a5c; }
  .bar b.down { background: #b3402a; }
  img { display: block; width: ${VIEW.width}px; height: ${VIEW.height}px; }
  pre { grid-column: 1 / 3; padding: 14px 18px; border-radius: 9px; background: #101816; color: #d7e4dd;
    font: 17px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; box-shadow: 0 2px 10px #0003; overflow: hidden;
    display: flex; flex-direction: column; justify-content: flex-end; }
</style>
<div class="window"><div class="bar"><i></i><i></i><i></i>&nbsp; Browser 1 <b id="left-node"></b></div><img id="left"></div>
<div class="window"><div class="bar"><i></i><i></i><i></i>&nbsp; Browser 2 <b id="right-node"></b></div><img id="right"></div>
<pre id="terminal"></pre>`;

/** What the recording shows besides the windows' contents. */
interface Labels {
  leftNode: string;
  isLeftDown: boolean;
  terminal: string;
}

/** Takes screenshots as fast as possible, and makes a film of them. */
class Recorder {
  readonly labels: Labels = {
    leftNode: "node 1",
    isLeftDown: false,
    terminal: "$ ",
  };
  readonly #frames: { file: string; at: number }[] = [];
  readonly #folder = Deno.makeTempDirSync();
  readonly #stage: Page;
  readonly #windows: readonly [Page, Page];
  #isRecording = true;
  #recording: Promise<void> | undefined;

  constructor(stage: Page, windows: readonly [Page, Page]) {
    this.#stage = stage;
    this.#windows = windows;
  }

  /** Starts to take frames. */
  start(): void {
    this.#recording = (async () => {
      while (this.#isRecording) await this.#frame();
    })();
  }

  /** Types a command into the terminal, runs it and shows what it prints. */
  async type(command: string, run: () => Promise<string>): Promise<void> {
    for (const letter of command) {
      this.labels.terminal += letter;
      await pauseFor(1000 / LETTERS_PER_SECOND);
    }
    await pauseFor(250);
    const output = await run();
    this.labels.terminal += `\n${output === "" ? "" : `${output}\n`}$ `;
  }

  /** Ends the recording and writes the film and the still into a folder. */
  async save(folder: string): Promise<void> {
    this.#isRecording = false;
    await this.#recording;
    const last = this.#frames.at(-1);
    if (last === undefined) throw new Error("Cannot save: nothing is recorded");
    await Deno.copyFile(last.file, `${folder}/demo.png`);
    const list = this.#frames.map(({ file, at }, index) => {
      const next = this.#frames[index + 1]?.at;
      const seconds = next === undefined
        ? LAST_FRAME_SECONDS
        : (next - at) / 1000;
      return `file '${file}'\nduration ${seconds.toFixed(3)}\n`;
    });
    const script = `${this.#folder}/frames.txt`;
    // The demuxer ignores the last duration unless the file is listed again.
    await Deno.writeTextFile(
      script,
      `ffconcat version 1.0\n${list.join("")}file '${last.file}'\n`,
    );
    await run("ffmpeg", [
      ..."-y -loglevel error -f concat -safe 0 -i".split(" "),
      script,
      "-filter_complex",
      `fps=10,split[a][b];[a]palettegen=max_colors=${COLORS}[p];[b][p]paletteuse=dither=none:diff_mode=rectangle`,
      `${folder}/demo.gif`,
    ]);
    await Deno.remove(this.#folder, { recursive: true });
  }

  async #frame(): Promise<void> {
    const at = performance.now();
    const [left, right] = await Promise.all(
      this.#windows.map(async (page) =>
        `data:image/png;base64,${
          Buffer.from(await page.screenshot()).toString("base64")
        }`
      ),
    );
    await this.#stage.evaluate(
      `(async ({ left, right, leftNode, isLeftDown, terminal }) => {
        const find = (id) => document.getElementById(id);
        find("left").src = left;
        find("right").src = right;
        find("left-node").textContent = leftNode;
        find("left-node").className = isLeftDown ? "down" : "";
        find("right-node").textContent = "node 2";
        find("terminal").textContent = terminal.split("\\n").slice(-${TERMINAL_LINES}).join("\\n");
        await Promise.all([find("left").decode(), find("right").decode()]);
      })(${JSON.stringify({ left, right, ...this.labels })})`,
    );
    const file = `${this.#folder}/${
      String(this.#frames.length).padStart(4, "0")
    }.png`;
    await this.#stage.screenshot({ path: file });
    this.#frames.push({ file, at });
  }
}

async function run(program: string, args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, { args })
    .output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(decoder.decode(stderr));
  return decoder.decode(stdout).trim();
}

/** Opens the page of a node in a window of its own. */
async function openWindow(browser: Browser, url: string): Promise<Page> {
  const context = await browser.newContext({
    viewport: {
      width: Math.round(VIEW.width / SCALE),
      height: Math.round(VIEW.height / SCALE),
    },
    deviceScaleFactor: SCALE,
    colorScheme: "light",
  });
  const page = await context.newPage();
  await page.goto(url);
  await connected(page);
  return page;
}

function connected(page: Page): Promise<void> {
  return page.locator("#state[data-state=connected]").waitFor();
}

async function shows(page: Page, ...texts: string[]): Promise<void> {
  for (const text of texts) {
    await page.locator("li[data-id]", { hasText: text }).first()
      .waitFor();
  }
}

async function record(folder: string): Promise<void> {
  const missed = ["one", "two", "three"];
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url };
  await using first = await TestNode.start(env);
  await using second = await TestNode.start(env);
  // A balancer in front of both nodes, which sends the left window to the first one.
  await using balancer = await Proxy.start(first.port);
  const browser = await launch();
  try {
    const left = await openWindow(browser, balancer.url);
    const right = await openWindow(browser, second.url);
    const stage = await browser.newPage({
      viewport: { width: WIDTH, height: HEIGHT },
    });
    await stage.setContent(STAGE);
    const recorder = new Recorder(stage, [left, right]);
    const publish = (...messages: string[]): Promise<string> =>
      run("sh", [
        "-ec",
        'port=$1; shift; for m in "$@"; do redis-cli --no-raw -p "$port" PUBLISH chat "$m"; done',
        "sh",
        `${redis.port}`,
        ...messages,
      ]);
    recorder.start();
    await pauseFor(500);
    await recorder.type("redis-cli PUBLISH chat hello", () => publish("hello"));
    await shows(left, "hello");
    await shows(right, "hello");
    await pauseFor(900);
    await recorder.type("kill -9 $(cat node-1.pid)", async () => {
      // Until the balancer knows that the node is gone, it refuses connections.
      balancer.targets = [];
      first.signal("SIGKILL");
      recorder.labels.leftNode = "node 1 was killed";
      recorder.labels.isLeftDown = true;
      await left.locator("#state:not([data-state=connected])").waitFor();
      return "";
    });
    await recorder.type(
      'for m in one two three; do redis-cli PUBLISH chat "$m"; done',
      () => publish(...missed),
    );
    await shows(right, ...missed);
    await pauseFor(700);
    balancer.targets = [second.port];
    await soon(connected(left), "the window is connected again");
    recorder.labels.leftNode = "node 2";
    recorder.labels.isLeftDown = false;
    await shows(left, ...missed);
    await recorder.type("# nothing is missing", () => Promise.resolve(""));
    await pauseFor(800);
    await recorder.save(folder);
  } finally {
    await browser.close();
  }
}

if (import.meta.main) {
  await record(
    Deno.args[0] ?? new URL("../../docs/images", import.meta.url).pathname,
  );
}
