/**
 * Decides from the arguments and settings of `main.ts` whether the process serves, or prints a text and exits: the
 * help, the settings, or errors.
 *
 * @module
 */
import { nearest } from "../util/nearest.ts";
import {
  type Config,
  describeProblems,
  inspectConfig,
  type Inspection,
} from "./config.ts";
import { warningsOf } from "./warnings.ts";
import type { Env } from "./env_reader.ts";
import { maskSetting } from "./mask.ts";

/**
 * What `main.ts` has to do: log `warnings` and serve clients with `config`, or print `stdout` and `stderr` and exit with
 * `code`.
 */
export type Command =
  | {
    readonly kind: "serve";
    readonly config: Config;
    readonly warnings: readonly string[];
  }
  | {
    readonly kind: "exit";
    readonly code: number;
    readonly stdout?: string;
    readonly stderr?: string;
  };

const HELP = `Roomcast, a self-hosted realtime broadcast server.

  deno task start          serve; settings are environment variables
  deno task check-config   print the settings in force and what is wrong with them
  deno task start --help   print this text

main.ts takes the same arguments: --check and --help.
The settings are described in docs/configuration.md.`;

const ARGUMENTS = ["--check", "--help", "-h"];

/**
 * Decides what `main.ts` has to do, from its arguments and the environment variables. An unknown argument results in an
 * exit with an error message; so do invalid settings, except with `--help`.
 */
export function readCommand(args: readonly string[], env: Env): Command {
  for (const argument of args) {
    if (ARGUMENTS.includes(argument)) continue;
    // Any two arguments of one letter are similar, so none is suggested for another.
    const meant = argument.length > 2
      ? nearest(argument, ARGUMENTS)
      : undefined;
    const advice = meant === undefined ? "" : `did you mean ${meant}? `;
    return {
      kind: "exit",
      code: 2,
      stderr:
        `Cannot start: the argument ${
          JSON.stringify(argument)
        } is unknown; ${advice}` +
        "use --check or --help, or no argument to start the server. Settings are environment variables, as in PORT=8080 deno task start",
    };
  }
  if (args.includes("--help") || args.includes("-h")) {
    return { kind: "exit", code: 0, stdout: HELP };
  }
  const inspection = inspectConfig(env);
  const { config, problems } = inspection;
  const stderr = describeProblems(problems);
  const warnings = problems.length > 0 ? [] : warningsOf(inspection);
  if (args.includes("--check")) {
    const table = describeSettings(inspection);
    if (problems.length > 0) {
      return { kind: "exit", code: 1, stdout: table, stderr };
    }
    const lines = warnings.map((why) => `Warning: ${why}`);
    const stdout = [table, ...lines, "The settings are valid."];
    return { kind: "exit", code: 0, stdout: stdout.join("\n\n") };
  }
  return problems.length === 0
    ? { kind: "serve", config, warnings }
    : { kind: "exit", code: 1, stderr };
}

/**
 * Returns a table of all settings: the name, the value without secrets, and the source (`environment` or `default`).
 */
function describeSettings({ settings }: Inspection): string {
  const rows = settings.map((setting) =>
    [setting.name, maskSetting(setting) || "(unset)", setting.source] as const
  ).sort(([a], [b]) => a < b ? -1 : 1);
  const width = (column: 0 | 1): number =>
    Math.min(60, Math.max(...rows.map((row) => row[column].length)));
  const [names, values] = [width(0), width(1)];
  return rows.map(([name, value, source]) =>
    `${name.padEnd(names)}  ${value.padEnd(values)}  ${source}`
  ).join("\n");
}
