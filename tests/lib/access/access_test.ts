import assert from "node:assert/strict";
import {
  type AccessOptions,
  createAccess,
} from "../../../lib/access/access.ts";
import { type Claims, parseTemplate } from "../../../lib/access/claim_rooms.ts";
import {
  makePrincipal,
  type Principal,
  withGrant,
} from "../../../lib/access/principal.ts";
import { type Action, Rights } from "../../../lib/access/rights.ts";
import { ApiError, type ErrorCode } from "../../../lib/errors.ts";

const KEYS = [
  { name: "web", secret: "correct-horse" },
  { name: "batch", secret: "battery-staple", rooms: ["news.*", "chat"] },
];
const ACTIONS: readonly Action[] = [
  "subscribe",
  "publish",
  "history",
  "presence",
  "manage",
];
const EXP = 9_999_999_999;
const OUTAGE = new ApiError("token_keys_unavailable", "Cannot verify");
const FALSE = new ApiError("unauthorized", "Cannot accept the token");

/** Stands for a verifier: a token is `t.` and a name of these claims. */
const CLAIMS: Readonly<Record<string, Claims>> = {
  "t.none.": { sub: "ann", exp: EXP },
  "t.sub.": {
    sub: "ann",
    exp: EXP,
    iat: 1_900_000_000,
    jti: "j1",
    info: { name: "Ann" },
    rooms: ["chat"],
    caps: [{ rooms: ["chat", "news.*"], allow: ["sub"] }],
  },
  "t.all.": {
    exp: EXP,
    caps: [{ rooms: ["chat"], allow: ["sub", "pub", "history", "presence"] }],
  },
};

const tokens: AccessOptions["tokens"] = {
  verify: (token) => {
    const claims = CLAIMS[token];
    if (token === "t.outage.") return Promise.reject(OUTAGE);
    return claims === undefined
      ? Promise.reject(FALSE)
      : Promise.resolve({ claims, seal: "a-seal" });
  },
};

/** Returns the code with which the action is refused, or `ok`. */
async function ask(
  options: AccessOptions,
  from: "request" | "reader" | "client",
  secret: unknown,
  action: Action,
  room?: string,
): Promise<ErrorCode | "ok"> {
  const access = createAccess(options);
  try {
    const principal = await access.authenticate({ from, secret });
    return access.refusal(principal, action, room)?.code ?? "ok";
  } catch (error) {
    assert.ok(error instanceof ApiError);
    return error.code;
  }
}

Deno.test("without keys and tokens, every sender may perform every action", async () => {
  const access = createAccess({ publishKeys: [] });
  for (const from of ["request", "client"] as const) {
    for (const secret of [undefined, "", "any-secret", "a.b.c"]) {
      const principal = await access.authenticate({ from, secret });
      assert.equal(principal.kind, "anonymous");
      for (const action of ACTIONS) {
        assert.equal(access.refusal(principal, action), undefined);
        assert.equal(access.refusal(principal, action, "chat"), undefined);
      }
    }
  }
});

Deno.test("with publish keys and no tokens, an anonymous sender may only subscribe", async () => {
  for (const from of ["request", "client"] as const) {
    for (const action of ACTIONS) {
      assert.equal(
        await ask({ publishKeys: KEYS }, from, undefined, action, "chat"),
        action === "subscribe" ? "ok" : "unauthorized",
        action,
      );
    }
  }
});

