/** A real node: a process that is started with the command of `deno task start`. */
import { TextLineStream } from "./lines.ts";
import { Inbox, soon, until } from "./wait.ts";

/** One line of a node's log. */
export type LogLine =
  & { readonly kind: string }
  & Readonly<Record<string, unknown>>;

const root = new URL("../../", import.meta.url);

/** Returns the arguments of `deno task start`, so that tests run what users run. */
async function startArguments(checkout = root): Promise<string[]> {
  const { tasks } = JSON.parse(
    await Deno.readTextFile(new URL("deno.json", checkout)),
  );
  return tasks.start.command.split(" ").slice(1);
}

/** A node of Roomcast; `await using` stops it. */
export class TestNode {
  readonly log = new Inbox<LogLine>();
  /** Everything that the process printed, including stderr. */
  output = "";
  readonly #process: Deno.ChildProcess;
  readonly #reading: Promise<unknown>;
  #url = "";

  private constructor(process: Deno.ChildProcess) {
    this.#process = process;
    this.#reading = Promise.all([
      this.#readLines(process.stdout),
      this.#readLines(process.stderr),
    ]);
  }

  /**
   * Starts a node on a free port and waits until it listens, and until it is ready unless `ready` is false.
   *
   * @param options.script Replaces Roomcast's script; it has to print where it listens in the same form.
   * @param options.program Replaces Deno, and runs without Deno's arguments.
   * @param options.checkout The directory of another version, to be compared with this one.
   * @param options.descriptorsMax The hard limit of file descriptors; Deno raises its soft limit to it.
   */
  static async start(
    env: Readonly<Record<string, string>> = {},
    { ready = true, script, program, checkout, descriptorsMax }: {
      ready?: boolean;
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
    const limited = ["-c", `ulimit -n ${descriptorsMax}; exec "$0" "$@"`];
    const node = descriptorsMax === undefined
      ? TestNode.spawn(args, { PORT: "0", ...env }, program, checkout)
      : TestNode.spawn(
        [...limited, program ?? Deno.execPath(), ...args],
        { PORT: "0", ...env },
        "sh",
      );
    const exited = node.#process.status.then(() => {
      throw new Error(`Cannot start a node: it exited\n${node.output}`);
    });
    const started = node.log.where(() =>
      node.log.items.some(({ kind }) => kind === "started")
    );
    await Promise.race([started, exited]);
    exited.catch(() => {});
    node.#url = String(
      node.log.items.find(({ kind }) => kind === "started")?.url,
    );
    if (ready) {
      await until(
        "the node is ready",
        async () => (await node.get("/readyz")).status === 200,
      );
    }
    return node;
  }

  /** Runs a node that is expected to exit at start; resolves with its exit code and output. */
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

  /** Spawns the process with only those variables of the environment that Deno itself needs. */
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

  /** The node's address. */
  get url(): string {
    return this.#url;
  }

  /** The port of {@linkcode TestNode.url}. */
  get port(): number {
    return Number(new URL(this.#url).port);
  }

  /** Sends a GET request. */
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

  /** Publishes a message and returns its id; throws if it was not acknowledged. */
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

  /** Sends a request and reads the whole response. */
  async request(path: string, init: RequestInit): Promise<Reply> {
    const response = await soon(
      fetch(new URL(path, this.#url), init),
      `the response to ${path}`,
    );
    const text = await response.text();
    let body: Record<string, unknown> = {};
    try {
      body = JSON.parse(text);
    } catch {
      // The body is not JSON; it is in `text`.
    }
    return { status: response.status, headers: response.headers, text, body };
  }

  /** Returns the value of a metric, summed over its labels. */
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

  /** Returns the resident memory, in bytes. */
  async memory(): Promise<number> {
    const status = await Deno.readTextFile(`/proc/${this.#process.pid}/status`);
    return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) * 1024;
  }

  /** Returns the CPU time used so far, user and system, in seconds. */
  async cpuSeconds(): Promise<number> {
    const stat = await Deno.readTextFile(`/proc/${this.#process.pid}/stat`);
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // Fields 14 and 15 of proc(5), in ticks of 10 ms.
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }

  /** Changes its soft limit of file descriptors, which also counts those that are already open. */
  async limitDescriptors(count: number): Promise<void> {
    const { success, stderr } = await new Deno.Command("prlimit", {
      args: ["--pid", String(this.#process.pid), `--nofile=${count}:`],
    }).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
  }

  /** Sends a signal to the process. */
  signal(signal: Deno.Signal): void {
    this.#process.kill(signal);
  }

  /** Resolves with the exit code, or -1 if a signal ended the process. */
  async exited(): Promise<number> {
    const { code, signal } = await soon(this.#process.status, "the node exits");
    await this.#reading;
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

/** A response whose body has been read. */
export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // deno-lint-ignore no-explicit-any -- tests read bodies of every shape
  readonly body: any;
}
