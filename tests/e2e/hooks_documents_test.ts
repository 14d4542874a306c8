/** Runs the backends in `docs/hooks.md` and connects clients with their cookies. */
import assert from "node:assert/strict";
import { Hooks } from "../../lib/hooks/hooks.ts";
import { TestApp } from "../support/app.ts";
import { Subscriber } from "../support/client.ts";
import { type Block, fencedBlocks, ROOT } from "../support/documents.ts";
import { HookBackend } from "../support/hook_backend.ts";
import { find } from "../support/install.ts";
import { freePort } from "../support/net.ts";
import { Program } from "../support/program.ts";
import { soon, until } from "../support/wait.ts";

const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const blocks = fencedBlocks("docs/hooks.md");
const ASKER = { client: "c", headers: {}, isWanted: () => true };
const [php, python] = await Promise.all([find("php"), find("python")]);

/** Returns the block in this language that contains `text`. */
function blockWith(language: string, text: string): Block {
  const found = blocks.filter((block) =>
    block.language === language && block.code.includes(text)
  );
  const [block] = found;
  assert.ok(block !== undefined && found.length === 1, `${language} ${text}`);
  return block;
}

/**
 * Connects clients to a node whose connect hook is at `url`: one with the cookie of ann's session, one without it, and
 * one with it to a node with another secret.
 */
async function checkBackend(url: string, cookie: string): Promise<void> {
  await using app = new TestApp({
    CONNECT_HOOK_URL: url,
    HOOK_SECRET: SECRET,
    HOOK_TIMEOUT_MS: "5000",
    ROOMS: "chat,user.ann,user.bob",
  });
  const origin = `http://127.0.0.1:${await app.serve()}`;
  await using ann = new Subscriber(origin, { extraHeaders: { cookie } });
  await soon(ann.joined.have(2), "ann has joined");
  assert.deepEqual(
    ann.joined.items.map(({ room }) => room),
    ["chat", "user.ann"],
  );
  await using nobody = new Subscriber(origin);
  await soon(nobody.errors.have(1), "a client without a session is refused");
  assert.equal(nobody.errors.items[0]?.data?.code, "unauthorized");

  await using other = new TestApp({
    CONNECT_HOOK_URL: url,
    HOOK_SECRET: "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
  });
  const otherOrigin = `http://127.0.0.1:${await other.serve()}`;
  await using forged = new Subscriber(otherOrigin, {
    extraHeaders: { cookie },
  });
  await until(
    "the backend has refused the signature",
    () =>
      other.observations.some((observation) =>
        observation.kind === "hook_failed" &&
        /the status 400, as after a wrong signature; .*HOOK_SECRET/.test(
          observation.why,
        )
      ),
  );
  assert.equal(forged.connects.items.length, 0);
}

/** Resolves once a server responds on this port. */
async function served(port: number): Promise<void> {
  await until("the backend listens", async () => {
    try {
      await (await fetch(`http://127.0.0.1:${port}/`)).body?.cancel();
      return true;
    } catch {
      return false;
    }
  });
}

Deno.test("the backend for Node in docs/hooks.md lets in a client with the cookie of a session", async () => {
  const port = await freePort();
  const { code } = blockWith("js", "isSigned(");
  await using _ = new Program("node", ["--input-type=module", "-e", code], {
    cwd: new URL("../../", import.meta.url),
    env: { HOOK_SECRET: SECRET, HOOK_PORT: String(port) },
  });
  await served(port);
  const url = `http://127.0.0.1:${port}/roomcast`;
  await checkBackend(url, "sid=s1");
  await checkClient(url);
});

/** Runs the client in the document against a node whose connect hook is at `url`. */
async function checkClient(url: string): Promise<void> {
  await using app = new TestApp({ CONNECT_HOOK_URL: url, HOOK_SECRET: SECRET });
  const { code } = blockWith("js", "extraHeaders");
  const own = `http://127.0.0.1:${await app.serve()}`;
  for (
    const [cookie, line] of [
      ["sid=s1", /^joined chat$/],
      ["sid=s2", /^Cannot connect: .* sign in/],
    ] as const
  ) {
    const changed = code.replace("http://localhost:4000", own)
      .replace("sid=s1", cookie);
    await using client = new Program(
      "node",
      ["--input-type=module", "-e", changed],
      { cwd: new URL("../../", import.meta.url), env: {} },
    );
    const [first = ""] = await client.lines.have(1);
    assert.match(first, line);
  }
}

Deno.test("the backend of the publish hook in docs/hooks.md replaces and refuses what the client in it publishes", async () => {
  const cwd = new URL("../../", import.meta.url);
  const run = (code: string, env: Record<string, string> = {}): Program =>
    new Program("node", ["--input-type=module", "-e", code], { cwd, env });
  const port = await freePort();
  const backend = blockWith("js", "too_long");
  await using _ = run(backend.code, { HOOK_PORT: String(port) });
  await using app = new TestApp({
    PUBLISH_HOOK_URL: `http://127.0.0.1:${port}/publish`,
    HOOK_TIMEOUT_MS: "5000",
  });
  const url = `http://127.0.0.1:${await app.serve()}`;
  await until(
    "the backend listens",
    () =>
      Deno.connect({ port }).then((connection) => {
        connection.close();
        return true;
      }, () => false),
  );
  const client = blockWith("js", '"darn:"');
  await using running = run(
    client.code.replace("http://localhost:4000", url),
  );
  await running.lines.have(2);
  assert.deepEqual(running.lines.items.toSorted(), [
    "Write at most 100 characters",
    "darn: d**n",
  ]);
});

