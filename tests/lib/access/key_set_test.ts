import assert from "node:assert/strict";
import { KeySet } from "../../../lib/access/key_set.ts";
import { TokenVerifier } from "../../../lib/access/tokens.ts";
import { ApiError } from "../../../lib/errors.ts";
import type { Observation } from "../../../lib/observer.ts";
import { KeyServer, makeSigningKey } from "../../support/tokens.ts";
import { until } from "../../support/wait.ts";

/** A verifier of the tokens of one server, with a clock that tests move. */
class Setup implements Disposable {
  readonly observed: Observation[] = [];
  /** The outcomes of the fetches. */
  readonly outcomes: string[] = [];
  /** Added to the real time, in ms. */
  ahead = 0;
  /** How far the clock of the machine was set back, in ms. */
  setBack = 0;
  readonly tokens: TokenVerifier;

  constructor(server: KeyServer) {
    this.tokens = new TokenVerifier({
      secrets: [],
      jwksUrl: server.url,
      issuer: undefined,
      audience: undefined,
      observe: (observation) => {
        if (observation.kind === "token_keys_fetched") {
          this.outcomes.push(observation.outcome);
        } else if (observation.kind !== "token_verified") {
          this.observed.push(observation);
        }
      },
      now: () => Date.now() + this.ahead - this.setBack,
      elapsed: () => performance.now() + this.ahead,
    });
  }

  /** Verifies a token. Returns `ok` or the code of the error. */
  async verify(token: string): Promise<string> {
    try {
      await this.tokens.verify(token);
      return "ok";
    } catch (error) {
      return error instanceof ApiError ? error.code : String(error);
    }
  }

  get kinds(): readonly string[] {
    return this.observed.map(({ kind }) => kind);
  }

  [Symbol.dispose](): void {
    this.tokens.close();
  }
}

const [old, next, third] = await Promise.all(
  ["old", "next", "third"].map((kid) => makeSigningKey(kid)),
);
assert.ok(old !== undefined && next !== undefined && third !== undefined);

Deno.test("one fetch serves all tokens", async () => {
  await using server = await KeyServer.start([old.jwk]);
  using setup = new Setup(server);
  const token = await old.sign();
  const results = await Promise.all(
    Array.from({ length: 50 }, () => setup.verify(token)),
  );
  assert.deepEqual(new Set(results), new Set(["ok"]));
  assert.equal(await setup.verify(token), "ok");
  assert.equal(server.fetches, 1);
});

Deno.test("a new key is fetched for the first token that names it, while others are verified", async () => {
  await using server = await KeyServer.start([old.jwk]);
  using setup = new Setup(server);
  assert.equal(await setup.verify(await old.sign()), "ok");
  server.keys = [old.jwk, next.jwk];
  const [before, after] = [await old.sign(), await next.sign()];
  const results = await Promise.all(
    Array.from({ length: 200 }, (_, i) => setup.verify(i % 2 ? before : after)),
  );
  assert.deepEqual(new Set(results), new Set(["ok"]));
  assert.equal(server.fetches, 2);
});

Deno.test("unknown keys cause at most one fetch in 10 s, and no valid token is refused meanwhile", async () => {
  await using server = await KeyServer.start([old.jwk]);
  using setup = new Setup(server);
  assert.equal(await setup.verify(await old.sign()), "ok");
  let refused = 0;
  for (let second = 0; second <= 40; second++) {
    for (let i = 0; i < 5; i++) {
      const kid = `unknown-${second}-${i}`;
      const result = await setup.verify(await old.sign({}, { kid }));
      assert.match(result, /^(unauthorized|token_keys_unavailable)$/);
      if (result === "unauthorized") refused++;
    }
    assert.equal(await setup.verify(await old.sign()), "ok");
    setup.ahead += 1000;
  }
  // One for the known key, and then at 0, 10, 20, 30 and 40 s.
  assert.equal(server.fetches, 6);
  assert.equal(refused, 5);
  // A key that is new within the 10 s is neither accepted nor refused until the next fetch.
  server.keys = [old.jwk, third.jwk];
  const token = await third.sign();
  assert.equal(await setup.verify(token), "token_keys_unavailable");
  setup.ahead += 10_000;
  assert.equal(await setup.verify(token), "ok");
  assert.equal(server.fetches, 7);
});

Deno.test("a key that was looked for in vain is refused without another fetch for 10 s", async () => {
  await using server = await KeyServer.start([old.jwk]);
  using setup = new Setup(server);
  const token = await next.sign();
  for (let i = 0; i < 5; i++) {
    assert.equal(await setup.verify(token), "unauthorized");
  }
  assert.ok(server.fetches <= 2, String(server.fetches));
});

