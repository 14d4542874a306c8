import assert from "node:assert/strict";

const root = new URL("../../../", import.meta.url);

/** Runs a script with the command of `deno task start`, or with other arguments of Deno. */
async function run(
  script: string,
  flags?: readonly string[],
): Promise<{ code: number; stdout: string; stderr: string }> {
  const { tasks } = JSON.parse(
    await Deno.readTextFile(new URL("deno.json", root)),
  );
  const [, ...args] = tasks.start.command.split(" ");
  assert.equal(args.pop(), "main.ts");
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...flags ?? args, script],
    cwd: root,
    env: { PUBLISH_KEYS: "a:secret", OF_ANOTHER_PROGRAM: "x", NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const [out = "", err = ""] = [stdout, stderr].map((bytes) =>
    new TextDecoder().decode(bytes)
  );
  return { code, stdout: out, stderr: err };
}

Deno.test("deno task start permits reading all environment variables once and the files of two folders, but neither writing files nor running programs", async () => {
  const { stdout, stderr } = await run("tests/support/permissions_probe.ts");
  assert.equal(stderr, "");
  assert.deepEqual(JSON.parse(stdout), {
    taken: ["a:secret", "x"],
    later: [null, null, [], {}],
    asset: "number",
    own: "NotCapable",
    file: "NotCapable",
    write: "NotCapable",
    net: ["granted", "denied"],
    run: "NotCapable",
  });
});

Deno.test("environment.ts leaves the environment variables readable if the process was started with -A", async () => {
  const { stdout } = await run("tests/support/permissions_probe.ts", [
    "run",
    "-A",
  ]);
  const { taken, later } = JSON.parse(stdout);
  assert.deepEqual(taken, ["a:secret", "x"]);
  assert.deepEqual(later.slice(0, 2), taken);
});

Deno.test("main.ts says how to start it if it has no permissions", async () => {
  const { code, stderr } = await run("main.ts", ["run", "--no-prompt"]);
  assert.equal(code, 1);
  assert.match(stderr, /^Cannot start: .*; start it with deno task start, /);
  assert.equal(stderr.trim().split("\n").length, 1);
});

Deno.test("main.ts imports environment.ts before any other module", async () => {
  const source = await Deno.readTextFile(new URL("main.ts", root));
  const [first] = [...source.matchAll(/^import .*?"(.*?)";$/gms)];
  assert.equal(first?.[1], "./lib/config/environment.ts");
});
