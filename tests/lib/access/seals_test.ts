import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import type { JWTPayload } from "jose";
import { Revocations } from "../../../lib/access/revocations.ts";
import { isSameSeal, Seals } from "../../../lib/access/seals.ts";
import {
  type TokenSettings,
  TokenVerifier,
} from "../../../lib/access/tokens.ts";
import { hashToken } from "../../../lib/access/verified_tokens.ts";
import { refuseRevoked } from "../../../lib/access/verifier.ts";
import { ApiError } from "../../../lib/errors.ts";
import type { Observation } from "../../../lib/observer.ts";
import {
  forgeToken,
  inSeconds,
  KeyServer,
  makeSigningKey,
  makeToken,
  SECRET,
  type SigningKey,
} from "../../support/tokens.ts";
import { until } from "../../support/wait.ts";

const SECRETS = ["web-key", SECRET];
const [key, other] = await Promise.all(
  ["key", "other"].map((kid) => makeSigningKey(kid)),
);
assert.ok(key !== undefined && other !== undefined);

/** The verifier of one node, with clocks that tests move. */
class Verifier implements Disposable {
  readonly how: string[] = [];
  fetches = 0;
  /** Number of seals that were read. */
  reads = 0;
  /** Added to the real times, in ms. */
  ahead = 0;
  readonly tokens: TokenVerifier;

  constructor(
    jwksUrl: string,
    settings: Partial<TokenSettings> & { readonly seals?: Seals | undefined } =
      {},
  ) {
    this.tokens = new TokenVerifier({
      secrets: [],
      jwksUrl,
      issuer: undefined,
      audience: undefined,
      seals: Seals.from(SECRETS),
      ...settings,
      observe: (observation: Observation) => {
        if (observation.kind === "token_verified") {
          this.how.push(observation.how);
        }
        if (observation.kind === "token_keys_fetched") this.fetches++;
      },
      now: () => Date.now() + this.ahead,
      elapsed: () => performance.now() + this.ahead,
    });
  }

  /**
   * Verifies the token of a client whose session has this seal. Returns `signature`, `sealed` or `remembered`, or the
   * message of the error.
   */
  async verify(token: string, seal?: string): Promise<string> {
    try {
      await this.tokens.verify(token, () => {
        this.reads++;
        return Promise.resolve(seal);
      });
      return this.how.at(-1) ?? "";
    } catch (error) {
      return error instanceof ApiError ? error.message : String(error);
    }
  }

  [Symbol.dispose](): void {
    this.tokens.close();
  }
}

/** Returns the seal that a node makes for a token which it has verified. */
async function sealOf(token: string, { url }: KeyServer): Promise<string> {
  using node = new Verifier(url);
  const { seal } = await node.tokens.verify(token);
  assert.ok(seal !== undefined);
  return seal;
}

/** Makes a token that names a key, with a signature that the key has not made. */
function unsigned({ jwk }: SigningKey, claims: JWTPayload = {}): string {
  const header = { alg: "ES256", kid: jwk.kid };
  const all = { sub: "root", exp: inSeconds(3600), ...claims };
  return forgeToken(header, all, "A".repeat(86));
}

Deno.test("a node does not verify the signature of a token with a seal of another node, whatever the algorithm", async () => {
  const algs = ["RS256", "RS512", "PS256", "ES256", "ES384", "ES512"];
  const keys = await Promise.all(
    [...algs, "EdDSA", "Ed25519"].map((alg) => makeSigningKey(alg, alg)),
  );
  await using server = await KeyServer.start(keys.map(({ jwk }) => jwk));
  using first = new Verifier(server.url);
  using second = new Verifier(server.url);
  for (const { jwk, sign } of keys) {
    const token = await sign({ sub: "ann", info: { a: 1 } });
    const verified = await first.tokens.verify(token);
    const { seal } = verified;
    assert.match(seal ?? "", /^[\w-]{22}$/, `${jwk.alg}`);
    const sealed = await second.tokens.verify(
      token,
      () => Promise.resolve(seal),
    );
    // The session of the client keeps the same seal.
    assert.deepEqual(sealed, verified);
    assert.deepEqual(await second.tokens.verify(token), verified);
    assert.deepEqual(first.how.splice(0), ["signature"]);
    assert.deepEqual(second.how.splice(0), ["sealed", "remembered"]);
  }
});

