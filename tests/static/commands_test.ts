import assert from "node:assert/strict";
import { curlCommand, redisCommand } from "../../static/commands.js";

/** Resolves to the arguments that a shell passes to the program of a command. */
async function argumentsOf(command: string): Promise<string[]> {
  const { stdout } = await new Deno.Command("sh", {
    args: [
      "-c",
      `curl() { printf '%s\\0' "$@"; }; alias redis-cli=curl\n${
        command.replace(/^redis-cli/, "curl")
      }`,
    ],
    env: { ROOMCAST_KEY: "the-secret" },
  }).output();
  return new TextDecoder().decode(stdout).split("\0").slice(0, -1);
}

const origin = "http://localhost:4000";

Deno.test("curlCommand() passes any text and any room through a shell unchanged", async () => {
  for (const message of ["hello", 'it\'s $HOME `ls` "x"\n\\', "", "-x", "!"]) {
    const room = "a b/ü'";
    const event = "$& it's `x` \\ 🚀";
    const command = curlCommand({
      origin,
      room,
      event,
      message,
      needsKey: false,
    });
    const [option, data, , type, url = ""] = await argumentsOf(command);
    assert.equal(new URL(url).searchParams.get("event"), event);
    assert.equal(option, "-d");
    assert.equal(data, message);
    assert.equal(type, "content-type: text/plain");
    assert.equal(new URL(url).searchParams.get("room"), room);
  }
});

Deno.test("curlCommand() sends values that are not texts, and texts with control characters, as JSON", async () => {
  for (const message of [{ a: "it's" }, 1, null, ["x"], "bell\u0007"]) {
    const command = curlCommand({
      origin,
      room: "chat",
      message,
      needsKey: false,
    });
    const [, data = "", , type] = await argumentsOf(command);
    assert.deepEqual(JSON.parse(data), { room: "chat", message });
    const event = "it's";
    const publish = { origin, room: "chat", event, message, needsKey: false };
    const [, named = ""] = await argumentsOf(curlCommand(publish));
    assert.deepEqual(JSON.parse(named), { room: "chat", event, message });
    assert.equal(type, "content-type: application/json");
  }
});

Deno.test("curlCommand() prevents curl from reading a file, and contains the name of a variable instead of a key", async () => {
  const command = curlCommand({
    origin,
    room: "chat",
    message: "@/etc/passwd",
    needsKey: true,
  });
  const parts = await argumentsOf(command);
  assert.equal(parts[0], "--data-raw");
  assert.ok(parts.includes("Authorization: Bearer the-secret"));
  assert.ok(command.includes("$ROOMCAST_KEY"));
});

Deno.test("redisCommand() returns a command only for messages that arrive unchanged through Redis", async () => {
  const command = redisCommand({ room: "chat", message: "it's" });
  assert.deepEqual(await argumentsOf(command ?? ""), [
    "PUBLISH",
    "chat",
    "it's",
  ]);
  assert.equal(redisCommand({ room: "chat", message: { a: 1 } }), undefined);
  assert.equal(redisCommand({ room: "chat", message: "\0" }), undefined);
  assert.equal(
    redisCommand({ room: "chat", event: "moved", message: "a" }),
    undefined,
  );
});
