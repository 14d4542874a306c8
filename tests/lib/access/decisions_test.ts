import assert from "node:assert/strict";
import { createDecisions } from "../../../lib/access/decisions.ts";
import {
  makePrincipal,
  type Principal,
  type RoomGrant,
  withGrant,
} from "../../../lib/access/principal.ts";
import { Revocations } from "../../../lib/access/revocations.ts";
import { type Action, Rights } from "../../../lib/access/rights.ts";

const NOW = 2_000_000;
const rights = new Rights([{ rooms: ["chat"], actions: ["subscribe"] }]);
const ANN = makePrincipal({
  kind: "client",
  by: "token",
  user: "ann",
  tokenId: "t1",
  issuedAt: 1000,
  rights,
});

function setUp() {
  const revocations = new Revocations();
  const decisions = createDecisions({
    now: () => NOW,
    revocations,
    hasTokens: true,
  });
  return { ...decisions, revocations };
}

Deno.test("a client that is revoked may do nothing any more, and not stay in its rooms", () => {
  for (
    const revocation of [
      { kind: "user", name: "ann", at: 1001 },
      { kind: "jti", name: "t1", at: 1 },
    ] as const
  ) {
    const { refusal, mayStay, isRevoked, revocations } = setUp();
    assert.equal(refusal(ANN, "subscribe", "chat"), undefined);
    assert.equal(mayStay(ANN, "chat"), true);
    assert.equal(isRevoked(ANN), false);
    revocations.add([revocation]);
    for (const room of ["chat", undefined]) {
      const error = refusal(ANN, "subscribe", room);
      assert.equal(error?.code, "unauthorized");
      assert.match(error.message, /the client's token has been revoked; get/);
    }
    assert.equal(mayStay(ANN, "chat"), false);
    assert.equal(isRevoked(ANN), true);
  }
});

Deno.test("a revocation of a user does not concern newer tokens, publish keys and clients without a token", () => {
  const { refusal, isRevoked, revocations } = setUp();
  revocations.add([{ kind: "user", name: "ann", at: 1001 }]);
  const others = [
    makePrincipal({ ...ANN, issuedAt: 1001 }),
    makePrincipal({ kind: "key", key: "ann", user: "ann", rights }),
    makePrincipal({ kind: "anonymous", user: "ann", rights }),
  ];
  for (const principal of others) {
    assert.equal(isRevoked(principal), false);
    assert.equal(refusal(principal, "subscribe", "chat"), undefined);
  }
});

Deno.test("a grant for a room ends with its own token, and with an older grant's user", () => {
  const grant: RoomGrant = {
    by: "token",
    actions: ["subscribe"],
    issuedAt: 500,
    tokenId: "r1",
  };
  const ann = withGrant(ANN, "secret", grant);
  for (
    const revocation of [
      { kind: "jti", name: "r1", at: 1 },
      { kind: "user", name: "ann", at: 900 },
    ] as const
  ) {
    const { refusal, mayStay, isRevoked, revocations } = setUp();
    assert.equal(refusal(ann, "subscribe", "secret"), undefined);
    revocations.add([revocation]);
    assert.equal(refusal(ann, "subscribe", "secret")?.code, "forbidden");
    assert.equal(mayStay(ann, "secret"), false);
    assert.equal(isRevoked(ann), false);
    assert.equal(mayStay(ann, "chat"), true);
  }
});

Deno.test("refusalEverywhere() allows only what is allowed in all rooms", () => {
  const { refusalEverywhere } = setUp();
  const key = (...rooms: string[]) =>
    makePrincipal({
      kind: "key",
      key: "web",
      rights: new Rights([{ rooms, actions: ["manage"] }]),
    });
  assert.equal(refusalEverywhere(key("*"), "manage", "revoke"), undefined);
  assert.equal(refusalEverywhere(key("a", "*"), "manage", "revoke"), undefined);
  assert.equal(
    refusalEverywhere(key("*"), "publish", "revoke")?.code,
    "forbidden",
  );
  for (const rooms of [["a"], ["a*"], ["a*", "b"], []]) {
    const refusal = refusalEverywhere(key(...rooms), "manage", "revoke");
    assert.equal(refusal?.code, "forbidden");
  }
  const anonymous = makePrincipal({ kind: "anonymous", rights });
  assert.equal(
    refusalEverywhere(anonymous, "manage", "revoke")?.code,
    "unauthorized",
  );
});

Deno.test("a refusal says what the sender can do, by how it was identified", () => {
  const { refusal } = setUp();
  const client = (by: "token" | "hook") =>
    makePrincipal({ kind: "client", by, rights });
  const request = (lacks: "Authorization" | "Bearer") =>
    makePrincipal({ kind: "anonymous", lacks, rights });
  const socket = makePrincipal({ kind: "anonymous", rights });
  const cases: [Principal, Action, RegExp][] = [
    [client("token"), "publish", /or over Socket\.IO with a token that grants/],
    [client("hook"), "publish", /grant it in "caps" of the connect hook's/],
    [client("token"), "history", /use another one, or grant it in "caps"/],
    [client("token"), "manage", /; send it over HTTP with a publish key$/],
    [client("hook"), "manage", /; send it over HTTP with a publish key$/],
    [
      makePrincipal({ kind: "key", rights }),
      "manage",
      /or grant it in PUBLISH_KEY_ROOMS$/,
    ],
    [
      socket,
      "publish",
      /has sent no token; connect with one that grants "pub"/,
    ],
    [socket, "subscribe", /^Cannot join: the client has sent no token/],
    [
      request("Authorization"),
      "publish",
      /the request has no publish key; .+ with a secret from PUBLISH_KEYS$/,
    ],
    [
      request("Authorization"),
      "history",
      /it has no credentials; .+ from PUBLISH_KEYS or a token$/,
    ],
    [request("Bearer"), "publish", /does not begin with Bearer; .+_KEYS$/],
    [request("Bearer"), "subscribe", /does not begin with Bearer; .+ a token$/],
  ];
  for (const [principal, action, message] of cases) {
    assert.match(refusal(principal, action, "other")?.message ?? "", message);
  }
});
