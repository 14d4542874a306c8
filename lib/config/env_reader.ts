/**
 * Reads single settings from environment variables and collects the problems of invalid values.
 *
 * @module
 */

/** Environment variables by name. */
export type Env = Readonly<Record<string, string | undefined>>;

/** A setting with the value that is used, and whether this value is from the environment. */
export interface Setting {
  readonly name: string;
  /**
   * The value without surrounding spaces, or the default. Empty if the setting is unset and has no default. May be a
   * secret.
   */
  readonly value: string;
  /** Whether the value is from an environment variable or is the default. */
  readonly source: "environment" | "default";
}

/** Maximum number of characters of an invalid value that are shown in the sentence about the problem. */
const SHOWN_LENGTH_MAX = 80;
/** Patterns of values from which a shell would have made the intended value, each with the problem. */
const UNEXPANDED: readonly (readonly [pattern: RegExp, problem: string])[] = [
  // `docker run --env-file` passes on quotes, which a shell removes.
  [
    /^(["']).*\1$/s,
    "begins and ends with a quote, which would be a part of the value; remove the quotes",
  ],
  // Otherwise the text `${SECRET}` itself could become a secret, which anyone could guess.
  [
    /\$\{[A-Z_][A-Z\d_]*(?:\W[^}]*)?\}|\$\([a-z][^)]*\)/,
    "has ${…} or $(…) in it, which only a shell replaces; write the value itself",
  ],
];

/**
 * Reads settings from environment variables. An empty value counts as unset, except for the settings that
 * {@linkcode EnvReader.refuseEmpty} names. If a value is invalid, records a problem and returns the default, so that one
 * start finds all invalid settings.
 */
export class EnvReader {
  readonly #env: Env;
  readonly #settings = new Map<string, Setting>();
  readonly #problems: string[] = [];
  /** The names of the settings that were read and whose values match a pattern of {@linkcode UNEXPANDED}. */
  readonly #unexpanded = new Set<string>();

  /** Creates a reader of the variables in `env`. */
  constructor(env: Env) {
    this.#env = env;
  }

  /** All settings that have been read, in the order of the first reads. */
  get settings(): readonly Setting[] {
    return [...this.#settings.values()];
  }

  /** The names of all variables of the environment that are not empty. */
  get names(): readonly string[] {
    return Object.keys(this.#env).filter((name) => this.#env[name]?.trim());
  }

  /** The problems that have been recorded, in order; each begins with the name of a setting. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  /**
   * Returns the value of a setting without surrounding spaces, or `fallback` if the setting is unset. Records a problem
   * if the value is in quotes, or has a variable or a command that only a shell replaces.
   */
  text(name: string, fallback = ""): string {
    const value = this.#env[name]?.trim() ?? "";
    const [, problem] = UNEXPANDED.find(([pattern]) => pattern.test(value)) ??
      [];
    if (problem !== undefined && !this.#unexpanded.has(name)) {
      this.fail(name, problem);
      this.#unexpanded.add(name);
    }
    const source = value === "" ? "default" : "environment";
    const setting = { name, value: value || fallback, source } as const;
    this.#settings.set(name, setting);
    return setting.value;
  }

  /** Returns whether the environment has a value for a setting. */
  isSet(name: string): boolean {
    return Boolean(this.#env[name]?.trim());
  }

  /**
   * Returns the value of a setting as a number. If the value is not a whole number from `min` to `max`, records a
   * problem and returns `fallback`.
   */
  integer(name: string, fallback: number, min: number, max: number): number {
    const value = this.text(name, String(fallback));
    if (
      /^\d{1,15}$/.test(value) && Number(value) >= min && Number(value) <= max
    ) return Number(value);
    this.reject(name, value, `a whole number from ${min} to ${max}`);
    return fallback;
  }

  /** Returns the items of a setting that is a comma-separated list, without repeated and empty items. */
  list(name: string, fallback = ""): string[] {
    const items = this.text(name, fallback).split(",").map((item) =>
      item.trim()
    );
    return [...new Set(items.filter((item) => item !== ""))];
  }

  /**
   * Returns the value of a setting that has to be one of `choices`. If the value is not valid, records a problem and
   * returns `fallback`.
   */
  choice<T extends string>(
    name: string,
    fallback: T,
    choices: readonly T[],
  ): T {
    const value = this.text(name, fallback) as T;
    if (choices.includes(value)) return value;
    this.reject(name, value, `one of ${choices.join(", ")}`);
    return fallback;
  }

  /**
   * Returns whether a setting is `true`. If the value is neither `true` nor `false`, records a problem and returns
   * `fallback`.
   */
  flag(name: string, fallback: boolean): boolean {
    return this.choice(name, `${fallback}`, ["true", "false"]) === "true";
  }

  /** Returns whether a setting is in the environment and empty. */
  isEmpty(name: string): boolean {
    return this.#env[name]?.trim() === "";
  }

  /**
   * Records a problem for each of these settings that is in the environment and empty. Call this for settings that
   * guard something. An empty one usually comes from a secret that was not injected, and must not open the server.
   */
  refuseEmpty(names: readonly string[]): void {
    for (const name of names) {
      if (!this.isEmpty(name)) continue;
      this.fail(
        name,
        "is set and empty, so it would guard nothing; set a value or unset it",
      );
    }
  }

  /**
   * Records that the value of a setting is not valid. `expected` describes the valid values, as in "a whole number from
   * 1 to 9". The problem shows `value`, so `value` must not be a secret.
   */
  reject(name: string, value: string, expected: string): void {
    const shown = value.length > SHOWN_LENGTH_MAX
      ? `${value.slice(0, SHOWN_LENGTH_MAX)}…`
      : value;
    this.fail(name, `is ${JSON.stringify(shown)}, not ${expected}`);
  }

  /**
   * Records a problem of the setting `name`. `problem` continues a sentence that begins with this name, and must not
   * contain a secret. Does nothing if {@linkcode EnvReader.text} has already recorded that only a shell would have made
   * the intended value, because that value may be valid.
   */
  fail(name: string, problem: string): void {
    if (this.#unexpanded.has(name)) return;
    this.#problems.push(`${name} ${problem}`);
  }
}
