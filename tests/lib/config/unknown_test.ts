import assert from "node:assert/strict";
import { inspectConfig } from "../../../lib/config/config.ts";
import { findUnknown } from "../../../lib/config/unknown.ts";
import { UNSUPPORTED_NAMES } from "../../../lib/config/unsupported.ts";
import { ENVIRONMENTS } from "./environments.ts";

const KNOWN = [
  ...inspectConfig({}).settings.map(({ name }) => name),
  ...UNSUPPORTED_NAMES,
];

/** Misspelled names, and the settings that were meant. */
const MEANT: Readonly<Record<string, string>> = {
  // One or many, with or without underscores, in any case and order.
  PUBLISH_KEY: "PUBLISH_KEYS",
  ROOM: "ROOMS",
  CHANNEL: "CHANNELS",
  TOKEN_COOKIES: "TOKEN_COOKIE",
  LATEST_ROOM: "LATEST_ROOMS",
  ALLOWED_ORIGIN: "ALLOWED_ORIGINS",
  TRUSTED_PROXY: "TRUSTED_PROXIES",
  HISTORY_SECOND: "HISTORY_SECONDS",
  CLIENT_MAX: "CLIENTS_MAX",
  REDISURL: "REDIS_URL",
  LOGLEVEL: "LOG_LEVEL",
  PUBLISHKEYS: "PUBLISH_KEYS",
  redis_url: "REDIS_URL",
  port: "PORT",
  "PUBLISH-KEYS": "PUBLISH_KEYS",
  MAX_CLIENTS: "CLIENTS_MAX",
  MAX_MESSAGE_BYTES: "MESSAGE_BYTES_MAX",
  // Typing errors.
  REDIS_URI: "REDIS_URL",
  REDIS_ULR: "REDIS_URL",
  PUBLISH_KYES: "PUBLISH_KEYS",
  PUBLSH_KEYS: "PUBLISH_KEYS",
  HISTROY_SIZE: "HISTORY_SIZE",
  IDEMPOTENZY_SECOND: "IDEMPOTENCY_SECONDS",
  RECOVRY_SECONDS: "RECOVERY_SECONDS",
  CHANNLES: "CHANNELS",
  TRUST_PROXY: "TRUSTED_PROXIES",
  TOKEN_SECRT: "TOKEN_SECRET",
  TOKENS_SECRET: "TOKEN_SECRET",
  TOKENS_SECRETS: "TOKEN_SECRET",
  // Words of ours that are put together otherwise.
  HISTORY_LIMIT: "HISTORY_SIZE",
  HISTORY_TTL: "HISTORY_SECONDS",
  PUBLISH_SECRET: "PUBLISH_KEYS",
  PUBLISH_TOKEN: "PUBLISH_KEYS",
  RECOVERY_TIMEOUT: "RECOVERY_SECONDS",
  DRAIN_TIMEOUT: "DRAIN_SECONDS",
  CLIENT_LIMIT: "CLIENTS_MAX",
  CLIENT_BUFFER_SIZE: "CLIENT_BUFFER_BYTES_MAX",
  CLIENT_BUFFER_BYTES: "CLIENT_BUFFER_BYTES_MAX",
  MAX_MESSAGE_SIZE: "MESSAGE_BYTES_MAX",
  CONNECTS_PER_SECOND: "CONNECTS_PER_SECOND_MAX",
  PUBLISHES_PER_MINUTE: "PUBLISHES_PER_SECOND_MAX",
  MESSAGE_BYTES: "MESSAGE_BYTES_MAX",
  HOOK_TIMEOUT: "HOOK_TIMEOUT_MS",
  HOOK_TIMEOUT_SECONDS: "HOOK_TIMEOUT_MS",
  PUBLISHES_MAX: "PUBLISHES_PER_SECOND_MAX",
  PUBLISH_LIMIT: "PUBLISHES_PER_SECOND_MAX",
  PUBLISH_RATE: "PUBLISHES_PER_SECOND_MAX",
  PUBLISH_RATE_MAX: "PUBLISHES_PER_SECOND_MAX",
  PUBLISH_RATE_LIMIT: "PUBLISHES_PER_SECOND_MAX",
  // A word is missing.
  CONNECT_HOOK: "CONNECT_HOOK_URL",
  JOIN_HOOK: "JOIN_HOOK_URL",
  CONNECT_URL: "CONNECT_HOOK_URL",
  HOOK_URL: "CONNECT_HOOK_URL",
  TOKEN_JWKS: "TOKEN_JWKS_URL",
  JWKS_URL: "TOKEN_JWKS_URL",
  PUBLISH_ROOMS: "PUBLISH_KEY_ROOMS",
  CLIENTS_PER_ADDRESS: "CLIENTS_PER_ADDRESS_MAX",
  REDIS: "REDIS_URL",
  // Another word for the same thing.
  CLIENTS_PER_IP_MAX: "CLIENTS_PER_ADDRESS_MAX",
  CLIENTS_PER_IP: "CLIENTS_PER_ADDRESS_MAX",
  CONNECTIONS_PER_IP: "CLIENTS_PER_ADDRESS_MAX",
  CONNECTIONS_MAX: "CLIENTS_MAX",
  MAX_CONNECTIONS: "CLIENTS_MAX",
  CONNECTION_LIMIT: "CLIENTS_MAX",
  CONNECTIONS_PER_SECOND: "CONNECTS_PER_SECOND_MAX",
  CONNECTION_HOOK_URL: "CONNECT_HOOK_URL",
  CONNECT_WEBHOOK_URL: "CONNECT_HOOK_URL",
  WEBHOOK_CONNECT_URL: "CONNECT_HOOK_URL",
  JWKS_URI: "TOKEN_JWKS_URL",
  TOKEN_KEY: "TOKEN_SECRET",
  HOOK_KEY: "HOOK_SECRET",
  HOOK_PASSWORD: "HOOK_SECRET",
  TOKEN_ISS: "TOKEN_ISSUER",
  TOKEN_AUD: "TOKEN_AUDIENCE",
  TOKEN_PUBLIC_KEY: "TOKEN_JWKS_URL",
  AUTH_HOOK_URL: "CONNECT_HOOK_URL",
  AUTH_HOOK: "CONNECT_HOOK_URL",
  SUBSCRIBE_HOOK_URL: "JOIN_HOOK_URL",
  // A setting for all hooks, with the name of one.
  CONNECT_HOOK_SECRET: "HOOK_SECRET",
  CONNECT_HOOK_TIMEOUT: "HOOK_TIMEOUT_MS",
  CONNECT_HOOK_TIMEOUT_MS: "HOOK_TIMEOUT_MS",
  CONNECT_HOOK_TIMEOUT_SECONDS: "HOOK_TIMEOUT_MS",
  CONNECT_HOOK_HEADERS: "HOOK_HEADERS",
  JOIN_HOOK_ROOMS: "HOOK_ROOMS",
  JOIN_HOOK_SECRET: "HOOK_SECRET",
  PUBLISH_HOOK_KEY: "HOOK_SECRET",
  PUBLISH_HOOK_ROOMS: "HOOK_ROOMS",
  // More words than a setting.
  TOKEN_SECRET_KEY: "TOKEN_SECRET",
  TOKEN_ISSUER_URL: "TOKEN_ISSUER",
  TOKEN_JWKS_URL_EXTERNAL: "TOKEN_JWKS_URL",
  TRUSTED_PROXY_IPS: "TRUSTED_PROXIES",
  PUBLISH_KEYS_BACKEND: "PUBLISH_KEYS",
  PUBLISH_KEY_ROOMS_ALLOWED: "PUBLISH_KEY_ROOMS",
  HOOK_SECRET_KEY: "HOOK_SECRET",
  // Names of ours with what is customary elsewhere.
  ROOMCAST_PUBLISH_KEYS: "PUBLISH_KEYS",
  ROOMCAST_REDIS_URL: "REDIS_URL",
  PUBLISH_KEYS_FILE: "PUBLISH_KEYS",
  TOKEN_SECRET_FILE: "TOKEN_SECRET",
};

