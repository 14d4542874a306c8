import assert from "node:assert/strict";
import { readClaims } from "../../../lib/access/claims.ts";
import { TokenVerifier } from "../../../lib/access/tokens.ts";
import { tokenFrom } from "../../../tools/token.ts";
import { SECRET } from "../../support/tokens.ts";

const ROOT = new URL("../../../", import.meta.url);

function verifier(issuer?: string, audience?: string): TokenVerifier {
  return new TokenVerifier({
    secrets: [SECRET],
    jwksUrl: undefined,
    issuer,
    audience,
    observe: () => {},
  });
}

/** The line with a token. */
const TOKEN_LINE = /^[\w-]+\.[\w-]+\.[\w-]+\n$/;

/** Runs `deno task token --user ann` with further arguments. */
async function runTask(
  ...args: readonly string[]
): Promise<{ out: string; error: string }> {
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "-q", "token", "--user", "ann", ...args],
    cwd: ROOT,
    env: { TOKEN_SECRET: `${SECRET}, ${SECRET}2` },
  }).output();
  const decoder = new TextDecoder();
  return { out: decoder.decode(stdout), error: decoder.decode(stderr) };
}

Deno.test("deno task token says on stderr if the token grants nothing by itself", async () => {
  const { out, error } = await runTask();
  assert.match(out, TOKEN_LINE);
  assert.match(error, /^This token grants nothing by itself; add rights /);
});

Deno.test("deno task token prints a token that the server accepts, and nothing else", async () => {
  const rooms = "chat.*=sub+pub,news=sub";
  const { out, error } = await runTask("--rooms", rooms, "--ttl=1h");
  assert.match(out, TOKEN_LINE, error);
  assert.equal(error, "");
  const { claims } = await verifier().verify(out.trim());
  const { expiresAt, issuedAt, ...facts } = readClaims(claims);
  assert.deepEqual(facts, {
    user: "ann",
    tokenId: undefined,
    info: undefined,
    rooms: [],
    grants: [
      { rooms: ["chat.*"], actions: ["subscribe", "publish"] },
      { rooms: ["news"], actions: ["subscribe"] },
    ],
  });
  assert.ok(Math.abs(expiresAt - Date.now() - 3_600_000) < 60_000);
  assert.equal(issuedAt, expiresAt - 3_600_000);
});

Deno.test("tokenFrom() puts the issuer and the audience of the settings into the token", async () => {
  const env = {
    TOKEN_SECRET: SECRET,
    TOKEN_ISSUER: "me",
    TOKEN_AUDIENCE: "us",
  };
  const args = ["--id", "j1", "--join", "a, b", "--info", '{"name":"Ann"}'];
  const token = await tokenFrom(args, env);
  const { claims } = await verifier("me", "us").verify(token);
  const facts = readClaims(claims);
  assert.equal(facts.tokenId, "j1");
  assert.deepEqual(facts.rooms, ["a", "b"]);
  assert.deepEqual(facts.info, { name: "Ann" });
});

Deno.test("tokenFrom() refuses arguments and settings that are not valid, without a secret in the error", async () => {
  const env = { TOKEN_SECRET: SECRET };
  const cases: [string[], Record<string, string>, RegExp][] = [
    [[], {}, /TOKEN_SECRET is unset/],
    [[], { TOKEN_SECRET: "hunter2" }, /at least 32/],
    [["--rooms", "chat"], env, /"chat", which .+; write it as in chat=sub$/],
    [["--rooms", "=sub"], env, /"=sub", which .+; write it as in chat=sub$/],
    [["--rooms", "a.{b}"], env, /"a.{b}", which has a claim in braces/],
    [["--rooms", "chat=read"], env, /grants "read"/],
    [["--rooms", "user.{sub}=sub"], env, /a claim in braces/],
    [["--ttl", "0s"], env, /--ttl is "0s"/],
    [["--ttl", "1"], env, /--ttl is "1"/],
    [["--ttl", "1y"], env, /--ttl is "1y"/],
    [["--info", "Ann"], env, /--info is not JSON/],
    [
      ["--usr", "ann"],
      env,
      /^Cannot make a token: --usr is unknown; use --user$/,
    ],
    [
      ["--x"],
      env,
      /^Cannot make a token: --x is unknown; use --user, --rooms,/,
    ],
    [
      ["--ttl", "-1h"],
      env,
      /^Cannot make a token: --ttl has no valid time; write/,
    ],
    [["--ttl=-1h"], env, /^Cannot make a token: --ttl is "-1h"; write/],
    [
      ["--user", "--id"],
      env,
      /--user has no value; write it as in --user=<value>/,
    ],
    [["--user"], env, /--user has no value/],
    [
      ["--rooms=chat=sub;news=sub"],
      env,
      /^Cannot make a token: --rooms has "chat=sub;news=sub", which has more than one .* with commas$/,
    ],
    [
      ["ann"],
      env,
      /^Cannot make a token: an argument belongs to no option; put/,
    ],
  ];
  for (const [args, settings, why] of cases) {
    await assert.rejects(tokenFrom(args, settings), (error) => {
      assert.ok(error instanceof TypeError);
      assert.match(error.message, why);
      assert.ok(!error.message.includes("hunter2"));
      return true;
    });
  }
});
