import assert from "node:assert/strict";
import type { Claims } from "../../../lib/access/claim_rooms.ts";
import { readClaims } from "../../../lib/access/claims.ts";
import { ApiError } from "../../../lib/errors.ts";

const EXP = { exp: 2_000_000_000 };

Deno.test("readClaims() reads the claims of a token", () => {
  assert.deepEqual(
    readClaims({
      ...EXP,
      sub: "ann",
      jti: "j1",
      iat: 1_900_000_000.5,
      info: { a: [1] },
      rooms: ["user.56"],
      caps: [
        { rooms: ["news.*", "chat"], allow: ["sub", "pub"] },
        { rooms: [], allow: ["history", "presence"] },
      ],
      other: {},
    }),
    {
      user: "ann",
      tokenId: "j1",
      expiresAt: 2_000_000_000_000,
      issuedAt: 1_900_000_000_500,
      info: { a: [1] },
      rooms: ["user.56"],
      grants: [
        { rooms: ["news.*", "chat"], actions: ["subscribe", "publish"] },
        { rooms: [], actions: ["history", "presence"] },
      ],
    },
  );
  assert.deepEqual(readClaims(EXP), {
    user: undefined,
    tokenId: undefined,
    expiresAt: 2_000_000_000_000,
    issuedAt: undefined,
    info: undefined,
    rooms: [],
    grants: [],
  });
});

Deno.test("readClaims() takes numbers for users and ids, as some systems write them", () => {
  const { user, tokenId } = readClaims({ ...EXP, sub: 56, jti: 0 });
  assert.deepEqual([user, tokenId], ["56", "0"]);
});

Deno.test("readClaims() refuses times in ms", () => {
  const ms = Date.now();
  for (
    const [name, claims] of [
      ["exp", { exp: ms }],
      ["exp", { exp: 1e12 }],
      ["iat", { ...EXP, iat: ms }],
    ] as const
  ) {
    assert.throws(
      () => readClaims(claims),
      new RegExp(`its claim "${name}" is in ms; it has to be in seconds; `),
    );
  }
  assert.equal(
    readClaims({ exp: 253_402_300_799 }).expiresAt,
    253_402_300_799_000,
  );
});

Deno.test("readClaims() refuses claims of another form, and names them", () => {
  const cap = { rooms: ["chat"], allow: ["sub"] };
  const wrong: [string, Claims][] = [
    ["exp", { exp: Infinity }],
    ["exp", { exp: NaN }],
    ["exp", { exp: 0 }],
    ["exp", { exp: 1e15 }],
    ["exp", { exp: undefined }],
    ...[null, "1900000000", -1, 1e15, Infinity, {}].map((
      iat,
    ): [string, Claims] => ["iat", { ...EXP, iat }]),
    ...[null, "", "x".repeat(256), "a\nb", "\ud800", 1.5, {}, ["ann"], true]
      .flatMap((value): [string, Claims][] => [
        ["sub", { ...EXP, sub: value }],
        ["jti", { ...EXP, jti: value }],
      ]),
    ["rooms", { ...EXP, rooms: "chat" }],
    ["rooms", { ...EXP, rooms: null }],
    ["rooms", { ...EXP, rooms: ["chat", 1] }],
    ["caps", { ...EXP, caps: {} }],
    ["caps", { ...EXP, caps: null }],
    ["caps", { ...EXP, caps: ["chat"] }],
    ["caps", { ...EXP, caps: [null] }],
    ["caps[].rooms", { ...EXP, caps: [{ ...cap, rooms: "chat" }] }],
    ["caps[].rooms", { ...EXP, caps: [{ ...cap, rooms: ["*.chat"] }] }],
    ["caps[].rooms", { ...EXP, caps: [{ ...cap, rooms: ["news.**"] }] }],
    ["caps[]", { ...EXP, caps: [{ ...cap, expiresAt: 1 }] }],
    ["caps[].rooms", { ...EXP, caps: [{ allow: ["sub"] }] }],
    ["caps[].allow", { ...EXP, caps: [{ ...cap, allow: "sub" }] }],
    ["caps[].allow", { ...EXP, caps: [{ ...cap, allow: ["subscribe"] }] }],
    ["caps[].allow", { ...EXP, caps: [{ ...cap, allow: ["manage"] }] }],
    ["caps[].allow", { ...EXP, caps: [{ ...cap, allow: ["__proto__"] }] }],
    ["caps[].allow", { ...EXP, caps: [{ ...cap, allow: ["*"] }] }],
  ];
  for (const [name, claims] of wrong) {
    assert.throws(
      () => readClaims(claims),
      (error) =>
        error instanceof ApiError && error.code === "unauthorized" &&
        error.message.includes(`its claim "${name}"`),
      JSON.stringify(claims),
    );
  }
});
