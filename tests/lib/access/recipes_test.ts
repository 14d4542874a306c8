/** The recipes of docs/security.md: their settings, with tokens as the providers make them. */
import assert from "node:assert/strict";
import type { JWTPayload } from "jose";
import { type Access, createAccess } from "../../../lib/access/access.ts";
import { TokenVerifier } from "../../../lib/access/tokens.ts";
import { type Config, readConfig } from "../../../lib/config/config.ts";
import { fencedBlocks } from "../../support/documents.ts";
import { KeyServer, makeSigningKey } from "../../support/tokens.ts";

/** The commands of the document that start a node. */
const RECIPES = fencedBlocks("docs/security.md").filter(({ code }) =>
  code.endsWith("deno task start\n")
);

/** Resolves to the settings with which the command that contains `text` starts a node. */
async function settingsOf(text: string): Promise<Config> {
  const { code = "" } = RECIPES.find(({ code }) => code.includes(text)) ?? {};
  const { stdout } = await new Deno.Command("sh", {
    args: ["-ec", code.replace("deno task start", "env")],
    clearEnv: true,
    env: { PATH: Deno.env.get("PATH") ?? "" },
  }).output();
  const lines = new TextDecoder().decode(stdout).split("\n");
  const settings = lines.map((line) => line.split(/=(.*)/).slice(0, 2))
    .filter(([name = ""]) => /^(TOKEN|PUBLISH)_/.test(name));
  return readConfig(Object.fromEntries(settings));
}

/** What a provider puts into its tokens, and what its recipe makes of that. */
const PROVIDERS: readonly {
  name: string;
  /** A part of the recipe's `TOKEN_JWKS_URL`. */
  url: string;
  alg: string;
  claims: JWTPayload;
  allowed: readonly string[];
  denied: readonly string[];
}[] = [
  {
    name: "Auth0",
    url: "auth0.com/.well-known/",
    alg: "RS256",
    claims: {
      iss: "https://example.eu.auth0.com/",
      aud: [
        "https://realtime.example.com",
        "https://example.eu.auth0.com/userinfo",
      ],
      sub: "auth0|5f7c",
      azp: "a-client",
      scope: "openid",
      org_id: "org_1",
    },
    allowed: ["user.auth0|5f7c", "org.org_1.board"],
    denied: ["user.auth0|5f7d", "org.org_2.board", "org.org_1"],
  },
  {
    name: "Keycloak",
    url: "/protocol/openid-connect/certs",
    alg: "RS256",
    claims: {
      iss: "https://id.example.com/realms/main",
      aud: ["roomcast", "account"],
      sub: "1e6a3c2d-9e0b-4a55-8f0a-6d1a36a3cc52",
      typ: "Bearer",
      azp: "page",
      realm_access: { roles: ["offline_access"] },
      team: "red",
    },
    allowed: [
      "user.1e6a3c2d-9e0b-4a55-8f0a-6d1a36a3cc52",
      "team.red.board",
    ],
    denied: ["user.red", "team.blue.board"],
  },
  {
    name: "Supabase",
    url: "supabase.co/auth/v1/",
    alg: "ES256",
    claims: {
      iss: "https://example.supabase.co/auth/v1",
      aud: "authenticated",
      sub: "0f3c2d1e-9e0b-4a55-8f0a-6d1a36a3cc52",
      role: "authenticated",
      app_metadata: { provider: "email", org_id: "acme" },
      user_metadata: { org_id: "other" },
      is_anonymous: false,
    },
    allowed: ["user.0f3c2d1e-9e0b-4a55-8f0a-6d1a36a3cc52", "org.acme.board"],
    denied: ["org.other.board", "org.acme"],
  },
];

async function mayJoin(
  access: Access,
  secret: string,
  room: string,
): Promise<boolean> {
  const principal = await access.authenticate({ from: "client", secret });
  return access.refusal(principal, "subscribe", room) === undefined;
}

for (const { name, url, alg, claims, allowed, denied } of PROVIDERS) {
  Deno.test(`with the recipe for ${name}, a token of ${name} gives exactly the rooms of its user`, async () => {
    const config = await settingsOf(url);
    const key = await makeSigningKey("key-1", alg);
    await using server = await KeyServer.start([key.jwk]);
    assert.ok(config.tokens);
    const tokens = new TokenVerifier({
      ...config.tokens,
      jwksUrl: server.url,
      observe: () => {},
    });
    try {
      const access = createAccess({ ...config, tokens });
      const token = await key.sign(claims);
      for (const room of allowed) {
        assert.equal(await mayJoin(access, token, room), true, room);
      }
      for (const room of denied) {
        assert.equal(await mayJoin(access, token, room), false, room);
      }
      for (const changed of [{ iss: "https://other" }, { aud: "other" }]) {
        const other = await key.sign({ ...claims, ...changed });
        await assert.rejects(
          access.authenticate({ from: "client", secret: other }),
          { code: "unauthorized" },
        );
      }
    } finally {
      tokens.close();
    }
  });
}

Deno.test("with the recipe of a key for each backend, each key publishes only to its rooms", async () => {
  const config = await settingsOf("PUBLISH_KEYS=");
  const access = createAccess({ ...config, tokens: undefined });
  const secretOf = (wanted: string) =>
    config.publishKeys.find(({ name }) => name === wanted)?.secret ?? "";
  assert.equal(secretOf("shop").length, 32);
  for (
    const [name, room, expected] of [
      ["shop", "stock", true],
      ["shop", "orders.1", true],
      ["shop", "news.x", false],
      ["news", "news.x", true],
      ["news", "stock", false],
    ] as const
  ) {
    const principal = await access.authenticate({
      from: "request",
      secret: secretOf(name),
    });
    const refusal = access.refusal(principal, "publish", room);
    assert.equal(refusal === undefined, expected, `${name} ${room}`);
  }
});

Deno.test("every command of docs/security.md that starts a node is a recipe of this test", () => {
  assert.equal(RECIPES.length, PROVIDERS.length + 1);
});
