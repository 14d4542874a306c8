/**
 * Reads single settings from environment variables and collects their errors.
 *
 * @module
 */

/** Environment variables by name. */
export type Env = Readonly<Record<string, string | undefined>>;

/**
 * Reads settings from environment variables. An empty value counts as unset. An invalid value is reported, and the
 * default is returned in its place, so that one run finds all invalid settings.
 */
export class EnvReader {
  readonly #env: Env;
  readonly #problems: string[] = [];

  /** Creates a reader of the variables in `env`. */
  constructor(env: Env) {
    this.#env = env;
  }

  /** Returns the value of a setting without surrounding spaces. */
  text(name: string, fallback = ""): string {
    return this.#env[name]?.trim() || fallback;
  }

  /** Returns a whole number from `min` to `max`. */
  integer(name: string, fallback: number, min: number, max: number): number {
    const value = this.text(name, String(fallback));
    if (
      /^\d{1,15}$/.test(value) && Number(value) >= min && Number(value) <= max
    ) return Number(value);
    this.fail(
      name,
      `is ${JSON.stringify(value)}, not a whole number from ${min} to ${max}`,
    );
    return fallback;
  }

  /** Returns the items of a comma-separated list, without repeated and empty ones. */
  list(name: string, fallback = ""): string[] {
    const items = this.text(name, fallback).split(",").map((item) =>
      item.trim()
    );
    return [...new Set(items.filter((item) => item !== ""))];
  }

  /** Returns one of `choices`. */
  choice<T extends string>(
    name: string,
    fallback: T,
    choices: readonly T[],
  ): T {
    const value = this.text(name, fallback) as T;
    if (choices.includes(value)) return value;
    this.fail(
      name,
      `is ${JSON.stringify(value)}, not one of ${choices.join(", ")}`,
    );
    return fallback;
  }

  /** Returns whether a setting is `true`. Every value except `true` and `false` is reported. */
  flag(name: string, fallback: boolean): boolean {
    return this.choice(name, `${fallback}`, ["true", "false"]) === "true";
  }

  /** Reports that a setting is invalid. `problem` must not contain the value of a secret. */
  fail(name: string, problem: string): void {
    this.#problems.push(`${name} ${problem}`);
  }

  /** @throws {TypeError} if any problem has been reported. The message has one line for each problem. */
  throwProblems(): void {
    if (this.#problems.length === 0) return;
    const lines = this.#problems.map((problem) => `  ${problem}`);
    throw new TypeError(
      `Cannot start: these settings are invalid; correct or unset them\n${
        lines.join("\n")
      }`,
    );
  }
}
