import assert from "node:assert/strict";
import { Revocations } from "../../../lib/access/revocations.ts";
import {
  type TokenSettings,
  TokenVerifier,
} from "../../../lib/access/tokens.ts";
import {
  type RememberedToken,
  VerifiedTokens,
} from "../../../lib/access/verified_tokens.ts";
import { refuseRevoked } from "../../../lib/access/verifier.ts";
import { ApiError } from "../../../lib/errors.ts";
import type { Observation } from "../../../lib/observer.ts";
import {
  inSeconds,
  KeyServer,
  makeSigningKey,
  makeToken,
  SECRET,
} from "../../support/tokens.ts";
import { until } from "../../support/wait.ts";

/** A verifier with clocks that tests move. Records how each token was verified. */
class Setup implements Disposable {
  readonly how: string[] = [];
  readonly fetches: string[] = [];
  /** Added to the real times, in ms. */
  ahead = 0;
  readonly tokens: TokenVerifier;

  constructor(settings: Partial<TokenSettings> = {}) {
    this.tokens = new TokenVerifier({
      secrets: [SECRET],
      jwksUrl: undefined,
      issuer: undefined,
      audience: undefined,
      ...settings,
      observe: (observation: Observation) => {
        if (observation.kind === "token_verified") {
          this.how.push(observation.how);
        }
        if (observation.kind === "token_keys_fetched") {
          this.fetches.push(observation.outcome);
        }
      },
      now: () => Date.now() + this.ahead,
      elapsed: () => performance.now() + this.ahead,
    });
  }

  /** Verifies a token. Returns `signature` or `remembered`, or the message of the error. */
  async verify(token: string): Promise<string> {
    try {
      await this.tokens.verify(token);
      return this.how.at(-1) ?? "";
    } catch (error) {
      return error instanceof ApiError ? error.message : String(error);
    }
  }

  [Symbol.dispose](): void {
    this.tokens.close();
  }
}

/** Returns a token without a seal that ends at `end`. */
function ending(end: number): RememberedToken {
  return { end, seal: undefined };
}

Deno.test("VerifiedTokens has a token until it ends, and no other", () => {
  const tokens = new VerifiedTokens({ observe: () => {} });
  assert.equal(tokens.find("a", 0), undefined);
  tokens.add("a", ending(100), tokens.generation, 0);
  assert.ok(tokens.find("a", 99));
  assert.equal(tokens.find("b", 99), undefined);
  assert.equal(tokens.find("a", 100), undefined);
  // It stays forgotten, although the clock is set back.
  assert.equal(tokens.find("a", 0), undefined);
  tokens.add("b", ending(100), tokens.generation, 100);
  assert.equal(tokens.size, 0);
});

Deno.test("VerifiedTokens forgets the token that was not used for the longest time if there are too many", () => {
  const observed: Observation[] = [];
  const tokens = new VerifiedTokens({
    max: 3,
    observe: (observation) => observed.push(observation),
  });
  for (const hash of ["a", "b", "c"]) {
    tokens.add(hash, ending(100), tokens.generation, 0);
  }
  assert.ok(tokens.find("a", 1));
  assert.deepEqual(observed, []);
  tokens.add("d", ending(100), tokens.generation, 1);
  assert.deepEqual(observed, [{ kind: "verified_token_forgotten" }]);
  const left = ["a", "b", "c", "d"].filter((hash) => tokens.find(hash, 1));
  assert.deepEqual(left, ["a", "c", "d"]);
  // Tokens that have ended make room, and are not reported.
  tokens.add("e", ending(300), tokens.generation, 200);
  assert.equal(tokens.size, 1);
  assert.equal(observed.length, 1);
});

Deno.test("VerifiedTokens ignores a token whose verification began before it was cleared", () => {
  const tokens = new VerifiedTokens({ observe: () => {} });
  const { generation } = tokens;
  tokens.add("a", ending(100), generation, 0);
  tokens.clear();
  assert.equal(tokens.find("a", 0), undefined);
  tokens.add("a", ending(100), generation, 0);
  assert.equal(tokens.find("a", 0), undefined);
});

Deno.test("verify() verifies the signature of a token once, and returns the same claims each time", async () => {
  using setup = new Setup();
  const token = await makeToken({ sub: "ann", info: { a: [1] } });
  const { claims: first } = await setup.tokens.verify(token);
  const { claims: second } = await setup.tokens.verify(token);
  assert.deepEqual(setup.how, ["signature", "remembered"]);
  assert.deepEqual(second, first);
  // Two clients do not share objects that one of them could change.
  assert.notEqual(second.info, first.info);
});

