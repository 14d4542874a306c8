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