Deno.test("findUnknown() returns the setting that a misspelled name probably means", () => {
  for (const [name, meant] of Object.entries(MEANT)) {
    assert.deepEqual(findUnknown([name], KNOWN), [{ name, meant }], name);
  }
});

Deno.test("findUnknown() reports no variable of real environments as a misspelled setting", () => {
  for (const [environment, names] of Object.entries(ENVIRONMENTS)) {
    assert.ok(names.length > 3, environment);
    assert.deepEqual(findUnknown(names, KNOWN), [], environment);
  }
});

Deno.test("findUnknown() reports no variable that Kubernetes sets for a service with a name like a setting", () => {
  const services = [
    ...["redis", "roomcast", "chat", "room", "channel", "publish", "history"],
    ...["publish-key", "redis-uri", "client", "token", "worker", "host"],
    ...["internal", "internals", "roomcast-internal"],
    ...KNOWN.map((name) => name.toLowerCase().replaceAll("_", "-")),
  ];
  const suffixes = [
    "SERVICE_HOST",
    "SERVICE_PORT",
    "SERVICE_PORT_HTTP",
    "PORT",
    "PORT_4000_TCP",
    "PORT_4000_TCP_PROTO",
    "PORT_4000_TCP_PORT",
    "PORT_4000_TCP_ADDR",
    "PORT_53_UDP_ADDR",
    // Links of Docker.
    "NAME",
    "ENV_REDIS_VERSION",
    "ENV_PATH",
  ];
  const names = services.flatMap((service) => {
    const prefix = service.toUpperCase().replaceAll("-", "_");
    return suffixes.map((suffix) => `${prefix}_${suffix}`);
  });
  assert.deepEqual(findUnknown(names, KNOWN), []);
});

Deno.test("findUnknown() reports nothing for the names of all known settings", () => {
  assert.deepEqual(findUnknown(KNOWN, KNOWN), []);
});
