/** Programs that tests run beside nodes. */
import assert from "node:assert/strict";
import { TextLineStream } from "./lines.ts";
import { Inbox } from "./wait.ts";

/** How to run a program. */
export interface ProgramOptions {
  readonly cwd: URL;
  readonly env: Readonly<Record<string, string>>;
}

/** A running program: the lines that it prints, and its input; `await using` ends it. */
export class Program {
  readonly lines = new Inbox<string>();
  readonly #process: Deno.ChildProcess;
  readonly #reading: Promise<void>;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;

  constructor(
    program: string,
    args: readonly string[],
    { cwd, env }: ProgramOptions,
  ) {
    this.#process = new Deno.Command(program, {
      args: [...args],
      cwd,
      env,
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#input = this.#process.stdin.getWriter();
    this.#reading = this.#process.stdout.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream())
      .pipeTo(new WritableStream({ write: (line) => this.lines.push(line) }));
  }

  /** Writes text to the program's standard input. */
  write(text: string): Promise<void> {
    return this.#input.write(new TextEncoder().encode(text));
  }

  /** Ends the program's standard input. Resolves to the program's exit code. */
  async end(): Promise<number> {
    await this.#input.close();
    return (await this.#process.status).code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // It has already exited.
    }
    await this.#input.close().catch(() => {});
    await Promise.all([this.#process.status, this.#reading]);
  }
}

/** Runs a program to its end. Rejects with what the program printed if it fails. */
export async function run(
  program: string,
  args: readonly string[],
  { cwd, env }: ProgramOptions,
): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, {
    args: [...args],
    cwd,
    env,
    stdin: "null",
  }).output();
  const output = [stdout, stderr].map((bytes) =>
    new TextDecoder().decode(bytes)
  ).join("\n");
  assert.ok(success, `${program} ${args.join(" ")} failed:\n${output}`);
  return output;
}
