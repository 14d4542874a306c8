import assert from "node:assert/strict";
import {
  type TokenSettings,
  TokenVerifier,
} from "../../../lib/access/tokens.ts";
import { ApiError } from "../../../lib/errors.ts";
import { Random } from "../../support/random.ts";
import {
  forgeToken,
  inSeconds,
  KeyServer,
  makeSigningKey,
  makeToken,
  SECRET,
} from "../../support/tokens.ts";

const OTHER = "fedcba9876543210fedcba9876543210";

function verifier(settings: Partial<TokenSettings> = {}): TokenVerifier {
  return new TokenVerifier({
    secrets: [SECRET],
    jwksUrl: undefined,
    issuer: undefined,
    audience: undefined,
    observe: () => {},
    ...settings,
  });
}

/** Asserts that a token is refused for good, and with a reason. */
async function refused(
  tokens: TokenVerifier,
  token: string,
  why: RegExp,
  name = token.slice(0, 80),
): Promise<void> {
  await assert.rejects(tokens.verify(token), (error) => {
    assert.ok(error instanceof ApiError, `${name}: ${error}`);
    assert.equal(error.code, "unauthorized", name);
    assert.match(error.message, why, name);
    assert.match(error.message, /^Cannot accept the token: .+; .+/, name);
    assert.ok(token === "" || !error.message.includes(token), name);
    return true;
  }, name);
}

Deno.test("verify() accepts tokens with the HMAC algorithms and returns their claims", async () => {
  const tokens = verifier();
  for (const alg of ["HS256", "HS384", "HS512"]) {
    const { claims: { sub, info }, seal } = await tokens.verify(
      await makeToken({ sub: "ann", info: { a: 1 } }, { alg }),
    );
    assert.equal(sub, "ann", alg);
    assert.deepEqual(info, { a: 1 });
    assert.equal(seal, undefined);
  }
});

Deno.test("verify() accepts a token of any of several secrets and of no other", async () => {
  const tokens = verifier({ secrets: [OTHER, SECRET] });
  await tokens.verify(await makeToken());
  await tokens.verify(await makeToken({}, { secret: OTHER }));
  const secret = `${SECRET}0`;
  await refused(tokens, await makeToken({}, { secret }), /signature/);
});

Deno.test("verify() says which setting has the keys if a signature does not match", async () => {
  const token = await makeToken({}, { secret: OTHER });
  await refused(verifier(), token, /; sign it with a secret of TOKEN_SECRET/);
  const [key, other] = await Promise.all([
    makeSigningKey("k", "ES256"),
    makeSigningKey("k", "ES256"),
  ]);
  await using server = await KeyServer.start([key.jwk]);
  const tokens = verifier({ secrets: [], jwksUrl: server.url });
  await refused(
    tokens,
    await other.sign(),
    /; sign it with a key of TOKEN_JWKS_URL/,
  );
  tokens.close();
});

Deno.test("verify() requires exp, and refuses a token that has expired", async () => {
  const tokens = verifier();
  await tokens.verify(await makeToken({ exp: inSeconds(-1) }));
  for (const seconds of [-7, -60, -3600]) {
    const exp = inSeconds(seconds);
    await refused(tokens, await makeToken({ exp }), /has expired/);
  }
  const exp = undefined as never;
  await refused(tokens, await makeToken({ exp }), /no claim "exp"/);
  for (const exp of ["9999999999", null, true]) {
    const why = /its claim "exp" is not a number of seconds since 1970; /;
    await refused(tokens, await makeToken({ exp: exp as never }), why);
  }
});

Deno.test("verify() refuses a token that is not valid yet", async () => {
  const tokens = verifier();
  await tokens.verify(await makeToken({ nbf: inSeconds(3) }));
  const nbf = inSeconds(70);
  await refused(tokens, await makeToken({ nbf }), /not valid yet/);
});

Deno.test("verify() refuses a token that was issued in the future, which no revocation would reach", async () => {
  const tokens = verifier();
  for (const seconds of [-1e9, 0, 55]) {
    await tokens.verify(await makeToken({ iat: inSeconds(seconds) }));
  }
  for (const seconds of [70, 3600, 1e9]) {
    const token = await makeToken({
      exp: inSeconds(2e9),
      iat: inSeconds(seconds),
    });
    await refused(tokens, token, /it was issued in the future; check/);
  }
});

