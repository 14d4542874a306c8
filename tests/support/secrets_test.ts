import assert from "node:assert/strict";
import { keepSecret, keepSecretsOf, leaksIn } from "./secrets.ts";

Deno.test("leaksIn() finds tokens, and the secrets of settings and of clients, and no other words", () => {
  keepSecretsOf({
    PUBLISH_KEYS: "web:key-of-web, b:short",
    TOKEN_SECRET: "first:secret:with:colons , second-secret",
    HOOK_SECRET: "hook-secret",
    TOKEN_JWKS_URL: "https://a.example/x?key=query-secret",
    REDIS_URL: "redis://user:redis-secret@localhost:1",
    ROOMS: "public-room",
    CONNECT_HOOK_URL: "not a URL",
  });
  keepSecret("session-secret");
  const secrets = [
    "key-of-web",
    "second-secret",
    "hook-secret",
    "query-secret",
    "redis-secret",
    "session-secret",
    "eyJhbGciOiJIUzI1NiJ9",
  ];
  for (const secret of secrets) {
    const line = `{"kind":"x","why":"it has ${secret} in it"}`;
    assert.deepEqual(
      leaksIn(`first line\n${line}\nlast line`),
      [`${secret} in: ${line}`],
    );
  }
  assert.deepEqual(leaksIn("public-room short web b user eyJ localhost"), []);
});
