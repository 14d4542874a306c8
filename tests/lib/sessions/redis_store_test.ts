import assert from "node:assert/strict";
import type { RoomGrant } from "../../../lib/access/principal.ts";
import { ApiError } from "../../../lib/errors.ts";
import { RedisSessionStore } from "../../../lib/sessions/redis_store.ts";
import type { Session } from "../../../lib/sessions/session.ts";
import { KEYS, TestLogServer } from "../../support/log_server.ts";
import type { Redis } from "../../support/redis.ts";

/** A session store on a real Redis, and what the store tells its node. */
class Setup implements AsyncDisposable {
  readonly store: RedisSessionStore;
  /** The arguments of `LogServer.saved()`: the numbers of the saves that Redis has acknowledged. */
  readonly saved: number[] = [];

  private constructor(readonly server: TestLogServer) {
    const saved = (count: number) => this.saved.push(count);
    this.store = new RedisSessionStore(server.of("node", { saved }));
  }

  static async open(): Promise<Setup> {
    return new Setup(await TestLogServer.start());
  }

  get redis(): Redis {
    return this.server.redis;
  }

  /** Writes a session to Redis in a stored form of another version of Roomcast. */
  async write(digest: string, text: string): Promise<void> {
    await this.redis.command("SET", KEYS.session(digest), text);
  }

  async text(digest: string): Promise<unknown> {
    return await this.redis.command("GET", KEYS.session(digest));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }
}

/** A session with nothing in it. */
const BARE: Session = {
  rooms: [],
  epoch: "",
  lineage: "",
  generation: 1,
  owner: "abc",
  overloaded: false,
};
/**
 * Sessions, and the text that Redis stores for each. The commit 612eebc writes the same text, without `user`, `grants`,
 * `verdict`, `directed`, `left`, `seal` and `client`, which it ignores. Neither the order of the fields nor their form may change,
 * because nodes of both versions use the same Redis during an upgrade.
 */
