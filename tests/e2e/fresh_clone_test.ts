/** What somebody gets who clones the repository and starts it. */
import assert from "node:assert/strict";
import { Subscriber } from "../support/client.ts";
import { TestNode } from "../support/node.ts";
import { run } from "../support/program.ts";
import { soon } from "../support/wait.ts";

const cwd = new URL("../../", import.meta.url);
/** Packages that only tests and benchmarks import. */
const FOR_TESTS = ["fast-check", "playwright-core", "socket.io-client"];

Deno.test("deno task start in a fresh clone installs what the server needs, not what the tests need, and delivers", async () => {
  const folder = await Deno.makeTempDir({ prefix: "roomcast-clone-" });
  try {
    const copy = `git ls-files -z | tar -c --null -T - | tar -x -C "${folder}"`;
    await run("sh", ["-c", copy], { cwd, env: {} });
    const clone = new URL(`file://${folder}/`);
    await using node = TestNode.spawn(
      ["task", "start"],
      { PORT: "0" },
      Deno.execPath(),
      clone,
    );
    await using _stopping = {
      // deno task passes this signal on. If it were killed, the node would go on.
      async [Symbol.asyncDispose](): Promise<void> {
        node.signal("SIGTERM");
        await node.exited();
      },
    };
    await node.log.where(() =>
      node.log.items.some(({ kind }) => kind === "started")
    );
    const url = String(
      node.log.items.find(({ kind }) => kind === "started")?.url,
    );
    await using client = new Subscriber(url);
    await client.joined.have(1);
    const response = await soon(
      fetch(`${url}/publish`, {
        method: "POST",
        headers: { "content-type": "text/plain" },
        body: "hello",
      }),
      "the response",
    );
    assert.equal(response.status, 200, await response.text());
    const [{ message } = { message: undefined }] = await client.messages.have(
      1,
    );
    assert.equal(message, "hello");
    const installed = [...Deno.readDirSync(`${folder}/node_modules/.deno`)].map(
      ({ name }) => name.replace(/(.)@.*$/, "$1"),
    );
    assert.ok(installed.includes("socket.io"), installed.join());
    assert.deepEqual(
      FOR_TESTS.filter((name) => installed.includes(name)),
      [],
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("deno task start fails if a package is not the one in deno.lock, or is not in it", async () => {
  const folder = await Deno.makeTempDir({ prefix: "roomcast-lock-" });
  try {
    const copy = `git ls-files -z | tar -c --null -T - | tar -x -C "${folder}"`;
    await run("sh", ["-c", copy], { cwd, env: {} });
    const lock = await Deno.readTextFile(`${folder}/deno.lock`);
    const { tasks } = JSON.parse(
      await Deno.readTextFile(`${folder}/deno.json`),
    );
    assert.deepEqual(tasks.start.dependencies, ["packages"]);
    const changes: [change: (lock: string) => string, error: RegExp][] = [
      [
        (lock) => lock.replace(/^ {4}"npm:hono@.*\n/m, ""),
        /lockfile is out of date/i,
      ],
      [
        (lock) =>
          lock.replace(
            /("hono@[^"]+": \{\s+"integrity": "sha512-)..../,
            "$1AAAA",
          ),
        /checksum did not match .* hono@/,
      ],
    ];
    for (const [change, error] of changes) {
      const changed = change(lock);
      assert.notEqual(changed, lock);
      await Deno.writeTextFile(`${folder}/deno.lock`, changed);
      const { success, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["task", "packages"],
        cwd: folder,
        // Deno compares the checksum of what it downloads, and trusts what it has downloaded before.
        env: { DENO_DIR: `${folder}/deno`, NO_COLOR: "1" },
      }).output();
      assert.equal(success, false);
      assert.match(new TextDecoder().decode(stderr), error);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a node ends with a clear message if a package that it needs later cannot be loaded", async () => {
  const folder = await Deno.makeTempDir({ prefix: "roomcast-package-" });
  try {
    const copy = `git ls-files -z | tar -c --null -T - | tar -x -C "${folder}"`;
    await run("sh", ["-c", copy], { cwd, env: {} });
    const { success } = await new Deno.Command(Deno.execPath(), {
      args: ["task", "packages"],
      cwd: folder,
      stderr: "null",
    }).output();
    assert.ok(success);
    for (
      const [name, setting] of [
        ["jose", { TOKEN_SECRET: "0123456789abcdef0123456789abcdef" }],
        ["@redis/client", { REDIS_URL: "redis://127.0.0.1:1" }],
      ] as const
    ) {
      const packages = `${folder}/node_modules/.deno`;
      for (const { name: stored } of [...Deno.readDirSync(packages)]) {
        if (!stored.startsWith(`${name.replace("/", "+")}@`)) continue;
        await Deno.remove(`${packages}/${stored}`, { recursive: true });
      }
      await using node = await TestNode.launch(
        { PORT: "0", ...setting },
        new URL(`file://${folder}/`),
      );
      assert.equal(await node.exited(), 1);
      assert.match(
        node.output,
        new RegExp(`Cannot run: the package ${name} cannot be loaded`),
      );
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