Deno.test("a long name of a key is refused without a fetch", async () => {
  await using server = await KeyServer.start([old.jwk]);
  using setup = new Setup(server);
  assert.equal(await setup.verify(await old.sign()), "ok");
  const kid = "x".repeat(300);
  assert.equal(await setup.verify(await old.sign({}, { kid })), "unauthorized");
  assert.equal(server.fetches, 1);
});

Deno.test("known keys stay valid while the server is away, and others are an outage until it is back", async () => {
  await using server = await KeyServer.start([old.jwk]);
  using setup = new Setup(server);
  const [known, unknown] = [await old.sign({ exp: 1e10 }), await next.sign()];
  assert.equal(await setup.verify(known), "ok");
  server.respond = (response) => response.writeHead(503).end();
  for (const hours of [0, 1, 24]) {
    setup.ahead = hours * 3_600_000;
    assert.equal(await setup.verify(known), "ok", `${hours} h`);
  }
  await until(
    "the outage is reported",
    () => setup.kinds.includes("token_keys_unreachable"),
  );
  setup.ahead = 20_000;
  assert.equal(await setup.verify(unknown), "token_keys_unavailable");
  server.respond = undefined;
  server.keys = [old.jwk, next.jwk];
  setup.ahead = 25 * 3_600_000;
  assert.equal(await setup.verify(await next.sign({ exp: 1e10 })), "ok");
  assert.deepEqual(setup.kinds, [
    "token_keys_unreachable",
    "token_keys_recovered",
  ]);
  const { outcomes } = setup;
  assert.deepEqual([outcomes[0], outcomes.at(-1)], ["ok", "ok"]);
  assert.equal(new Set(outcomes.slice(1, -1)).has("ok"), false);
  assert.equal(outcomes.length, server.fetches);
});

Deno.test("without any key, tokens are an outage, and the server is asked once a second", async () => {
  await using server = await KeyServer.start([old.jwk]);
  server.respond = (response) => response.writeHead(500).end();
  using setup = new Setup(server);
  const token = await old.sign();
  for (let i = 0; i < 20; i++) {
    assert.equal(await setup.verify(token), "token_keys_unavailable");
  }
  const asked = server.fetches;
  assert.ok(asked <= 2, String(asked));
  server.respond = undefined;
  setup.ahead = 1000;
  assert.equal(await setup.verify(token), "ok");
  assert.equal(server.fetches, asked + 1);
});

Deno.test("a withdrawn key is refused after ten minutes", async () => {
  await using server = await KeyServer.start([old.jwk, next.jwk]);
  using setup = new Setup(server);
  const token = await old.sign();
  assert.equal(await setup.verify(token), "ok");
  server.keys = [next.jwk];
  setup.ahead = 599_000;
  assert.equal(await setup.verify(token), "ok");
  setup.ahead = 600_000;
  await setup.verify(token);
  await until(
    "the key is withdrawn",
    async () => await setup.verify(token) !== "ok",
  );
  setup.ahead = 611_000;
  assert.equal(await setup.verify(token), "unauthorized");
});

Deno.test("a withdrawn key is refused at once if no token has come for long", async () => {
  await using server = await KeyServer.start([old.jwk, next.jwk]);
  using setup = new Setup(server);
  const [withdrawn, valid] = [
    await old.sign({ exp: 1e10 }),
    await next.sign({ exp: 1e10 }),
  ];
  assert.equal(await setup.verify(withdrawn), "ok");
  server.keys = [next.jwk];
  setup.ahead = 3 * 3_600_000;
  assert.deepEqual(
    await Promise.all(
      [withdrawn, valid, withdrawn].map((token) => setup.verify(token)),
    ),
    ["unauthorized", "ok", "unauthorized"],
  );
  assert.equal(server.fetches, 2);
});

