import assert from "node:assert/strict";
import { Revocations } from "../../../lib/access/revocations.ts";
import { TokenVerifier } from "../../../lib/access/tokens.ts";
import { refuseRevoked, reportRefused } from "../../../lib/access/verifier.ts";
import { ApiError } from "../../../lib/errors.ts";
import type { Observation } from "../../../lib/observer.ts";
import {
  forgeToken,
  inSeconds,
  KeyServer,
  makeSigningKey,
  makeToken,
  SECRET,
} from "../../support/tokens.ts";

Deno.test("refuseRevoked() accepts a token only after the revocations are loaded, and if it is not revoked then", async () => {
  const revocations = new Revocations();
  const claims = { sub: "ann", exp: 9e9, iat: 1 };
  const tokens = refuseRevoked(
    { verify: () => Promise.resolve({ claims, seal: "s" }) },
    revocations,
  );
  const [first, second] = [tokens.verify("x"), tokens.verify("x")];
  void first.catch(() => {});
  void second.catch(() => {});
  await new Promise((resolve) => setTimeout(resolve));
  revocations.add([{ kind: "user", name: "ann", at: 1001 }]);
  revocations.loaded();
  for (const verified of [first, second, tokens.verify("x")]) {
    await assert.rejects(
      verified,
      /^ApiError: Cannot accept the token: it has been revoked; get a new one$/,
    );
  }
  claims.iat = 2;
  assert.deepEqual(await tokens.verify("x"), { claims, seal: "s" });
});

Deno.test("reportRefused() reports why a token is not accepted, and nothing else about it", async () => {
  const key = await makeSigningKey("k1");
  await using server = await KeyServer.start([key.jwk]);
  const observed: Observation[] = [];
  const verifier = new TokenVerifier({
    secrets: [SECRET],
    jwksUrl: server.url,
    issuer: "me",
    audience: "us",
    observe: () => {},
  });
  const revocations = new Revocations();
  revocations.add([{ kind: "jti", name: "stolen", at: 1 }]);
  revocations.loaded();
  const tokens = reportRefused(
    refuseRevoked(verifier, revocations),
    (observation) => observed.push(observation),
  );
  const claims = { iss: "me", aud: "us" };
  await tokens.verify(await makeToken(claims));
  assert.deepEqual(observed, []);
  const other = await makeSigningKey("k2");
  const cases = {
    algorithm: forgeToken({ alg: "none" }, claims),
    audience: await makeToken({ ...claims, aud: "them" }),
    claims: await makeToken({ ...claims, sub: "" }),
    expired: await makeToken({ ...claims, exp: inSeconds(-60) }),
    issuer: await makeToken({ ...claims, iss: "you" }),
    malformed: "x",
    not_yet_valid: await makeToken({ ...claims, nbf: inSeconds(60) }),
    revoked: await makeToken({ ...claims, jti: "stolen" }),
    signature: await makeToken(claims, { secret: `${SECRET}x` }),
    unknown_key: await other.sign(claims),
  };
  for (const [reason, token] of Object.entries(cases)) {
    await assert.rejects(
      tokens.verify(token),
      (error) => error instanceof ApiError && error.code === "unauthorized",
      reason,
    );
    assert.deepEqual(observed.splice(0), [{ kind: "token_refused", reason }]);
  }
  verifier.close();
});

Deno.test("reportRefused() reports an outage by its code", async () => {
  const observed: Observation[] = [];
  const outage = new ApiError("token_keys_unavailable", "Cannot verify: later");
  const tokens = reportRefused(
    { verify: () => Promise.reject(outage) },
    (observation) => observed.push(observation),
  );
  await assert.rejects(tokens.verify("x"), outage);
  assert.deepEqual(observed, [
    { kind: "token_refused", reason: "token_keys_unavailable" },
  ]);
});