Deno.test("for a reader over HTTP a publish key is no credential, and a token is only for reading", async () => {
  const guarded = { publishKeys: KEYS, tokens };
  const cases: [AccessOptions, secret: unknown, read: string, other: string][] =
    [
      [{ publishKeys: [] }, undefined, "ok", "unauthorized"],
      [{ publishKeys: [] }, "anything", "ok", "unauthorized"],
      [{ publishKeys: KEYS }, undefined, "unauthorized", "unauthorized"],
      [{ publishKeys: KEYS }, "correct-horse", "unauthorized", "unauthorized"],
      [guarded, undefined, "unauthorized", "unauthorized"],
      [guarded, "correct-horse", "unauthorized", "unauthorized"],
      [guarded, "t.false.", "unauthorized", "unauthorized"],
      [guarded, "t.sub.", "forbidden", "forbidden"],
      [guarded, "t.all.", "ok", "forbidden"],
      [{ publishKeys: [], tokens }, "t.all.", "ok", "forbidden"],
    ];
  for (const [options, secret, read, other] of cases) {
    const what = JSON.stringify([options.publishKeys.length, secret]);
    const code = (action: Action) =>
      ask(options, "reader", secret, action, "chat");
    assert.equal(await code("history"), read, what);
    for (const action of ["publish", "manage"] as const) {
      assert.equal(await code(action), other, what);
    }
  }
});

Deno.test("a publish key allows every action in its rooms, and nothing elsewhere", async () => {
  const access = createAccess({ publishKeys: KEYS, tokens });
  const rooms = async (secret: string): Promise<[Principal, string[]]> => {
    const principal = await access.authenticate({ from: "request", secret });
    const allowed = ["chat", "chat2", "news.a", "news", "__proto__"].filter(
      (room) =>
        ACTIONS.every((action) => {
          const refusal = access.refusal(principal, action, room);
          assert.ok(refusal === undefined || refusal.code === "forbidden");
          return refusal === undefined;
        }),
    );
    return [principal, allowed];
  };
  const [web, everywhere] = await rooms("correct-horse");
  assert.deepEqual([web.kind, web.key, web.user], ["key", "web", undefined]);
  assert.equal(everywhere.length, 5);
  const [batch, some] = await rooms("battery-staple");
  assert.equal(batch.key, "batch");
  assert.deepEqual(some, ["chat", "news.a"]);
  assert.equal(access.refusal(batch, "publish"), undefined);
});

Deno.test("authenticate() refuses a secret that belongs to no publish key", async () => {
  for (
    const options of [{ publishKeys: KEYS }, { publishKeys: KEYS, tokens }]
  ) {
    for (
      const secret of ["", "wrong", "correct-hors", "correct-horse ", "web"]
    ) {
      assert.equal(
        await ask(options, "request", secret, "subscribe"),
        "unauthorized",
      );
    }
  }
  assert.equal(
    await ask({ publishKeys: [], tokens }, "request", "stale", "publish"),
    "unauthorized",
  );
});

Deno.test("a publish key is no credential of a client", async () => {
  assert.equal(
    await ask(
      { publishKeys: KEYS, tokens },
      "client",
      "correct-horse",
      "manage",
    ),
    "unauthorized",
  );
});

Deno.test("with tokens, a client without a token may connect only if there are public rooms", async () => {
  const publicRooms = ["lobby", "news.*"];
  const options = { publishKeys: KEYS, tokens, publicRooms };
  const closed = { publishKeys: [], tokens };
  assert.equal(
    await ask(closed, "client", undefined, "subscribe"),
    "unauthorized",
  );
  await assert.rejects(
    createAccess(closed).authenticate({ from: "client", secret: undefined }),
    (error) => error instanceof ApiError && error.code === "unauthorized",
  );
  assert.equal(await ask(options, "client", undefined, "subscribe"), "ok");
  for (const room of ["lobby", "news.a"]) {
    assert.equal(
      await ask(options, "client", undefined, "subscribe", room),
      "ok",
    );
  }
  for (const room of ["lobby2", "news", "chat", "*"]) {
    assert.equal(
      await ask(options, "client", undefined, "subscribe", room),
      "unauthorized",
    );
  }
  for (const action of ["publish", "history", "presence", "manage"] as const) {
    assert.equal(
      await ask(options, "client", undefined, action, "lobby"),
      "unauthorized",
    );
    assert.equal(
      await ask({ ...options, publishKeys: [] }, "client", undefined, action),
      "unauthorized",
      "also if publishing over HTTP is open",
    );
  }
});

