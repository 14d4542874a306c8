/** The bundle of `deno task bundle`, which the container and the systemd unit of examples/ run. */
import assert from "node:assert/strict";
import { Subscriber } from "../support/client.ts";
import { find } from "../support/install.ts";
import { TestNode } from "../support/node.ts";
import { run } from "../support/program.ts";
import { Redis } from "../support/redis.ts";
import { bundledConfiguration } from "../../tools/bundle.ts";

const cwd = new URL("../../", import.meta.url);
/** Maximum size of the bundle, in bytes. The bundle had 3.4 MB when this test was written; the packages have 50 MB. */
const BYTES_MAX = 6_000_000;

Deno.test("a node that runs only from the bundle serves the page and clients, and delivers messages published over HTTP and Redis", async () => {
  const folder = await Deno.makeTempDir({ prefix: "roomcast-bundle-" });
  try {
    const args = ["run", "-A", "--cached-only", "tools/bundle.ts", folder];
    await run(Deno.execPath(), args, { cwd, env: {} });
    assert.deepEqual(
      [...Deno.readDirSync(folder)].map(({ name }) => name).sort(),
      ["deno.json", "main.js", "sbom.json", "static"],
    );
    assert.ok(await size(folder) < BYTES_MAX);
    await using redis = await Redis.start();
    const checkout = new URL(`file://${folder}/`);
    await using node = await TestNode.start({ REDIS_URL: redis.url }, {
      checkout,
    });
    for (
      const [path, file] of [
        ["/", "index.html"],
        ["/static/page.js", "page.js"],
        ["/roomcast.js", "roomcast.js"],
        ["/socket.io/socket.io.js", "client-dist/socket.io.js"],
        ["/socket.io/socket.io.esm.min.js", "client-dist/socket.io.esm.min.js"],
      ] as const
    ) {
      const { status, text } = await node.get(path);
      assert.equal(status, 200, path);
      assert.equal(text, await Deno.readTextFile(`${folder}/static/${file}`));
    }
    assert.match((await node.get("/metrics")).text, /^roomcast_clients 0$/m);
    await using client = new Subscriber(node.url);
    await client.joined.have(1);
    await node.publish("over HTTP");
    await client.messages.have(1);
    await redis.command("PUBLISH", "chat", "over Redis");
    await client.messages.have(2);
    assert.deepEqual(
      client.messages.items.map(({ message }) => message),
      ["over HTTP", "over Redis"],
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** Runs a command with all files read-only and without any capability, as the container of docs/deploy/docker.md. */
const CONFINED = [
  "unshare",
  "--mount",
  "sh",
  "-ec",
  `mount --bind /tmp /tmp
  mount -o remount,bind,ro /tmp
  mount -o remount,bind,ro /
  exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$0" "$@"`,
];
const canConfine = await new Deno.Command("unshare", {
  args: [...CONFINED.slice(1), "true"],
  stderr: "null",
}).output().then(({ success }) => success, () => false);

Deno.test({
  name:
    "a node of the bundle runs without capabilities on a read-only file system",
  ignore: !canConfine,
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "roomcast-bundle-" });
    try {
      const args = ["run", "-A", "--cached-only", "tools/bundle.ts", folder];
      await run(Deno.execPath(), args, { cwd, env: {} });
      const write = await new Deno.Command("unshare", {
        args: [...CONFINED.slice(1), "touch", `${folder}/file`],
        stderr: "null",
      }).output();
      assert.equal(write.success, false, "files can be written");
      const checkout = new URL(`file://${folder}/`);
      await using node = await TestNode.start(
        // Deno's own folder, which the container's user cannot write either.
        { DENO_DIR: `${folder}/deno` },
        { checkout, confined: CONFINED },
      );
      await using client = await Subscriber.connect(node.url);
      await node.publish("read-only");
      await client.messages.have(1);
      assert.equal((await node.get("/")).status, 200);
      node.signal("SIGTERM");
      assert.equal(await node.exited(), 0);
      assert.deepEqual(
        node.log.items.filter(({ level }) => level !== "info"),
        [],
      );
      assert.deepEqual(
        [...Deno.readDirSync(folder)].map(({ name }) => name).sort(),
        ["deno.json", "main.js", "sbom.json", "static"],
      );
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

const systemd = await find("systemd");

Deno.test({
  name: "examples/roomcast.service is a valid unit and runs the bundle",
  ignore: systemd === undefined,
  async fn() {
    const unit = await Deno.readTextFile(
      new URL("examples/roomcast.service", cwd),
    );
    const [, program = "", command = ""] =
      /^ExecStart=(\S+) (.*)$/m.exec(unit) ?? [];
    const { start } = bundledConfiguration(
      JSON.parse(await Deno.readTextFile(new URL("deno.json", cwd))),
    ).tasks;
    assert.equal(`deno ${command}`, start?.command);
    const folder = await Deno.makeTempDir({ prefix: "roomcast-systemd-" });
    try {
      const path = `${folder}/roomcast.service`;
      await Deno.writeTextFile(path, unit.replace(program, Deno.execPath()));
      const args = ["verify", "--man=no", path];
      const output = await run(systemd ?? "", args, { cwd, env: {} });
      // It succeeds with unknown settings, too. Other lines are about units of this machine.
      assert.doesNotMatch(output, /roomcast\.service/);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

/** Returns the number of bytes of all files in a folder. */
async function size(folder: string): Promise<number> {
  let bytes = 0;
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = `${folder}/${name}`;
    bytes += isDirectory ? await size(path) : (await Deno.stat(path)).size;
  }
  return bytes;
}
