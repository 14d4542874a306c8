/** A backend for hooks that holds calls back until a test releases them. */
import { HookBackend, type HookCall, json, result } from "./hook_backend.ts";
import { soon } from "./wait.ts";

/** A call that is held back. */
export interface HeldCall {
  readonly call: HookCall;
  /** Answers the call with this result, or with this error. */
  readonly release: (answer: unknown, isError?: boolean) => void;
}

/** Holds back the calls that tests wait for, and answers all others at once. */
export class HeldHooks implements AsyncDisposable {
  /** What all other calls get as their result. */
  others: (call: HookCall) => unknown = () => ({});
  readonly backend: HookBackend;
  /** The functions that take the next call with a name. */
  readonly #waiting = new Map<string, (held: HeldCall) => void>();

  private constructor(backend: HookBackend) {
    this.backend = backend;
  }

  /** Starts a backend. `nameOf` returns the name by which tests wait for a call. */
  static async start(nameOf: (call: HookCall) => string): Promise<HeldHooks> {
    const backend = await HookBackend.start(result({}));
    const hooks = new HeldHooks(backend);
    backend.respond = async (call, response) => {
      const take = hooks.#waiting.get(nameOf(call));
      if (take === undefined) {
        return await result(hooks.others(call))(call, response);
      }
      hooks.#waiting.delete(nameOf(call));
      await new Promise<void>((resolve) =>
        take({
          call,
          release: (answer, isError = false) => {
            const respond = isError ? json({ error: answer }) : result(answer);
            if (!response.destroyed) void respond(call, response);
            resolve();
          },
        })
      );
    };
    return hooks;
  }

  /** Holds back the next call with this name, and resolves to it. Call this before the call can be made. */
  next(name: string): Promise<HeldCall> {
    const held = new Promise<HeldCall>((resolve) =>
      this.#waiting.set(name, resolve)
    );
    return soon(held, `the hook is called about ${name}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.backend[Symbol.asyncDispose]();
  }
}