Deno.test("with tokens and without publish keys, publishing over HTTP is open and reading is not", async () => {
  const options = { publishKeys: [], tokens };
  for (const action of ACTIONS) {
    assert.equal(
      await ask(options, "request", undefined, action, "chat"),
      action === "publish" || action === "manage" ? "ok" : "unauthorized",
      action,
    );
  }
});

Deno.test("a client's token allows what its caps grant and nothing else", async () => {
  const options = { publishKeys: KEYS, tokens };
  const answers = async (token: string, room: string) =>
    await Promise.all(
      ACTIONS.map((action) => ask(options, "client", token, action, room)),
    );
  const no = "forbidden";
  assert.deepEqual(await answers("t.sub.", "chat"), ["ok", no, no, no, no]);
  assert.deepEqual(await answers("t.sub.", "news.a"), ["ok", no, no, no, no]);
  assert.deepEqual(await answers("t.sub.", "chat2"), [no, no, no, no, no]);
  assert.deepEqual(
    await answers("t.all.", "chat"),
    ["ok", "ok", "ok", "ok", no],
  );
  assert.deepEqual(await answers("t.none.", "chat"), [no, no, no, no, no]);
});

Deno.test("TOKEN_ROOMS and PUBLIC_ROOMS add to the rights of a token", async () => {
  const options = {
    publishKeys: KEYS,
    tokens,
    tokenRooms: [parseTemplate("user.{sub}=sub+pub")],
    publicRooms: ["lobby"],
  };
  const may = (action: Action, room: string) =>
    ask(options, "client", "t.sub.", action, room);
  for (const room of ["user.ann", "lobby", "chat"]) {
    assert.equal(await may("subscribe", room), "ok", room);
  }
  assert.equal(await may("publish", "user.ann"), "ok");
  assert.equal(await may("publish", "lobby"), "forbidden");
  assert.equal(await may("subscribe", "user.bob"), "forbidden");
  const without = await ask(options, "client", "t.all.", "subscribe", "user.");
  assert.equal(without, "forbidden");
});

Deno.test("over HTTP a token reads what it may read, and never publishes", async () => {
  const options = { publishKeys: KEYS, tokens };
  const answers = await Promise.all(
    ACTIONS.map((action) => ask(options, "request", "t.all.", action, "chat")),
  );
  const no = "forbidden";
  assert.deepEqual(answers, ["ok", no, "ok", "ok", no]);
  assert.equal(await ask(options, "request", "t.all.", "publish"), no);
  assert.equal(
    await ask({ publishKeys: [], tokens }, "request", "t.all.", "publish"),
    "ok",
    "a token takes away nothing that everyone may do",
  );
});

Deno.test("a token that is not accepted or cannot be verified is an error, whatever else is allowed", async () => {
  const options = { publishKeys: [], tokens, publicRooms: ["*"] };
  for (const from of ["request", "client"] as const) {
    assert.equal(
      await ask(options, from, "t.bad.", "subscribe"),
      "unauthorized",
    );
    assert.equal(
      await ask(options, from, "t.outage.", "subscribe"),
      "token_keys_unavailable",
    );
  }
  for (const secret of [null, "", 1, {}, ["t.sub."], true]) {
    assert.equal(
      await ask(options, "client", secret, "subscribe"),
      "unauthorized",
    );
  }
});

Deno.test("a principal has what the token says about the user", async () => {
  const access = createAccess({ publishKeys: [], tokens });
  const { rights: _, ...facts } = await access.authenticate({
    from: "client",
    secret: "t.sub.",
  });
  assert.deepEqual(facts, {
    kind: "client",
    user: "ann",
    key: undefined,
    tokenId: "j1",
    by: "token",
    lacks: undefined,
    expiresAt: EXP * 1000,
    issuedAt: 1_900_000_000_000,
    grants: new Map(),
    info: { name: "Ann" },
    rooms: ["chat"],
    verdict: undefined,
    misfits: [],
    seal: "a-seal",
  });
  const other = await access.authenticate({ from: "client", secret: "t.all." });
  assert.deepEqual([other.user, other.tokenId], [undefined, undefined]);
});

