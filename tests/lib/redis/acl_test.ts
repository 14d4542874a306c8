/** Compares the Redis commands in the code with those that the user of docs/security.md may run. */
import assert from "node:assert/strict";
import { fencedBlocks } from "../../support/documents.ts";

const lib = new URL("../../../lib/", import.meta.url);

/** Returns the texts of all files below a folder. */
function texts(folder: URL): string[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory }) =>
    isDirectory
      ? texts(new URL(`${name}/`, folder))
      : [Deno.readTextFileSync(new URL(name, folder))]
  );
}

Deno.test("docs/security.md permits each Redis command in the code, and no command that the code lacks", () => {
  const { code = "" } =
    fencedBlocks("docs/security.md").find(({ code }) =>
      code.startsWith("redis-cli ACL SETUSER roomcast ")
    ) ?? {};
  const permitted = new Set(
    [...code.matchAll(/ '?\+(\w+)/g)].map(([, name = ""]) => name),
  );
  const used = new Set([
    // Commands that the package @redis/client and Socket.IO's adapter send.
    ...["client", "ping", "psubscribe", "pubsub", "punsubscribe", "subscribe"],
    ...["unsubscribe", "xread"],
  ]);
  for (const text of texts(lib)) {
    const inScripts = text.matchAll(/redis\.p?call\(\s*['"]([A-Z]+)['"]/g);
    const sent = text.matchAll(/(?:sendCommand\(|^ +)\[\s*"([A-Z]+)",/gm);
    for (const [, name = ""] of [...inScripts, ...sent]) {
      if (!(name in NO_COMMANDS)) used.add(name.toLowerCase());
    }
  }
  assert.ok(used.size > 35, `only ${used.size} commands were found`);
  assert.deepEqual([...permitted].sort(), [...used].sort());
});

/** The first words of replies, which are written as commands are in `lib/redis/errors.ts`. */
const NO_COMMANDS = Object.fromEntries(
  [
    ..."READONLY OOM MISCONF LOADING MASTERDOWN UNBLOCKED BUSY".split(" "),
    ..."CLUSTERDOWN NOREPLICAS NOAUTH WRONGPASS NOPERM WRONGTYPE".split(" "),
  ].map((word) => [word, true]),
);
