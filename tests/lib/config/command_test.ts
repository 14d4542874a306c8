import assert from "node:assert/strict";
import { type Command, readCommand } from "../../../lib/config/command.ts";

/** Returns the output and the exit code of a command that exits. */
function exits(
  args: string[],
  env: Record<string, string> = {},
): Extract<Command, { kind: "exit" }> {
  const command = readCommand(args, env);
  assert.ok(command.kind === "exit", `${args} serves`);
  return command;
}

Deno.test("readCommand() returns the settings to serve with if there are no arguments and the settings are valid", () => {
  const command = readCommand([], { PORT: "8080" });
  assert.ok(command.kind === "serve");
  assert.equal(command.config.port, 8080);
  assert.deepEqual(command.warnings, []);
  const { code, stdout, stderr } = exits([], { PORT: "x", ROOM: "y" });
  assert.equal(code, 1);
  assert.equal(stdout, undefined);
  assert.match(stderr ?? "", /^Cannot start: .*\n {2}PORT .*\n {2}ROOM /);
});

Deno.test("readCommand() prints the settings and their sources for --check, with secrets hidden", () => {
  const { code, stdout = "", stderr } = exits(["--check"], {
    PUBLISH_KEYS: "backend:hunter2, other:hunter3",
    REDIS_URL: "rediss://ann:hunter4@redis.example:6380/2",
    ROOMS: "a,b",
    TOKEN_SECRET: "hunter5".repeat(5) + ", " + "hunter6".repeat(5),
    TOKEN_JWKS_URL: "https://a.example/jwks.json?key=hunter7",
  });
  assert.equal(code, 0);
  assert.equal(stderr, undefined);
  const lines = stdout.split("\n").map((line) => line.split(/ {2,}/));
  for (
    const line of [
      ["PORT", "4000", "default"],
      ["ROOMS", "a,b", "environment"],
      ["LATEST_ROOMS", "(unset)", "default"],
      ["PUBLISH_KEYS", "backend:****, other:****", "environment"],
      ["REDIS_URL", "rediss://****@redis.example:6380/2", "environment"],
      ["CHANNELS", "chat", "default"],
      ["TOKEN_SECRET", "****,****", "environment"],
      ["TOKEN_JWKS_URL", "https://a.example/jwks.json?****", "environment"],
      ["The settings are valid."],
    ]
  ) {
    assert.ok(
      lines.some((other) => other.join() === line.join()),
      `${line} is not in\n${stdout}`,
    );
  }
  assert.doesNotMatch(stdout, /hunter|ann/);
  assert.match(stdout, /^Warning: TOKEN_AUDIENCE is unset, .+$/m);
});

Deno.test("readCommand() prints all problems of invalid settings for --check", () => {
  const { code, stdout = "", stderr = "" } = exits(["--check"], {
    PORT: "x",
    PUBLISH_KEYS: "hunter2",
    REDIS_URL: "http://ann:hunter2@redis",
    PUBLISH_KEY: "hunter2",
    TOKEN_SECRET: "hunter2",
  });
  assert.equal(code, 1);
  assert.match(stdout, /^PORT +x +environment$/m);
  assert.doesNotMatch(stdout, /valid/);
  const named = stderr.split("\n").slice(1).map((line) =>
    line.trim().split(" ")[0]
  );
  assert.deepEqual(named.sort(), [
    "PORT",
    "PUBLISH_KEY",
    "PUBLISH_KEYS",
    "REDIS_URL",
    "TOKEN_SECRET",
  ]);
  assert.doesNotMatch(stdout + stderr, /hunter|ann:/);
});

Deno.test("readCommand() prints no warnings for --check if a setting is invalid, because its default is not in force", () => {
  const { code, stdout = "", stderr = "" } = exits(["--check"], {
    CONNECT_HOOK_URL: "http://app.example/connect",
    HOOK_SECRET: "whsec_!!!",
  });
  assert.equal(code, 1);
  assert.match(stderr, /^ {2}HOOK_SECRET is not valid/m);
  assert.doesNotMatch(stdout, /Warning/);
});

Deno.test("readCommand() returns and prints a warning about a setting of another server, without its value", () => {
  const env = { JWT_SECRET: "hunter2" };
  const command = readCommand([], env);
  assert.ok(command.kind === "serve");
  const [warning = ""] = command.warnings;
  assert.match(warning, /^JWT_SECRET is set .* set TOKEN_SECRET/);
  const { code, stdout = "" } = exits(["--check"], env);
  assert.equal(code, 0);
  assert.ok(stdout.includes(`\nWarning: ${warning}\n`));
  assert.doesNotMatch(stdout, /hunter/);
});

Deno.test("readCommand() prints a help text for --help", () => {
  for (const args of [["--help"], ["-h"], ["--check", "--help"]]) {
    const { code, stdout = "" } = exits(args, { PORT: "x" });
    assert.equal(code, 0);
    assert.match(stdout, /deno task start/);
    assert.match(stdout, /--check/);
  }
});

Deno.test("readCommand() rejects an unknown argument and names the known arguments", () => {
  for (const argument of ["--chek", "serve", "--port=80", "", "-v"]) {
    const { code, stderr = "" } = exits([argument]);
    assert.equal(code, 2);
    assert.ok(stderr.includes(JSON.stringify(argument)), stderr);
    assert.match(stderr, /--check or --help/);
    assert.equal(stderr.includes("did you mean"), argument === "--chek");
  }
});
