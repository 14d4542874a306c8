import assert from "node:assert/strict";
import {
  type Claims,
  grantsOfClaims,
  misfitsOf,
  parseTemplate,
} from "../../../lib/access/claim_rooms.ts";
import { Rights } from "../../../lib/access/rights.ts";

/** The rooms and patterns that one template grants to a token with these claims. */
function rooms(template: string, claims: Claims): readonly string[] {
  return grantsOfClaims([parseTemplate(template)], claims)
    .flatMap((grant) => grant.rooms);
}

Deno.test("a template puts claims into the name of a room or a pattern", () => {
  const claims = {
    sub: "ann",
    number: 42,
    auth0: "auth0|5f7c",
    org_id: 7,
    "https://a.example/team": "blue",
  };
  for (
    const [template, room] of [
      ["user.{sub}=sub", "user.ann"],
      ["id.{number}=sub", "id.42"],
      ["user.{auth0}=sub", "user.auth0|5f7c"],
      ["org.{org_id}.*=sub", "org.7.*"],
      ["org.{org_id}.user.{sub}=sub", "org.7.user.ann"],
      ["{sub}=sub", "ann"],
      ["{sub}.inbox=sub", "ann.inbox"],
      ["@{ sub } = sub", "@ann"],
      ["team.{https://a.example/team}=sub", "team.blue"],
      ["news.*=sub", "news.*"],
      ["a=b=sub", "a=b"],
    ] as const
  ) assert.deepEqual(rooms(template, claims), [room], template);
});

Deno.test("a template grants exactly the actions after the equals sign", () => {
  assert.deepEqual(
    parseTemplate("user.{sub} = sub + pub+history+presence").actions,
    ["subscribe", "publish", "history", "presence"],
  );
  assert.deepEqual(parseTemplate("user.{sub}=sub").actions, ["subscribe"]);
});

Deno.test("misfitsOf() names the claim and the character because of which a template grants nothing", () => {
  const templates = ["user.{sub}=sub", "team-{team}-{sub}=sub", "news.*=sub"]
    .map(parseTemplate);
  for (
    const [sub, character] of [
      ["ann@example.com", "."],
      ["f:1234:ann", ":"],
      ["ann/x", "/"],
      ["ann-b", "-"],
      ["*", "*"],
    ] as const
  ) {
    assert.equal(grantsOfClaims(templates, { sub, team: "t" }).length, 1);
    assert.deepEqual(misfitsOf(templates, { sub, team: "t" }), [
      { start: "user.", claim: "sub", character },
      { start: "team-", claim: "sub", character },
    ]);
  }
  for (const claims of [{ sub: "auth0|5f7c", team: "t" }, { sub: 7 }, {}]) {
    assert.deepEqual(misfitsOf(templates, claims), []);
  }
});

Deno.test("a template finds a claim by its path in nested objects", () => {
  const claims = {
    app_metadata: { org: { id: "acme" } },
    firebase: { tenant: "t1" },
    list: [{ id: "x" }],
    "o.id": "whole",
    o: { id: "nested" },
  };
  assert.deepEqual(rooms("o.{app_metadata.org.id}=sub", claims), ["o.acme"]);
  assert.deepEqual(rooms("t.{firebase.tenant}=sub", claims), ["t.t1"]);
  assert.deepEqual(
    rooms("x.{o.id}=sub", claims),
    ["x.whole"],
    "a claim with the whole name comes first",
  );
  for (const path of ["list.0.id", "list.length", "firebase", "firebase.x"]) {
    assert.deepEqual(rooms(`x.{${path}}=sub`, claims), [], path);
  }
});

Deno.test("a claim that is missing, empty or no text or integer grants nothing", () => {
  for (
    const sub of [
      undefined,
      null,
      "",
      true,
      1.5,
      NaN,
      Infinity,
      1e21,
      [],
      ["ann"],
      {},
      { toString: () => "ann" },
      "x".repeat(256),
    ]
  ) assert.deepEqual(rooms("user.{sub}=sub", { sub }), [], String(sub));
  assert.deepEqual(rooms("user.{sub}=sub", {}), []);
});

