import assert from "node:assert/strict";
import { TestApp } from "../support/app.ts";
import { inSeconds, makeToken, SECRET } from "../support/tokens.ts";

const KEY = { authorization: "Bearer correct-horse" };
const SETTINGS = {
  PUBLISH_KEYS: "web:correct-horse,news:battery-staple",
  PUBLISH_KEY_ROOMS: "news=news.*",
  TOKEN_SECRET: SECRET,
};
const CAPS = {
  caps: [{ rooms: ["*"], allow: ["sub", "pub", "history", "presence"] }],
};

Deno.test("POST /revoke responds with what is in force, and tokens that are revoked are 401", async () => {
  await using app = new TestApp(SETTINGS);
  const iat = inSeconds(-100);
  const tokens: Record<string, string> = {
    ann: await makeToken({ sub: "ann", iat, ...CAPS }),
    bob: await makeToken({ sub: "bob", iat, jti: "b1", ...CAPS }),
    bob2: await makeToken({ sub: "bob", iat, jti: "b2", ...CAPS }),
    undated: await makeToken({ sub: "eve", ...CAPS }),
  };
  const accepted = async (): Promise<string> => {
    const names: string[] = [];
    for (const [name, token] of Object.entries(tokens)) {
      const { status, body } = await app.request("/rooms/chat/history", {
        headers: { authorization: `Bearer ${token}` },
      });
      if (status === 200) names.push(name);
      else {
        assert.deepEqual(body.error, {
          code: "unauthorized",
          message:
            "Cannot accept the token: it has been revoked; get a new one",
        });
      }
    }
    return names.join();
  };
  const revoke = async (request: unknown): Promise<unknown> => {
    const { status, body, text } = await app.post("/revoke", request, KEY);
    assert.equal(status, 200, text);
    return body;
  };
  assert.equal(await accepted(), "ann,bob,bob2,undated");
  const issuedBefore = iat * 1000;
  assert.deepEqual(await revoke({ user: "ann", issuedBefore }), {
    user: "ann",
    issuedBefore,
  });
  assert.equal(await accepted(), "ann,bob,bob2,undated");
  const before = Date.now();
  const { issuedBefore: now } = await revoke({ user: "ann" }) as {
    issuedBefore: number;
  };
  assert.ok(now >= before && now <= Date.now(), String(now));
  assert.equal(await accepted(), "bob,bob2,undated");
  assert.deepEqual(await revoke({ user: "ann", issuedBefore }), {
    user: "ann",
    issuedBefore: now,
  });
  assert.equal(await accepted(), "bob,bob2,undated");
  assert.deepEqual(await revoke({ jti: "b1" }), { jti: "b1" });
  assert.equal(await accepted(), "bob2,undated");
  await revoke({ user: "eve", issuedBefore: iat * 1000 });
  assert.equal(await accepted(), "bob2");
  tokens.ann = await makeToken({ sub: "ann", iat: inSeconds(1), ...CAPS });
  assert.equal(await accepted(), "ann,bob2");
  assert.deepEqual(
    app.observations.filter(({ kind }) => kind === "revoked").slice(0, 1),
    [{ kind: "revoked", by: "user", key: "web" }],
  );
});

Deno.test("POST /revoke needs a key that may manage every room", async () => {
  await using app = new TestApp(SETTINGS);
  const token = `Bearer ${await makeToken({ sub: "ann", ...CAPS })}`;
  for (
    const [authorization, status, code, message] of [
      [
        "Bearer battery-staple",
        403,
        "forbidden",
        /^Cannot revoke: this needs a publish key for all rooms, and PUBLISH_KEY_ROOMS limits this one; use a key that it does not limit$/,
      ],
      [token, 403, "forbidden", /; send it over HTTP with a publish key$/],
      ["Bearer wrong", 401, "unauthorized", /./],
      [undefined, 401, "unauthorized", /./],
    ] as const
  ) {
    const headers = authorization === undefined ? {} : { authorization };
    const reply = await app.post("/revoke", { user: "ann" }, headers);
    assert.deepEqual([reply.status, reply.body.error.code], [status, code]);
    assert.match(reply.body.error.message, message);
  }
  const { status } = await app.request("/rooms/chat/history", {
    headers: { authorization: token },
  });
  assert.equal(status, 200, "nothing was revoked");
});

