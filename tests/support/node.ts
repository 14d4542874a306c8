/** A real node: a process that is started by the command of `deno task start`. */
import assert from "node:assert/strict";
import type { Audience } from "../../routes/api/operation.ts";
import { cpuSecondsOf } from "./cpu.ts";
import { fetchDocumented } from "./documented.ts";
import { TextLineStream } from "./lines.ts";
import { keepSecretsOf, leaksIn } from "./secrets.ts";
import { Inbox, soon, until } from "./wait.ts";

/** One line that a node printed about itself. */
export type LogLine =
  & { readonly kind: string }
  & Readonly<Record<string, unknown>>;

const root = new URL("../../", import.meta.url);

/** Resolves to the arguments of `deno task start`, so that tests run the same command as users. */
async function startArguments(checkout = root): Promise<string[]> {
  const { tasks } = JSON.parse(
    await Deno.readTextFile(new URL("deno.json", checkout)),
  );
  return tasks.start.command.split(" ").slice(1);
}

/**
 * The process of a node; `await using` stops it. When it has stopped, the test fails if the node has printed a secret of
 * its settings, a client token, or the secret of a session. A request fails if the document of the HTTP API does not
 * describe the response.
 */
export class TestNode {
  readonly log = new Inbox<LogLine>();
  /** Everything that the process printed to stdout and stderr. */
  output = "";
  readonly #process: Deno.ChildProcess;
  readonly #reading: Promise<unknown>;
  #url = "";
  #internalUrl = "";
  /** Whether the process is a node of this checkout, whose responses are those of the document. */
  #isDocumented = false;