Deno.test("a claim's value never matches more than one piece of the name", () => {
  for (
    const org of [
      "*",
      "a*",
      "acme.board",
      "ann@example.com",
      "f:1:ann",
      ".",
      "..",
      "acme.",
      ".acme",
      "acme:board",
      "acme/board",
      "a\u0000b",
      "a\nb",
      "a\u009fb",
    ]
  ) {
    assert.deepEqual(rooms("org.{org}.*=sub", { org }), [], org);
    assert.deepEqual(rooms("org.{org}=sub", { org }), [], org);
  }
  for (const org of ["acme-board", "-"]) {
    assert.deepEqual(rooms("org-{org}-*=sub", { org }), [], org);
    assert.deepEqual(rooms("org.{org}=sub", { org }), [`org.${org}`]);
  }
});

Deno.test("a claim's value contains no character that follows a claim in another template", () => {
  const templates = ["team-{team}=sub", "team-{org}-board=sub", "x.{sub}~=sub"]
    .map(parseTemplate);
  const granted = (claims: Claims) =>
    grantsOfClaims(templates, claims).flatMap(({ rooms }) => rooms);
  assert.deepEqual(granted({ team: "acme-board" }), []);
  assert.deepEqual(granted({ team: "a~b" }), []);
  assert.deepEqual(granted({ team: "blue" }), ["team-blue"]);
  assert.deepEqual(granted({ org: "acme" }), ["team-acme-board"]);
  assert.deepEqual(
    granted({ team: "blue", org: "a-b", sub: "ann" }),
    ["team-blue", "x.ann~"],
  );
  // Without the other templates, the value is not ambiguous.
  assert.deepEqual(rooms("team-{team}=sub", { team: "a-b" }), ["team-a-b"]);
});

Deno.test("a template takes claims only from the token itself", () => {
  for (const name of ["__proto__", "constructor", "toString", "a.__proto__"]) {
    assert.deepEqual(rooms(`x.{${name}}=sub`, { a: {} }), [], name);
  }
  Object.defineProperty(Object.prototype, "polluted", {
    value: "ann",
    configurable: true,
  });
  try {
    assert.deepEqual(rooms("x.{polluted}=sub", {}), []);
    assert.deepEqual(rooms("x.{a.polluted}=sub", { a: {} }), []);
  } finally {
    delete (Object.prototype as unknown as Record<string, unknown>).polluted;
  }
  const claims = JSON.parse('{"__proto__":"ann","constructor":"c"}');
  assert.deepEqual(rooms("x.{__proto__}=sub", claims), ["x.ann"]);
  assert.deepEqual(rooms("x.{constructor}=sub", claims), ["x.c"]);
});

Deno.test("a user with any name gets its own room and no other", () => {
  const template = [parseTemplate("user.{sub}=sub+pub")];
  for (const sub of ["__proto__", "auth0|5f7c", "ann@host", "ünï", "a{b}"]) {
    const rights = new Rights(grantsOfClaims(template, { sub }));
    assert.ok(rights.allow("publish", `user.${sub}`), sub);
    assert.ok(!rights.allow("subscribe", "user.bob"));
    assert.ok(!rights.allow("subscribe", "user."));
    assert.ok(!rights.allow("subscribe", `user.${sub}x`));
  }
});

Deno.test("parseTemplate() refuses a template that is not valid and says why", () => {
  for (
    const [template, why] of [
      ["user.{sub}", /has no =/],
      ["=sub", /has no =/],
      ["", /has no =/],
      ["user.{sub}=", /grants ""/],
      ["user.{sub}=read", /grants "read"/],
      ["user.{sub}=sub,pub", /grants "sub,pub"/],
      ["user.{sub}=manage", /grants "manage"/],
      ["user.{sub}=constructor", /grants "constructor"/],
      ["user.{sub=sub", /without the name of a claim/],
      ["user.{}=sub", /without the name of a claim/],
      ["user.sub}=sub", /a } without/],
      ["*.{sub}=sub", /not at the end/],
      ["user.{sub}.**=sub", /not at the end/],
      ["org.{org}*=sub", /no separator after {org}/],
      ["org.{org}{team}=sub", /no separator after {org}/],
      ["org.{org}x=sub", /no separator after {org}/],
      ["org.{org}9.*=sub", /no separator after {org}/],
    ] as const
  ) {
    assert.throws(
      () => parseTemplate(template),
      (error) => error instanceof TypeError && why.test(error.message),
      template,
    );
  }
});