Deno.test("a seal counts for a token that does not name its key, among several keys", async () => {
  const keys = [other, key].map(({ jwk: { kid: _, ...jwk } }) => jwk);
  await using server = await KeyServer.start(keys);
  const token = await key.sign({}, { kid: undefined });
  const seal = await sealOf(token, server);
  using node = new Verifier(server.url);
  assert.equal(await node.verify(token, seal), "sealed");
});

Deno.test("a seal of another token, of another key or of other secrets, and a false one, do not count", async () => {
  await using server = await KeyServer.start([key.jwk, other.jwk]);
  const token = await key.sign({ sub: "ann" });
  const seal = await sealOf(token, server);
  const hash = hashToken(unsigned(key));
  const jose = await import("jose");
  const thumbprint = await jose.calculateJwkThumbprint(key.jwk);
  const macOf = (secret: string) =>
    createHmac("sha256", secret).update(`${thumbprint}.${hash}`).digest(
      "base64url",
    );
  const otherSecrets = Seals.from([...SECRETS, "x"]);
  using foreign = new Verifier(server.url, { seals: otherSecrets });
  const { seal: ofOthers } = await foreign.tokens.verify(token);
  const forged: readonly (string | undefined)[] = [
    ...[seal, await sealOf(await other.sign({ sub: "ann" }), server)],
    ...[await sealOf(await key.sign({ sub: "bob" }), server), ofOthers],
    ...["", "A".repeat(22), "undefined", "true", hash, thumbprint, undefined],
    ...[...SECRETS, ""].map(macOf),
    ...[...SECRETS, ""].map((secret) => macOf(secret).slice(0, 22)),
  ];
  for (const seal of forged) {
    using node = new Verifier(server.url);
    const refused = await node.verify(unsigned(key), seal);
    assert.match(refused, /its signature does not match/, `${seal}`);
    assert.deepEqual(node.how, []);
  }
  // A token that is valid is verified then, as it would be without a seal.
  const changed = [
    ...forged.slice(1),
    ...[seal.slice(1), seal.slice(0, -1), `${seal}A`, ` ${seal}`],
    ...[seal.toLowerCase(), `${seal}==`, `${seal}\u0000`, "\ud800"],
  ];
  for (const seal of changed) {
    using node = new Verifier(server.url);
    assert.equal(await node.verify(token, seal), "signature", `${seal}`);
  }
});

Deno.test("a seal does not count after its key was removed, or replaced by another one of the same name", async () => {
  await using server = await KeyServer.start([key.jwk]);
  const token = await key.sign({ exp: inSeconds(7200) });
  const seal = await sealOf(token, server);
  const { kid = "" } = key.jwk;
  for (const keys of [[other.jwk], [{ ...other.jwk, kid }]]) {
    server.keys = [key.jwk];
    using running = new Verifier(server.url);
    assert.equal(await running.verify(token, seal), "sealed");
    server.keys = keys;
    using started = new Verifier(server.url);
    const refused = /not in the key set|signature does not match/;
    assert.match(await started.verify(token, seal), refused);
    // A node that has the old keys learns of it by the next fetch, as without seals.
    running.ahead = 601_000;
    await running.verify(token, seal);
    await until("the keys are fetched", () => running.fetches === 2);
    assert.match(
      await running.verify(token, seal),
      /its key is (unknown|not in the key set)|signature does not match/,
    );
  }
});

Deno.test("a key whose algorithm or use has changed verifies no sealed token", async () => {
  const rsa = await makeSigningKey("rsa", "RS256");
  await using server = await KeyServer.start([rsa.jwk]);
  const token = await rsa.sign();
  const seal = await sealOf(token, server);
  for (const change of [{ alg: "PS256" }, { use: "enc" }]) {
    server.keys = [{ ...rsa.jwk, ...change }, other.jwk];
    using node = new Verifier(server.url);
    assert.match(await node.verify(token, seal), /not in the key set/);
  }
});