const FORMS: readonly (readonly [text: string, Session])[] = [
  [
    '{"generation":1,"owner":"abc","rooms":[["chat","5-0"]],"epoch":"e","lineage":"l","overloaded":false}',
    {
      rooms: [["chat", { since: "5-0" }]],
      epoch: "e",
      lineage: "l",
      generation: 1,
      owner: "abc",
      overloaded: false,
    },
  ],
  [
    '{"generation":12,"owner":"x-_y","rooms":[["{\\"generation\\":9,\\"","5-0"],["b","4-0","9-0",3],["c","9-0","999999999999999-999999999999999",9007199254740991,"trimmed"]],"epoch":"0123456789abcdef","lineage":"","overloaded":true}',
    {
      rooms: [
        ['{"generation":9,"', { since: "5-0" }],
        ["b", { since: "4-0", notice: { at: "9-0", number: 3 } }],
        ["c", {
          since: "9-0",
          notice: {
            at: "999999999999999-999999999999999",
            number: Number.MAX_SAFE_INTEGER,
            gap: "trimmed",
          },
        }],
      ],
      epoch: "0123456789abcdef",
      lineage: "",
      generation: 12,
      owner: "x-_y",
      overloaded: true,
    },
  ],
  [
    '{"generation":1,"owner":"abc","rooms":[],"epoch":"","lineage":"","overloaded":false}',
    BARE,
  ],
  [
    '{"generation":1,"owner":"abc","rooms":[],"epoch":"","lineage":"","overloaded":false,"user":"ann \\"b\\""}',
    {
      ...BARE,
      user: 'ann "b"',
    },
  ],
  [
    '{"generation":1,"owner":"abc","rooms":[["a","5-0"],["__proto__","5-0"]],"epoch":"","lineage":"","overloaded":false,"user":"","grants":[["a",{"by":"token","allow":["sub","pub","history","presence"],"exp":9,"iat":8,"jti":"j","info":{"n":1}}],["__proto__",{"by":"hook","allow":["sub"]}]]}',
    {
      ...BARE,
      rooms: [["a", { since: "5-0" }], ["__proto__", { since: "5-0" }]],
      user: "",
      grants: new Map<string, RoomGrant>([
        ["a", {
          by: "token",
          actions: ["subscribe", "publish", "history", "presence"],
          expiresAt: 9,
          issuedAt: 8,
          tokenId: "j",
          info: { n: 1 },
        }],
        ["__proto__", {
          by: "hook",
          actions: ["subscribe"],
          expiresAt: undefined,
          issuedAt: undefined,
          tokenId: undefined,
          info: undefined,
        }],
      ]),
    },
  ],
  [
    '{"generation":1,"owner":"abc","rooms":[],"epoch":"","lineage":"","overloaded":false,"user":"ann","verdict":{"user":"ann","issuedAt":8,"expiresAt":1795989600000,"info":{"n":1},"rooms":["a"],"caps":[{"rooms":["a"],"allow":["sub"]}]}}',
    {
      ...BARE,
      user: "ann",
      verdict: {
        user: "ann",
        issuedAt: 8,
        expiresAt: 1_795_989_600_000,
        info: { n: 1 },
        rooms: ["a"],
        caps: [{ rooms: ["a"], allow: ["sub"] }],
      },
    },
  ],
  [
    '{"generation":1,"owner":"abc","rooms":[["a","5-0"]],"epoch":"","lineage":"","overloaded":false,"user":"ann","grants":[["a",{"by":"server","allow":["sub"],"iat":7,"put":6}]],"directed":"7-1","left":["b","c"]}',
    {
      ...BARE,
      rooms: [["a", { since: "5-0" }]],
      user: "ann",
      grants: new Map<string, RoomGrant>([
        ["a", {
          by: "server",
          actions: ["subscribe"],
          expiresAt: undefined,
          issuedAt: 7,
          tokenId: undefined,
          info: undefined,
          putAt: 6,
        }],
      ]),
      directed: "7-1",
      left: new Set(["b", "c"]),
    },
  ],
  [
    '{"generation":1,"owner":"abc","rooms":[],"epoch":"","lineage":"","overloaded":false,"directed":"7-1","client":"abcdefghijklmnop"}',
    { ...BARE, directed: "7-1", inheritedId: "abcdefghijklmnop" },
  ],
  [
    '{"generation":1,"owner":"abc","rooms":[],"epoch":"","lineage":"","overloaded":false,"user":"ann","seal":"abcdefghijklmnopqrstuv"}',
    { ...BARE, user: "ann", seal: "abcdefghijklmnopqrstuv" },
  ],
];

Deno.test("RedisSessionStore writes and reads sessions in the stored form of the previous version of Roomcast", async () => {
  await using setup = await Setup.open();
  const { store } = setup;
  for (const [index, [text, session]] of FORMS.entries()) {
    await store.save(
      [{ digest: `${index}`, session, resumedVersion: undefined }],
      60,
    );
    assert.equal(await setup.text(`${index}`), text);
    await setup.write("other", text);
    assert.deepEqual((await store.load("other"))?.session, session);
  }
  assert.deepEqual(setup.saved, FORMS.map((_, index) => index + 1));
});

Deno.test("RedisSessionStore loads a session that was saved without an owner, as nodes did before 2026-11-29", async () => {
  await using setup = await Setup.open();
  const old =
    '{"generation":3,"rooms":[["chat","5-0"]],"epoch":"e","lineage":"l","overloaded":false}';
  await setup.write("x", old);
  const { session, version } = await setup.store.load("x") ?? {};
  assert.equal(session?.owner, "");
  assert.equal(session?.generation, 3);
  assert.ok(session !== undefined);
  // A node of this version resumes the session, and a late save of the old node is discarded.
  const taken = { ...session, generation: 4, owner: "new" };
  const save = async (session: Session, resumedVersion?: string) => [
    ...await setup.store.save([{ digest: "x", session, resumedVersion }], 60),
  ];
  assert.deepEqual(await save(taken, version), []);
  assert.deepEqual(await save(session), ["x"]);
  assert.equal((await setup.store.load("x"))?.session.owner, "new");
});

