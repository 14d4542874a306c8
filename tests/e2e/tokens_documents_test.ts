/** Runs the code in `docs/tokens.md`: it makes tokens, connects with them, joins, refreshes and revokes. */
import assert from "node:assert/strict";
import { dirname } from "node:path";
import { TestApp } from "../support/app.ts";
import { fencedBlocks, ROOT } from "../support/documents.ts";
import { Program, run } from "../support/program.ts";
import { inSeconds, makeToken, SECRET } from "../support/tokens.ts";

const KEY = "a-long-random-secret";
const CAPS = [{ rooms: ["chat"], allow: ["sub"] }];
/** Commands find the Deno of the tests. */
const PATH = `${dirname(Deno.execPath())}:${Deno.env.get("PATH")}`;
const blocks = fencedBlocks("docs/tokens.md");

/** Returns the code of the block that contains `text`. */
function codeWith(text: string): string {
  const [block, ...others] = blocks.filter(({ code }) => code.includes(text));
  assert.ok(block !== undefined && others.length === 0, text);
  return block.code;
}

/** Runs a command to its end, and returns the first line that it prints. */
async function printed(
  program: string,
  args: readonly string[],
  variables: Readonly<Record<string, string>> = {},
): Promise<string> {
  const env = { PATH, ...variables };
  const [line = ""] = (await run(program, args, { cwd: ROOT, env })).split(
    "\n",
  );
  return line;
}

/** Starts a program of Node that has the environment `env`, and prints its errors with its other lines. */
function start(code: string, env: Readonly<Record<string, string>>): Program {
  const whole = `import { io } from "socket.io-client";
    console.error = console.log;
    ${code}`;
  return new Program("node", ["--input-type=module", "-e", whole], {
    cwd: ROOT,
    env,
  });
}

Deno.test("the command and the code in docs/tokens.md make tokens with which the client in it joins", async () => {
  await using app = new TestApp({ TOKEN_SECRET: SECRET });
  const url = `http://127.0.0.1:${await app.serve()}`;
  const env = { TOKEN_SECRET: SECRET };
  const code = `${codeWith("SignJWT")}\nconsole.log(token);`;
  const [byCommand, byCode] = await Promise.all([
    printed("sh", ["-ec", codeWith("deno task token")], env),
    printed("node", ["--input-type=module", "-e", code], env),
  ]);
  const client = codeWith("send({ token").replace("http://localhost:4000", url);
  const other = await makeToken({ caps: CAPS }, { secret: KEY.repeat(2) });
  for (
    const [token, line] of [
      [byCommand, /^joined chat$/],
      [byCode, /^joined chat$/],
      [other, /^Cannot accept the token: its signature does not match; /],
    ] as const
  ) {
    await using program = start(
      `const getToken = () => Promise.resolve(process.env.TOKEN);\n${client}`,
      { TOKEN: token },
    );
    const [first = ""] = await program.lines.have(1);
    assert.match(first, line);
  }
});

Deno.test("the client in docs/tokens.md joins with a room token, refreshes its token, and is revoked", async () => {
  await using app = new TestApp({
    TOKEN_SECRET: SECRET,
    PUBLISH_KEYS: `backend:${KEY}`,
  });
  const url = `http://127.0.0.1:${await app.serve()}`;
  const claims = { sub: "ann", iat: inSeconds(-10), caps: CAPS };
  const [token, newToken, roomToken] = await Promise.all([
    makeToken({ ...claims, exp: inSeconds(20) }),
    makeToken(claims),
    makeToken({ caps: [{ rooms: ["order.4711"], allow: ["sub"] }] }),
  ]);
  await using program = start(
    `const socket = io("${url}", { auth: { token: process.env.TOKEN } });
     const getToken = async () => process.env.NEW_TOKEN;
     const getRoomToken = async () => process.env.ROOM_TOKEN;
     const emit = socket.emitWithAck.bind(socket);
     socket.emitWithAck = async (event, ...args) => {
       const answer = await emit(event, ...args);
       console.log(event, answer.ok);
       return answer;
     };
     socket.on("disconnect", () => console.log("disconnected"));
     ${codeWith("token_expiring")}
     ${codeWith("getRoomToken(")}`,
    { TOKEN: token, NEW_TOKEN: newToken, ROOM_TOKEN: roomToken },
  );
  await program.lines.have(2);
  assert.deepEqual(program.lines.items.toSorted(), [
    "join true",
    "refresh true",
  ]);
  const revoke = codeWith("/revoke").replace("http://", "")
    .replace("localhost:4000", url);
  assert.match(await printed("sh", ["-ec", revoke]), /"issuedBefore":\d+/);
  const [, , third] = await program.lines.have(3);
  assert.equal(third, "disconnected");
});