Deno.test("all claims of a sealed token are checked at each use", async () => {
  await using server = await KeyServer.start([key.jwk]);
  const token = await key.sign({
    iss: "me",
    aud: "us",
    iat: inSeconds(0),
    exp: inSeconds(60),
  });
  const seal = await sealOf(token, server);
  const cases: readonly [number, Partial<TokenSettings>, RegExp][] = [
    [0, { issuer: "me", audience: "us" }, /^sealed$/],
    [66_000, {}, /it has expired/],
    [-62_000, {}, /it was issued in the future/],
    [0, { issuer: "you" }, /its issuer is not the one/],
    [0, { audience: "them" }, /its audience is not the one/],
  ];
  for (const [ahead, settings, result] of cases) {
    using node = new Verifier(server.url, settings);
    node.ahead = ahead;
    assert.match(await node.verify(token, seal), result);
  }
});

Deno.test("a sealed token that was revoked is refused", async () => {
  await using server = await KeyServer.start([key.jwk]);
  const token = await key.sign({ sub: "ann", jti: "a", iat: inSeconds(-9) });
  const seal = await sealOf(token, server);
  for (const kind of ["user", "jti"] as const) {
    using node = new Verifier(server.url);
    const revocations = new Revocations();
    const tokens = refuseRevoked(node.tokens, revocations);
    const name = kind === "user" ? "ann" : "a";
    revocations.add([{ kind, name, at: Date.now() }]);
    revocations.loaded();
    await assert.rejects(
      tokens.verify(token, () => Promise.resolve(seal)),
      /it has been revoked/,
    );
    assert.deepEqual(node.how, ["sealed"]);
  }
});

Deno.test("a seal is read only if a signature would otherwise be verified with a public key", async () => {
  await using server = await KeyServer.start([key.jwk]);
  using node = new Verifier(server.url, { secrets: [SECRET] });
  const token = await key.sign();
  assert.equal(await node.verify(token), "signature");
  assert.equal(node.reads, 1);
  assert.equal(await node.verify(token), "remembered");
  assert.equal(await node.verify(await makeToken()), "signature");
  for (
    const [text, refused] of [
      ["x", /not a signed JSON Web Token/],
      [await other.sign(), /its key is (unknown|not in the key set)/],
      [forgeToken({ alg: "none" }, {}), /algorithm is not accepted/],
      [forgeToken({ alg: "HS256" }, {}), /signature does not match/],
      ["x".repeat(20_000), /more than 16384 characters/],
    ] as const
  ) {
    assert.match(await node.verify(text), refused);
  }
  assert.equal(node.reads, 1);
  using plain = new Verifier(server.url, { seals: undefined });
  assert.equal(await plain.verify(token, ""), "signature");
  assert.equal((await plain.tokens.verify(token)).seal, undefined);
  assert.equal(plain.reads, 0);
});

Deno.test("Seals.from() needs a secret of 32 bytes, and makes the same seals from the same secrets in any order", async () => {
  for (const secrets of [[], [""], ["x".repeat(31), "y".repeat(31)]]) {
    assert.equal(Seals.from(secrets), undefined);
  }
  assert.notEqual(Seals.from(["é".repeat(16)]), undefined);
  await using server = await KeyServer.start([key.jwk]);
  const token = await key.sign();
  const made = async (...secrets: string[]): Promise<string> => {
    using node = new Verifier(server.url, { seals: Seals.from(secrets) });
    return (await node.tokens.verify(token)).seal ?? "";
  };
  const seal = await made(SECRET, "a", "b");
  assert.equal(await made("b", SECRET, "a"), seal);
  for (const secrets of [[SECRET], [SECRET, "a"], [SECRET, "a,b"]]) {
    assert.notEqual(await made(...secrets), seal, `${secrets}`);
  }
});

Deno.test("isSameSeal() compares whole seals", () => {
  assert.ok(isSameSeal("abc", "abc"));
  for (const seal of ["", "ab", "abcd", "abC", "ab\u0000", "äbc"]) {
    assert.ok(!isSameSeal(seal, "abc"), seal);
  }
});