Deno.test("RedisSessionStore.load() leaves out a verdict that it cannot read, so that the hook is asked again", async () => {
  await using setup = await Setup.open();
  const session = (verdict: unknown) =>
    JSON.stringify({
      generation: 1,
      owner: "abc",
      rooms: [],
      epoch: "",
      lineage: "",
      user: "ann",
      verdict,
    });
  const wrong = [
    null,
    "ann",
    {},
    { user: "ann" },
    { issuedAt: 8 },
    { user: "ann", issuedAt: "8" },
    { user: "ann", issuedAt: 8, expiresAt: "never" },
    { user: "ann", issuedAt: 8, caps: [{ rooms: ["*"], allow: ["all"] }] },
    { user: "ann", issuedAt: 8, limit: 1 },
  ];
  for (const verdict of wrong) {
    await setup.write("x", session(verdict));
    const stored = await setup.store.load("x");
    assert.equal(stored?.session.user, "ann");
    assert.equal(stored?.session.verdict, undefined, JSON.stringify(verdict));
  }
});

Deno.test("RedisSessionStore.load() leaves out a seal that is not a text, so that the token is verified", async () => {
  await using setup = await Setup.open();
  const [text = ""] = FORMS.at(-1) ?? [];
  for (const seal of ["null", "5", "[]", "{}", "true"]) {
    await setup.write("x", text.replace(/"seal":"\w+"/, `"seal":${seal}`));
    const stored = await setup.store.load("x");
    assert.deepEqual(stored?.session, { ...BARE, user: "ann" });
  }
});

Deno.test("RedisSessionStore.load() returns undefined if the stored value is not a session", async () => {
  await using setup = await Setup.open();
  const [text = ""] = FORMS[0] ?? [];
  const wrong = [
    "",
    "null",
    "[]",
    "{",
    text.replace('"generation":1', '"generation":"1"'),
    text.replace('"owner":"abc"', '"owner":1'),
    text.replace('"epoch":"e"', '"epoch":null'),
    text.replace('"lineage":"l",', ""),
    text.replace('"lineage"', '"directed":["1-1"],"lineage"'),
    text.replace('"lineage"', '"directed":"1","lineage"'),
    text.replace('"lineage"', '"left":"a","lineage"'),
    text.replace('"lineage"', '"left":["a",{}],"lineage"'),
    text.replace('[["chat","5-0"]]', "{}"),
    text.replace('["chat","5-0"]', '"chat"'),
    text.replace('["chat","5-0"]', '["chat"]'),
    text.replace('["chat","5-0"]', '["chat",5]'),
    text.replace('["chat","5-0"]', '["chat","5-0","9-0"]'),
    text.replace('["chat","5-0"]', '["chat","5-0","9-0","3"]'),
    text.replace('["chat","5-0"]', '["chat","5-0","9-0",3,"bored"]'),
    text.replace('["chat","5-0"]', '["chat","5-0","9-0",3,"epoch",1]'),
  ];
  for (const text of wrong) {
    await setup.write("x", text);
    assert.equal(await setup.store.load("x"), undefined, text);
  }
  await setup.write("x", text);
  assert.notEqual(await setup.store.load("x"), undefined);
  assert.equal(await setup.store.load("y"), undefined);
});

Deno.test("RedisSessionStore neither loads nor saves a session on a server that its node has not checked", async () => {
  await using setup = await Setup.open();
  const [[, session] = []] = FORMS;
  assert.ok(session !== undefined);
  setup.server.isMoved = true;
  const refused = (error: unknown): boolean =>
    error instanceof ApiError && error.code === "log_unreachable";
  await assert.rejects(setup.store.load("x"), refused);
  await assert.rejects(
    setup.store.save([{ digest: "x", session, resumedVersion: undefined }], 60),
    refused,
  );
  assert.equal(await setup.text("x"), null);
  assert.deepEqual(setup.saved, []);
});

Deno.test("RedisSessionStore saves sessions with an expiry", async () => {
  await using setup = await Setup.open();
  const [[, session] = []] = FORMS;
  assert.ok(session !== undefined);
  await setup.store.save(
    [{ digest: "x", session, resumedVersion: undefined }],
    60,
  );
  const ttl = Number(await setup.redis.command("TTL", KEYS.session("x")));
  assert.ok(ttl > 50 && ttl <= 60, String(ttl));
});