Deno.test("verify() says so if a time is in ms, and does not blame the clock", async () => {
  const tokens = verifier();
  for (const claim of ["iat", "nbf"]) {
    const token = await makeToken({ [claim]: Date.now() });
    const message = new RegExp(`its claim "${claim}" is in ms; it has to be`);
    await refused(tokens, token, message);
  }
});

Deno.test("verify() requires the configured issuer and audience", async () => {
  const tokens = verifier({ issuer: "https://a.example", audience: "chat" });
  const iss = "https://a.example";
  await tokens.verify(await makeToken({ iss, aud: "chat" }));
  await tokens.verify(await makeToken({ iss, aud: ["other", "chat"] }));
  const cases = [
    [{ iss: `${iss}/`, aud: "chat" }, /its issuer/],
    [{ aud: "chat" }, /no claim "iss"/],
    [{ iss, aud: "chat2" }, /its audience/],
    [{ iss, aud: [] }, /its audience/],
    [{ iss }, /no claim "aud"/],
  ] as const;
  for (const [claims, why] of cases) {
    await refused(tokens, await makeToken(claims as never), why);
  }
});

Deno.test("verify() refuses a token without a signature", async () => {
  const tokens = verifier();
  const claims = { sub: "ann", exp: inSeconds(60) };
  for (
    const alg of ["none", "None", "NONE", "nOnE", "", null, 256, ["HS256"]]
  ) {
    for (const signature of ["", "AAAA"]) {
      await refused(tokens, forgeToken({ alg }, claims, signature), /./);
    }
  }
  for (const alg of ["HS256", "HS512"]) {
    for (const signature of ["", "AAAA"]) {
      await refused(tokens, forgeToken({ alg }, claims, signature), /./);
    }
  }
});

Deno.test("verify() refuses a token whose claims or header were changed", async () => {
  const tokens = verifier();
  const [header, , signature] = (await makeToken({ sub: "ann" })).split(".");
  const [, claims] = (await makeToken({ sub: "bob" })).split(".");
  await refused(tokens, `${header}.${claims}.${signature}`, /signature/);
});

Deno.test("verify() refuses crit and b64, and ignores where the header says the key is", async () => {
  const tokens = verifier();
  for (
    const header of [
      { crit: ["exp"], exp: 1 },
      { crit: ["b64"], b64: true },
      { crit: ["b64"], b64: false },
      { crit: [] },
      { b64: false },
      { b64: true },
    ]
  ) {
    const token = forgeToken({ alg: "HS256", ...header }, { exp: 1e10 });
    await refused(tokens, token, /"crit" or "b64"/);
  }
  const mine = await makeSigningKey("mine");
  await using server = await KeyServer.start([mine.jwk]);
  const header = { jku: server.url, x5u: server.url, jwk: mine.jwk };
  await refused(tokens, await mine.sign({}, header), /algorithm/);
  await tokens.verify(await makeToken({}, { header }));
  assert.equal(server.fetches, 0);
});

Deno.test("verify() refuses what is not a token, of any size, in little time", async () => {
  const tokens = verifier();
  const token = await makeToken();
  for (
    const text of [
      "",
      ".",
      "..",
      "...",
      "a.b.c",
      "chat",
      "null",
      `${token}.`,
      `${token}.${token}`,
      `.${token}`,
      token.slice(0, -1),
      token.replaceAll(".", ""),
      `${token}=`,
      ` ${token}`,
      `${token}\n`,
      forgeToken([], {}),
      forgeToken(null, {}),
      forgeToken("HS256", {}),
      forgeToken({}, {}),
      forgeToken({ alg: "HS256", kid: {} }, {}),
      forgeToken({ alg: "__proto__" }, {}),
      forgeToken({ alg: "constructor" }, {}),
      "\u0000.\uffff.\ud800",
      "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..AAAA.AAAA.AAAA",
    ]
  ) await refused(tokens, text, /./);
  const start = performance.now();
  for (const size of [16_385, 1 << 24]) {
    await refused(tokens, "a".repeat(size), /16384 characters/);
  }
  const deep = `${"[".repeat(6000)}${"]".repeat(6000)}`;
  await refused(tokens, `${btoa(deep)}.e30.AAAA`.slice(0, 16_384), /./);
  assert.ok(performance.now() - start < 1000);
  const claims = { pad: "x".repeat(20_000) };
  await refused(tokens, await makeToken(claims), /16384 characters/);
});