  private constructor(process: Deno.ChildProcess) {
    this.#process = process;
    this.#reading = Promise.all([
      this.#readLines(process.stdout),
      this.#readLines(process.stderr),
    ]);
  }

  /**
   * Starts a node on a free port. Waits until the node listens and, if `ready` is true, until `/readyz` succeeds.
   *
   * @param options.script A script to run instead of Roomcast. It has to print the log line `started` with its `url`,
   * as a node does.
   * @param options.program A program to run the script with instead of Deno.
   * @param options.checkout The directory of another version of Roomcast to run.
   * @param options.confined A program with arguments that runs the command which follows.
   * @param options.descriptorsMax The process's hard limit of file descriptors, which is also its soft limit.
   */
  static async start(
    env: Readonly<Record<string, string>> = {},
    { ready = true, script, program, checkout, descriptorsMax, confined }: {
      ready?: boolean;
      confined?: readonly string[];
      checkout?: URL;
      script?: string;
      program?: string;
      descriptorsMax?: number;
    } = {},
  ): Promise<TestNode> {
    const args = script === undefined
      ? await startArguments(checkout)
      : program === undefined
      ? ["run", "-A", "--cached-only", script]
      : [script];
    const [wrapper, ...limits] = confined ??
      (descriptorsMax === undefined
        ? []
        : ["sh", "-c", `ulimit -n ${descriptorsMax}; exec "$0" "$@"`]);
    const settings = { PORT: "0", ...env };
    const node = wrapper === undefined
      ? TestNode.spawn(args, settings, program, checkout)
      : TestNode.spawn(
        [...limits, program ?? Deno.execPath(), ...args],
        settings,
        wrapper,
        checkout,
      );
    const exited = node.#process.status.then(() => {
      throw new Error(`Cannot start a node: it exited\n${node.output}`);
    });
    const started = node.log.where(() =>
      node.log.items.some(({ kind }) => kind === "started")
    );
    await Promise.race([started, exited]);
    exited.catch(() => {});
    const urls = node.log.items.find(({ kind }) => kind === "started");
    node.#url = String(urls?.url);
    node.#internalUrl = String(urls?.internalUrl ?? urls?.url);
    node.#isDocumented = script === undefined && checkout === undefined;
    if (ready) {
      const path = `${node.#internalUrl}/readyz`;
      await until(
        "the node is ready",
        async () => (await node.get(path)).status === 200,
      );
    }
    return node;
  }

  /** Starts a node that is expected to exit at once. Resolves to its exit code and output. */
  static async fail(
    env: Readonly<Record<string, string>>,
  ): Promise<{ code: number; output: string }> {
    const node = TestNode.spawn(await startArguments(), { PORT: "0", ...env });
    const code = await node.exited();
    return { code, output: node.output };
  }

  /** Starts a node with a `PORT` of its own, and does not wait for it. */
  static async launch(
    env: Readonly<Record<string, string>>,
    checkout?: URL,
  ): Promise<TestNode> {
    const args = await startArguments(checkout);
    return TestNode.spawn(args, env, undefined, checkout);
  }

  /** Spawns the process of a node. Of this process's environment, it gets only the variables that Deno itself needs. */
  static spawn(
    args: string[],
    env: Readonly<Record<string, string>>,
    program = Deno.execPath(),
    cwd = root,
  ): TestNode {
    const own = ["PATH", "HOME", "DENO_DIR", "DENO_CERT", "SSL_CERT_FILE"]
      .flatMap((name) => {
        const value = Deno.env.get(name);
        return value === undefined ? [] : [[name, value]];
      });
    keepSecretsOf(env);
    return new TestNode(
      new Deno.Command(program, {
        args,
        cwd,
        clearEnv: true,
        env: { ...Object.fromEntries(own), NO_COLOR: "1", ...env },
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      }).spawn(),
    );
  }

  /** The URL on which the node listens. */
  get url(): string {
    return this.#url;
  }

  /** The port on which the node listens. */
  get port(): number {
    return Number(new URL(this.#url).port);
  }

  /** The URL at which the node serves backends and operators: that of `INTERNAL_PORT`, if it is set. */
  get internalUrl(): string {
    return this.#internalUrl;
  }

  /** Sends a GET request. `path` may also be a whole URL, for all methods that send requests. */
  get(path: string): Promise<Reply> {
    return this.request(path, {});
  }

  /** Sends a POST request with a JSON body. */
  post(
    path: string,
    body: unknown,
    headers: Record<string, string> = {},
  ): Promise<Reply> {
    return this.request(path, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
    });
  }

  /** Publishes a message and resolves to its id. Rejects if the message was not acknowledged. */
  async publish(
    message: unknown,
    room = "chat",
    headers: Record<string, string> = {},
  ): Promise<string> {
    const { status, body } = await this.post(
      "/publish",
      { room, message },
      headers,
    );
    if (status !== 200) {
      throw new Error(`Cannot publish: ${status} ${JSON.stringify(body)}`);
    }
    return String(body.id);
  }

  /** Sends a request to the node and reads the whole response. */
  async request(path: string, init: RequestInit): Promise<Reply> {
    const url = new URL(path, this.#url);
    const { status, headers, text } = await fetchDocumented(
      url,
      init,
      ({ origin }) => this.#audienceOf(origin),
    );
    let body: Record<string, unknown> = {};
    try {
      body = JSON.parse(text);
    } catch {
      // The body is not JSON; it is in `text`.
    }
    return { status, headers, text, body };
  }

  /**
   * Returns who may use the port with this origin: clients, backends or everyone. Returns undefined if the port does not
   * belong to this node, because the request goes to a proxy.
   */
  #audienceOf(origin: string): Audience | undefined {
    if (!this.#isDocumented) return undefined;
    const isClients = origin === this.#url;
    if (!isClients && origin !== this.#internalUrl) return undefined;
    if (this.#url === this.#internalUrl) return "everyone";
    return isClients ? "clients" : "backends";
  }

  /** Resolves to the value of one of the node's metrics, summed over all its labels. */
  async metric(name: string): Promise<number> {
    const { text } = await this.get("/metrics");
    const lines = text.split("\n").filter((line) =>
      line.startsWith(`${name} `) || line.startsWith(`${name}{`)
    );
    return lines.reduce(
      (sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))),
      0,
    );
  }

  /** Resolves to the resident memory of the process, in bytes. */
  async memory(): Promise<number> {
    const status = await Deno.readTextFile(`/proc/${this.#process.pid}/status`);
    return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) * 1024;
  }

  /** Resolves to the CPU time that the process has used, user and system together, in seconds. */
  cpuSeconds(): Promise<number> {
    return cpuSecondsIn(`/proc/${this.#process.pid}/stat`);
  }

  /** Resolves to the CPU time of the thread that runs the event loop, in seconds. */
  loopSeconds(): Promise<number> {
    const { pid } = this.#process;
    return cpuSecondsIn(`/proc/${pid}/task/${pid}/stat`);
  }

  /** Lets the event loop run only on the CPUs of the list `loop`, and all other threads only on those of `others`. */
  async pin(loop: string, others: string): Promise<void> {
    const { pid } = this.#process;
    await command("taskset", ["-pca", others, `${pid}`]);
    await command("taskset", ["-pc", loop, `${pid}`]);
  }

  /** Changes the process's soft limit of file descriptors. Descriptors that are already open count for this limit. */
  async limitDescriptors(count: number): Promise<void> {
    await command("prlimit", [
      "--pid",
      String(this.#process.pid),
      `--nofile=${count}:`,
    ]);
  }

  /** Sends a signal to the process. */
  signal(signal: Deno.Signal): void {
    this.#process.kill(signal);
  }

  /** Resolves to the process's exit code, or to -1 if a signal ended the process. */
  async exited(): Promise<number> {
    const { code, signal } = await soon(this.#process.status, "the node exits");
    await this.#reading;
    assert.deepEqual(leaksIn(this.output), [], "the node has printed secrets");
    return signal === null ? code : -1;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#process.kill("SIGCONT");
      this.#process.kill("SIGKILL");
    } catch {
      // The process has already exited.
    }
    await this.exited();
  }

  async #readLines(
    stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  ): Promise<void> {
    for await (
      const line of stream.pipeThrough(new TextDecoderStream()).pipeThrough(
        new TextLineStream(),
      )
    ) {
      this.output += `${line}\n`;
      if (line.startsWith("{")) this.log.push(JSON.parse(line));
    }
  }
}

/** Runs a program to its end. Rejects with what it printed if it fails. */
async function command(
  program: string,
  args: readonly string[],
): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, {
    args: [...args],
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}

async function cpuSecondsIn(path: string): Promise<number> {
  return cpuSecondsOf(await Deno.readTextFile(path));
}

/** An HTTP response whose body has been read. */
export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // deno-lint-ignore no-explicit-any -- tests read bodies of every shape
  readonly body: any;
}