Deno.test("principals are frozen", async () => {
  const access = createAccess({ publishKeys: KEYS, tokens });
  for (
    const [from, secret] of [
      ["request", undefined],
      ["request", "correct-horse"],
      ["client", "t.sub."],
    ] as const
  ) {
    const principal = await access.authenticate({ from, secret });
    assert.ok(Object.isFrozen(principal));
    assert.ok(Object.isFrozen(principal.rooms));
    assert.ok(Object.isFrozen(principal.rights));
  }
});

Deno.test("errors name the room and the setting, and no secret", async () => {
  const access = createAccess({ publishKeys: KEYS, tokens });
  const key = await access.authenticate({
    from: "request",
    secret: "battery-staple",
  });
  const message = access.refusal(key, "publish", "x")?.message ?? "";
  assert.match(message, /^Cannot publish into "x": .+; .*PUBLISH_KEY_ROOMS$/);
  assert.ok(!message.includes("battery"));
  const ann = await access.authenticate({ from: "client", secret: "t.none." });
  assert.match(
    access.refusal(ann, "subscribe", "x")?.message ?? "",
    /^Cannot join "x": .+; .*TOKEN_ROOMS$/,
  );
});

Deno.test("a grant allows its actions in its room, until 5 s after it expires, and mayStay() ignores its time", () => {
  let now = 1_000_000;
  const access = createAccess({ publishKeys: KEYS, tokens, now: () => now });
  const lobby = new Rights([{ rooms: ["lobby"], actions: ["subscribe"] }]);
  const ann = withGrant(
    makePrincipal({ kind: "client", rights: lobby }),
    "chat",
    { by: "token", actions: ["subscribe", "history"], expiresAt: now },
  );
  const code = (action: Action, room?: string) =>
    access.refusal(ann, action, room)?.code ?? "ok";
  const codes = () => [
    ...ACTIONS.map((action) => code(action, "chat")),
    code("history"),
    code("publish"),
    code("subscribe", "chat2"),
    code("subscribe", "lobby"),
  ];
  const [no, late] = ["forbidden", "unauthorized"];
  const before = ["ok", no, "ok", no, no, "ok", no, no, "ok"];
  assert.deepEqual(codes(), before);
  now += 4999;
  assert.deepEqual(codes(), before);
  now++;
  assert.deepEqual(codes(), [late, no, late, no, no, late, no, no, "ok"]);
  const rooms = ["chat", "lobby", "chat2", "__proto__"];
  assert.deepEqual(
    rooms.map((room) => access.mayStay(ann, room)),
    [true, true, false, false],
  );
  const without = withGrant(ann, "chat", undefined);
  assert.equal(access.mayStay(without, "chat"), false);
  assert.equal(access.refusal(without, "history")?.code, no);
});

Deno.test("a client whose token has expired may do nothing new from 5 s after, and may stay in its rooms", () => {
  let now = 1_000_000;
  const access = createAccess({ publishKeys: KEYS, tokens, now: () => now });
  const ann = withGrant(
    makePrincipal({
      kind: "client",
      rights: new Rights([{ rooms: ["*"], actions: ACTIONS }]),
      expiresAt: now,
    }),
    "chat",
    { by: "hook", actions: ["subscribe"] },
  );
  now += 4999;
  assert.equal(access.refusal(ann, "subscribe", "chat"), undefined);
  now++;
  for (const action of ACTIONS) {
    for (const room of ["chat", undefined]) {
      const refusal = access.refusal(ann, action, room);
      assert.equal(refusal?.code, "unauthorized");
      assert.match(refusal?.message ?? "", /^Cannot .+ expired; .+ refresh$/);
    }
  }
  assert.ok(access.mayStay(ann, "chat"));
});