Deno.test("POST /revoke refuses a body that is not as it has to be, and revokes nothing", async () => {
  await using app = new TestApp(SETTINGS);
  const year = 365 * 86_400_000;
  const cases: readonly (readonly [unknown, string, RegExp])[] = [
    [{}, "invalid_parameter", /neither "user" nor "jti"/],
    [{ user: "a", jti: "b" }, "invalid_parameter", /both "user" and "jti"/],
    [{ jti: "b", issuedBefore: 1 }, "invalid_parameter", /only with "user"/],
    [{ user: null }, "invalid_parameter", /"user" is not a text/],
    [{ user: "" }, "invalid_parameter", /"user" is not a text/],
    [{ user: "x".repeat(256) }, "invalid_parameter", /"user" is not a text/],
    [{ user: ["a"] }, "invalid_parameter", /"user" is not a text/],
    [{ jti: true }, "invalid_parameter", /"jti" is not a text/],
    [{ user: "a", issuedBefore: null }, "invalid_parameter", /whole number/],
    [{ user: "a", issuedBefore: "1" }, "invalid_parameter", /whole number/],
    [{ user: "a", issuedBefore: 1.5 }, "invalid_parameter", /whole number/],
    [
      { user: "a", issuedBefore: inSeconds(0) },
      "invalid_parameter",
      /more than 400 days ago; send a time in ms since 1970/,
    ],
    [
      { user: "a", issuedBefore: Date.now() + year },
      "invalid_parameter",
      /in the future/,
    ],
    [{ users: "a" }, "unknown_field", /Cannot revoke.*did you mean "user"\?/],
    [{ sub: "a" }, "unknown_field", /did you mean "user"\?/],
    [{ user: "a", issued_before: 1 }, "unknown_field", /"issuedBefore"\?/],
    [[], "malformed_body", /Cannot revoke: the JSON is not an object; send/],
    ["a", "malformed_body", /not an object/],
    [{ user: "a", x: "x".repeat(5000) }, "body_too_large", /4096 bytes/],
  ];
  for (const [request, code, message] of cases) {
    const { body } = await app.post("/revoke", request, KEY);
    assert.equal(body.error?.code, code, JSON.stringify(request));
    assert.match(body.error.message, message);
  }
  for (
    const [init, code] of [
      [{ body: "" }, "malformed_body"],
      [{ body: "{" }, "malformed_body"],
      [
        { body: "user=a", type: "application/x-www-form-urlencoded" },
        "unsupported_content_type",
      ],
    ] as const
  ) {
    const { body } = await app.request("/revoke", {
      method: "POST",
      body: init.body,
      headers: {
        ...KEY,
        "content-type": "type" in init ? init.type : "application/json",
      },
    });
    assert.equal(body.error?.code, code);
  }
  const url = await app.request("/revoke?user=a", {
    method: "POST",
    headers: KEY,
  });
  assert.equal(url.body.error.code, "unknown_field");
  assert.deepEqual(
    app.observations.filter(({ kind }) => kind === "revoked"),
    [],
  );
});

Deno.test("POST /revoke takes a number for a user, as tokens may have it", async () => {
  await using app = new TestApp(SETTINGS);
  const { body } = await app.post("/revoke", { user: 42 }, KEY);
  assert.equal(body.user, "42");
});

Deno.test("a body that cannot be read gets an error that says what its Content-Type is", async () => {
  await using app = new TestApp();
  for (
    const [type, state] of [
      [
        "application/x-www-form-urlencoded",
        "is that of a form, which is not supported here",
      ],
      ["", "is missing"],
      ["text/plain", "is not supported here"],
    ] as const
  ) {
    const { status, body } = await app.request("/revoke", {
      method: "POST",
      headers: { "content-type": type },
      body: "user=ann",
    });
    assert.equal(status, 415, type);
    assert.equal(
      body.error.message,
      `Cannot read the body: its Content-Type ${state}; set it to application/json`,
    );
  }
});