Deno.test("verify() remembers no token that was refused, and no other form of one that was accepted", async () => {
  using setup = new Setup();
  const token = await makeToken({ sub: "ann" });
  assert.equal(await setup.verify(token), "signature");
  const [header = "", claims = "", signature = ""] = token.split(".");
  const spaced = btoa(`{ "alg": "HS256" }`).replaceAll("=", "");
  const [, other] = (await makeToken({ sub: "bob" })).split(".");
  const wrong = await makeToken({ sub: "ann" }, { secret: `${SECRET}0` });
  for (
    const changed of [
      wrong,
      `${spaced}.${claims}.${signature}`,
      `${header}.${other}.${signature}`,
      `${header}.${claims}.${"A".repeat(43)}`,
    ]
  ) {
    for (let i = 0; i < 2; i++) {
      assert.match(await setup.verify(changed), /its signature does not match/);
    }
  }
  for (const changed of [`${token}=`, ` ${token}`, `${token}\n`]) {
    assert.match(await setup.verify(changed), /not a signed JSON Web Token/);
  }
  assert.equal(await setup.verify(token), "remembered");
});

Deno.test("verify() refuses a remembered token once it has expired, by the clock of each use", async () => {
  using setup = new Setup();
  const token = await makeToken({ exp: inSeconds(60) });
  assert.equal(await setup.verify(token), "signature");
  setup.ahead = 60_000;
  assert.equal(await setup.verify(token), "remembered");
  setup.ahead = 66_000;
  assert.match(await setup.verify(token), /it has expired/);
});

Deno.test("verify() refuses a remembered token whose time has not come if the clock was set back", async () => {
  using setup = new Setup();
  const early = await makeToken({ nbf: inSeconds(0) });
  const issued = await makeToken({ iat: inSeconds(0) });
  for (const token of [early, issued]) {
    assert.equal(await setup.verify(token), "signature");
  }
  setup.ahead = -62_000;
  assert.match(await setup.verify(early), /it is not valid yet/);
  assert.match(await setup.verify(issued), /it was issued in the future/);
});

Deno.test("a remembered token that is revoked is refused", async () => {
  using setup = new Setup();
  const revocations = new Revocations();
  revocations.loaded();
  const tokens = refuseRevoked(setup.tokens, revocations);
  const token = await makeToken({ sub: "ann", jti: "a", iat: inSeconds(-9) });
  await tokens.verify(token);
  await tokens.verify(token);
  revocations.add([{ kind: "user", name: "ann", at: Date.now() }]);
  await assert.rejects(tokens.verify(token), /it has been revoked/);
  assert.deepEqual(setup.how, ["signature", "remembered", "remembered"]);
});

const [old, next] = await Promise.all(
  ["old", "next"].map((kid) => makeSigningKey(kid)),
);
assert.ok(old !== undefined && next !== undefined);
/** What a token with a removed key gets, within 10 s after the key set was fetched and later. */
const REMOVED = /its key is (unknown|not in the key set)/;

Deno.test("a removed key verifies no remembered token after the key set was fetched again", async () => {
  await using server = await KeyServer.start([old.jwk, next.jwk]);
  using setup = new Setup({ secrets: [], jwksUrl: server.url });
  const token = await old.sign({ exp: inSeconds(7200) });
  assert.equal(await setup.verify(token), "signature");
  assert.equal(await setup.verify(token), "remembered");
  server.keys = [next.jwk];
  setup.ahead = 599_000;
  assert.equal(await setup.verify(token), "remembered");
  assert.equal(server.fetches, 1);
  // After ten minutes, a remembered token starts a fetch as any other does, without waiting for it.
  setup.ahead = 601_000;
  assert.equal(await setup.verify(token), "remembered");
  await until("the keys are fetched", () => setup.fetches.length === 2);
  assert.match(await setup.verify(token), REMOVED);
});

Deno.test("after twenty minutes, a remembered token waits for the key set", async () => {
  await using server = await KeyServer.start([old.jwk, next.jwk]);
  using setup = new Setup({ secrets: [], jwksUrl: server.url });
  const token = await old.sign({ exp: inSeconds(7200) });
  assert.equal(await setup.verify(token), "signature");
  server.keys = [next.jwk];
  setup.ahead = 1_201_000;
  assert.match(await setup.verify(token), REMOVED);
});

Deno.test("tokens are still remembered after a fetch that has brought the same keys", async () => {
  await using server = await KeyServer.start([old.jwk]);
  using setup = new Setup({ secrets: [], jwksUrl: server.url });
  const token = await old.sign({ exp: inSeconds(7200) });
  assert.equal(await setup.verify(token), "signature");
  setup.ahead = 1_201_000;
  assert.equal(await setup.verify(token), "remembered");
  assert.equal(server.fetches, 2);
});

Deno.test("a token that was verified with a key which is removed meanwhile is not remembered", async () => {
  await using server = await KeyServer.start([old.jwk, next.jwk]);
  using setup = new Setup({ secrets: [], jwksUrl: server.url });
  const tokens = await Promise.all(
    Array.from({ length: 200 }, (_, i) => old.sign({ jti: `${i}` })),
  );
  assert.equal(await setup.verify(tokens[0] ?? ""), "signature");
  server.keys = [next.jwk];
  setup.ahead = 601_000;
  // The fetch ends while these tokens are verified.
  const results = await Promise.all(tokens.map((token) => setup.verify(token)));
  await until("the keys are fetched", () => setup.fetches.length === 2);
  assert.ok(results.includes("signature"));
  for (const token of tokens) {
    assert.match(await setup.verify(token), REMOVED);
  }
});