Deno.test("verify() refuses signed claims that are not an object", async () => {
  const tokens = verifier();
  const key = await crypto.subtle.importKey(
    "raw",
    new TextEncoder().encode(SECRET),
    { name: "HMAC", hash: "SHA-256" },
    false,
    ["sign"],
  );
  for (const claims of [[], null, "ann", 1, true]) {
    const [header, body] = forgeToken({ alg: "HS256" }, claims).split(".");
    const input = new TextEncoder().encode(`${header}.${body}`);
    const bytes = new Uint8Array(await crypto.subtle.sign("HMAC", key, input));
    const signature = bytes.toBase64({
      alphabet: "base64url",
      omitPadding: true,
    });
    await refused(tokens, `${header}.${body}.${signature}`, /./);
  }
});

Deno.test("verify() does not take a public key for the secret of an HMAC", async () => {
  const key = await makeSigningKey("k1", "RS256");
  await using server = await KeyServer.start([key.jwk]);
  const spki = JSON.stringify(key.jwk);
  for (const secrets of [[], [SECRET]]) {
    const tokens = verifier({ secrets, jwksUrl: server.url });
    await tokens.verify(await key.sign());
    for (const secret of [spki, key.jwk.n ?? "", "k1"]) {
      for (const alg of ["HS256", "HS384", "HS512"]) {
        const header = { kid: "k1" };
        const token = await makeToken({}, { secret, alg, header });
        await refused(tokens, token, /algorithm|signature/);
      }
    }
    tokens.close();
  }
});

Deno.test("verify() accepts each kind only if its keys are configured", async () => {
  const key = await makeSigningKey("k1");
  await using server = await KeyServer.start([key.jwk]);
  const hmac = await makeToken();
  const signed = await key.sign();
  const both = verifier({ jwksUrl: server.url });
  await both.verify(hmac);
  await both.verify(signed);
  both.close();
  await refused(verifier(), signed, /algorithm/);
  const keys = verifier({ secrets: [], jwksUrl: server.url });
  await refused(keys, hmac, /algorithm/);
  keys.close();
});

Deno.test("verify() accepts the usual signature algorithms of a key set", async () => {
  const algs = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];
  const keys = await Promise.all(algs.map((alg) => makeSigningKey(alg, alg)));
  await using server = await KeyServer.start(keys.map(({ jwk }) => jwk));
  const tokens = verifier({ secrets: [], jwksUrl: server.url });
  for (const key of keys) await tokens.verify(await key.sign({ sub: "ann" }));
  const [rsa, , ec] = keys;
  const wrong = await rsa?.sign({}, { kid: ec?.jwk.kid }) ?? "";
  await refused(tokens, wrong, /not in the key set/);
  tokens.close();
});

Deno.test("verify() accepts no changed form of a token, and every error is one for the client", async () => {
  const tokens = verifier();
  const token = await makeToken({ sub: "ann", caps: [] });
  const random = new Random(18);
  const chars = "abcXYZ019-_.=+/ \n\u0000\u20ac{}[]";
  const pick = (length: number) => random.between(0, length - 1);
  for (let run = 0; run < 3000; run++) {
    let text = token;
    for (let changes = 1 + pick(3); changes > 0; changes--) {
      const [from, to] = [pick(text.length), pick(text.length)].sort((a, b) =>
        a - b
      ) as [number, number];
      const char = chars[pick(chars.length)] ?? "";
      text = [
        text.slice(0, from) + char + text.slice(from + 1),
        text.slice(0, from) + char + text.slice(from),
        text.slice(0, from) + text.slice(from + 1),
        text.slice(0, from) + text.slice(to),
        text.slice(0, to) + text.slice(from),
      ][pick(5)] ?? "";
    }
    // The last character has two bits that do not belong to the signature.
    const isSame = text.slice(0, -1) === token.slice(0, -1) &&
      text.length === token.length;
    if (!isSame) await refused(tokens, text, /./, `run ${run}`);
  }
});

Deno.test("a verifier does not show its secrets", () => {
  const shown = Deno.inspect(verifier(), { showHidden: true, depth: 10 });
  assert.ok(!shown.includes(SECRET));
});