Deno.test("KeySet reports an outage, without the query of the URL, if the response is too large, a redirect, broken off or without usable keys", async () => {
  await using server = await KeyServer.start([old.jwk]);
  const cases: [string, NonNullable<KeyServer["respond"]>, RegExp][] = [
    ["endless", (response) => {
      const write = (): void => {
        while (response.write("x".repeat(65_536)));
        if (!response.destroyed) response.once("drain", write);
      };
      write();
    }, /more than 262144 bytes/],
    ["html", (response) => response.end("\n<html>"), /is a page \(HTML\)/],
    ["text", (response) => response.end("hello"), /^the response is not JSON$/],
    ["list", (response) => response.end("[]"), /no list "keys"$/],
    ["keys", (response) => response.end('{"keys":{}}'), /no list "keys"$/],
    ["null", (response) => response.end("null"), /no list "keys"$/],
    ["items", (response) => response.end('{"keys":[1]}'), /not an object$/],
    [
      "empty",
      (response) => response.end('{"keys":[]}'),
      /no key that verifies/,
    ],
    [
      "encryption",
      (response) =>
        response.end(JSON.stringify({ keys: [{ ...old.jwk, use: "enc" }] })),
      /no key that verifies/,
    ],
    [
      "discovery",
      (response) => response.end('{"jwks_uri":"https://id.example/secret"}'),
      /; set TOKEN_JWKS_URL to its jwks_uri$/,
    ],
    [
      "redirect",
      (response) => response.writeHead(302, { location: server.url }).end(),
      /status 302/,
    ],
    ["cut off", (response) => response.destroy(), /error sending request/],
  ];
  const token = await old.sign();
  for (const [name, respond, why] of cases) {
    server.respond = respond;
    using setup = new Setup(server);
    assert.equal(await setup.verify(token), "token_keys_unavailable", name);
    const [seen] = setup.observed;
    assert.ok(seen?.kind === "token_keys_unreachable", name);
    assert.match(seen.why, why, name);
    assert.equal(`${seen.url}?secret=hunter2`, server.url);
    assert.doesNotMatch(seen.why, /hunter2|id\.example/);
  }
});

Deno.test("an empty key set withdraws the known keys, and tokens are refused only for as long as it is empty", async () => {
  await using server = await KeyServer.start([old.jwk]);
  using setup = new Setup(server);
  const known = await old.sign({ exp: 1e10 });
  const other = await next.sign({ exp: 1e10 });
  assert.equal(await setup.verify(known), "ok");
  server.keys = [];
  setup.ahead = 3 * 3_600_000;
  for (const token of [known, other, known]) {
    assert.equal(await setup.verify(token), "token_keys_unavailable");
  }
  assert.deepEqual(setup.kinds, ["token_keys_unreachable"]);
  server.keys = [old.jwk];
  setup.ahead += 10_000;
  assert.equal(await setup.verify(known), "ok");
  assert.equal(await setup.verify(other), "unauthorized");
  assert.equal(setup.kinds.at(-1), "token_keys_recovered");
});

Deno.test("keys that cannot be read do not concern the others", async () => {
  const broken = { kty: "EC", crv: "P-256", x: "AA", y: "!", kid: "broken" };
  const secret = { kty: "oct", k: "AAAA", kid: "secret" };
  await using server = await KeyServer.start([broken, secret, old.jwk]);
  using setup = new Setup(server);
  assert.equal(await setup.verify(await old.sign()), "ok");
  for (const kid of ["broken", "secret"]) {
    setup.ahead += 10_000;
    assert.equal(
      await setup.verify(await old.sign({}, { kid })),
      "unauthorized",
    );
  }
});

Deno.test("a token that does not name its key is verified with each key that fits", async () => {
  await using server = await KeyServer.start([old.jwk, next.jwk]);
  using setup = new Setup(server);
  const kid = undefined;
  assert.equal(await setup.verify(await next.sign({}, { kid })), "ok");
  assert.equal(
    await setup.verify(await third.sign({}, { kid })),
    "unauthorized",
  );
});

Deno.test("close() ends a fetch in flight", async () => {
  await using server = await KeyServer.start([old.jwk]);
  server.respond = () => {};
  const observed: Observation[] = [];
  const keys = new KeySet({
    url: server.url,
    jose: import("jose"),
    observe: (observation) => void observed.push(observation),
    now: Date.now,
  });
  keys.warm();
  await until("the fetch has begun", () => server.fetches === 1);
  const found = keys.find({ alg: "ES256", kid: "old" });
  keys.close();
  await assert.rejects(found, ApiError);
  assert.deepEqual(observed, []);
});

Deno.test("keys are fetched again although the clock of the machine was set back", async () => {
  await using server = await KeyServer.start([old.jwk]);
  using setup = new Setup(server);
  assert.equal(await setup.verify(await old.sign()), "ok");
  server.keys = [next.jwk];
  setup.setBack = 6 * 3_600_000;
  assert.equal(await setup.verify(await next.sign()), "ok");
  server.keys = [third.jwk];
  setup.ahead = 10_000;
  assert.equal(await setup.verify(await third.sign()), "ok");
});