Deno.test({
  name:
    "the backend for PHP in docs/hooks.md lets in a client with the cookie of a session",
  ignore: php === undefined,
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      const { code } = blockWith("php", "hash_hmac");
      await Deno.writeTextFile(`${folder}/hooks.php`, code);
      await Deno.writeTextFile(
        `${folder}/login.php`,
        "<?php session_start(); $_SESSION['user'] = 'ann';",
      );
      const port = await freePort();
      const listen = ["-S", `127.0.0.1:${port}`, "-t", folder];
      await using _ = new Program(
        php ?? "",
        ["-d", `session.save_path=${folder}`, ...listen],
        { cwd: new URL(`file://${folder}/`), env: { HOOK_SECRET: SECRET } },
      );
      await served(port);
      const login = await fetch(`http://127.0.0.1:${port}/login.php`);
      await login.body?.cancel();
      const [cookie = ""] = login.headers.get("set-cookie")?.split(";") ?? [];
      assert.match(cookie, /^PHPSESSID=/);
      await checkBackend(`http://127.0.0.1:${port}/hooks.php`, cookie);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test("the recipes in docs/hooks.md for frameworks have no syntax errors", async (t) => {
  const checks: [Block, string | undefined, string[]][] = [
    [blockWith("php", "Route::post"), php, ["-l"]],
    [blockWith("python", "csrf_exempt"), python, [
      "-c",
      "import ast, sys; ast.parse(sys.stdin.read())",
    ]],
    [blockWith("js", "express.json()"), "node", ["--check", "-"]],
  ];
  for (const [{ where, code }, program, args] of checks) {
    await t.step({
      name: where,
      ignore: program === undefined,
      fn: async () => {
        const process = new Deno.Command(program ?? "", {
          args,
          stdin: "piped",
          stdout: "null",
          stderr: "piped",
        }).spawn();
        const writer = process.stdin.getWriter();
        await writer.write(new TextEncoder().encode(code));
        await writer.close();
        const { success, stderr } = await process.output();
        assert.ok(success, new TextDecoder().decode(stderr));
      },
    });
  }
});

Deno.test("the page in docs/hooks.md reacts to the refusals in it", async () => {
  const text = Deno.readTextFileSync(new URL("docs/hooks.md", ROOT));
  const [, refusal = ""] = /`(\{"error":\{"code":"locked".*\}\})`/.exec(text) ??
    [];
  await using backend = await HookBackend.start((_, response) =>
    void response.end(refusal)
  );
  await using app = new TestApp({ CONNECT_HOOK_URL: backend.url() });
  const url = `http://127.0.0.1:${await app.serve()}`;
  const { code } = blockWith("js", '"locked"');
  const page =
    `import { io } from "socket.io-client"; const socket = io("${url}"); ${code}`;
  for (
    const [respond, line] of [
      [backend.respond, "locked: Your account is locked"],
      [(_, response) => void response.writeHead(401).end(), "sign in first"],
    ] as const satisfies [typeof backend.respond, string][]
  ) {
    backend.respond = respond;
    await using client = new Program(
      "node",
      ["--input-type=module", "-e", page],
      { cwd: new URL("../../", import.meta.url), env: {} },
    );
    assert.deepEqual(await client.lines.have(1), [line]);
  }
});

Deno.test("the answers in docs/hooks.md are accepted", async () => {
  let answer = "";
  await using backend = await HookBackend.start((_, response) =>
    void response.end(answer)
  );
  const hooks = new Hooks(
    {
      connectUrl: backend.url("/connect"),
      joinUrl: backend.url("/join"),
      publishUrl: backend.url("/publish"),
      rooms: ["*"],
      headers: [],
      timeoutMs: 5000,
      secret: undefined,
      messageBytesMax: 1000,
    },
    () => {},
    () => 1_795_986_000_000,
  );
  const question = JSON.parse(blockWith("json", '"transport"').code);
  answer = blockWith("json", '"rooms": ["user.ann"],').code;
  const verdict = await hooks.connect?.ask({ ...question, ...ASKER });
  assert.equal(verdict?.user, "ann");
  const join = JSON.parse(blockWith("json", '"orders.7"').code);
  answer = blockWith("json", '{ "allow": ["sub"], "expiresAt"').code;
  const grant = await hooks.join?.ask({ ...join, ...ASKER });
  assert.deepEqual(grant?.actions, ["subscribe"]);
  const publish = JSON.parse(blockWith("json", '"text": "darn"').code);
  answer = blockWith("json", '"text": "d**n"').code;
  const json = JSON.stringify(publish.message);
  const asked = { ...publish, ...ASKER, json };
  assert.equal(await hooks.publish?.ask(asked), '{"text":"d**n"}');
  // What the documents show is what is sent.
  const [connectCall, joinCall, publishCall] = backend.calls.items;
  assert.deepEqual(connectCall?.body, { ...question, client: "c" });
  assert.deepEqual(joinCall?.body, { ...join, client: "c" });
  assert.deepEqual(publishCall?.body, { ...publish, client: "c" });
  hooks.close();
});
