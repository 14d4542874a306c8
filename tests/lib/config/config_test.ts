import assert from "node:assert/strict";
import { inspectConfig, readConfig } from "../../../lib/config/config.ts";
import { SECRET } from "../../support/tokens.ts";

type Env = Record<string, string>;

/** Returns the lines of the error that `readConfig()` throws, one for each problem. */
function complaints(env: Env): string[] {
  let message = "";
  assert.throws(() => readConfig(env), (error) => {
    assert.ok(error instanceof TypeError);
    message = error.message;
    return true;
  });
  const [title, ...lines] = message.split("\n");
  assert.equal(
    title,
    "Cannot start: these settings are invalid; correct or unset them",
  );
  return lines.map((line) => line.trim());
}

/** Returns the settings that an error names, including repetitions. */
function named(env: Env): string[] {
  return complaints(env).map((line) => line.split(" ")[0] ?? "");
}

const DEFAULTS = {
  port: 4000,
  internalPort: undefined,
  host: "127.0.0.1",
  redisUrl: undefined,
  keyPrefix: "roomcast",
  rooms: ["chat"],
  channels: [],
  historySize: 1000,
  historySeconds: 86_400,
  recoverySeconds: 120,
  ackReplicas: 0,
  idempotencySeconds: 600,
  messageBytesMax: 65_536,
  clientBufferBytesMax: 1_048_576,
  latestRooms: [],
  publishKeys: [],
  tokens: undefined,
  tokenRooms: [],
  tokenCookie: undefined,
  publicRooms: [],
  allowedOrigins: [],
  hooks: undefined,
  trustedProxies: [],
  clientsMax: 0,
  clientsPerAddressMax: 0,
  connectsPerSecondMax: 0,
  publishesPerSecondMax: 0,
  eventsPerSecondMax: 50,
  roomsPerClientMax: 100,
  open: false,
  directWrite: true,
  drainSeconds: 10,
  logLevel: "info",
  logFormat: "auto",
};

/** Settings that guard something: set and empty, they are refused. */
const GUARDS = [
  "INTERNAL_PORT",
  "ACK_REPLICAS",
  "TOKEN_SECRET",
  "TOKEN_JWKS_URL",
  "TOKEN_ISSUER",
  "TOKEN_AUDIENCE",
  "TOKEN_COOKIE",
  "PUBLISH_KEYS",
  "PUBLISH_KEY_ROOMS",
  "CONNECT_HOOK_URL",
  "JOIN_HOOK_URL",
  "PUBLISH_HOOK_URL",
  "HOOK_ROOMS",
  "HOOK_SECRET",
  "CLIENTS_MAX",
  "CLIENTS_PER_ADDRESS_MAX",
  "CONNECTS_PER_SECOND_MAX",
  "PUBLISHES_PER_SECOND_MAX",
];

/** Settings that this version does not support and must reject. */
const UNSUPPORTED: Env = {
  WORKERS: "auto",
  WEBHOOK_URL: "http://localhost/events",
  WEBHOOK_SECRET: "a-webhook-secret",
  ADMIN_KEY: "an-admin-key",
  PRESENCE_BYTES_MAX: "1024",
  PRESENCE_MEMBERS_MAX: "200",
  REBALANCE: "true",
};

Deno.test("readConfig() returns the defaults for unset settings, and for empty ones that guard nothing", () => {
  assert.deepEqual(readConfig({}), DEFAULTS);
  const asked = new Set<string>();
  const env = new Proxy<Env>({}, {
    get: (_, name) => {
      asked.add(String(name));
      return undefined;
    },
  });
  readConfig(env);
  for (const blank of ["", " ", "\t \n"]) {
    const blanks = Object.fromEntries([...asked].map((name) => [name, blank]));
    for (const name of GUARDS) delete blanks[name];
    assert.deepEqual(readConfig(blanks), DEFAULTS);
  }
});

Deno.test("inspectConfig() refuses a setting that guards something and is empty", () => {
  for (const name of GUARDS) {
    for (const blank of ["", " \n"]) {
      const { problems } = inspectConfig({ [name]: blank });
      assert.deepEqual(problems, [
        `${name} is set and empty, so it would guard nothing; set a value or unset it`,
      ]);
    }
  }
});

Deno.test("inspectConfig() lists every setting once, with its value and its source", () => {
  const asked = new Set<string>();
  const { settings } = inspectConfig(
    new Proxy<Env>({ ROOMS: " a,b ", LATEST_ROOMS: " " }, {
      get: (env, name) => {
        asked.add(String(name));
        return env[String(name)];
      },
    }),
  );
  const names = settings.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  const unsupported = Object.keys(UNSUPPORTED);
  assert.deepEqual([...asked].sort(), [...names, ...unsupported].sort());
  const found = (wanted: string) =>
    settings.find(({ name }) => name === wanted);
  assert.deepEqual(
    ["ROOMS", "LATEST_ROOMS", "PORT"].map(found),
    [
      { name: "ROOMS", value: "a,b", source: "environment" },
      { name: "LATEST_ROOMS", value: "", source: "default" },
      { name: "PORT", value: "4000", source: "default" },
    ],
  );
});

Deno.test("readConfig() returns the values of all settings that are set", () => {
  assert.deepEqual(
    readConfig({
      PORT: " 0 ",
      INTERNAL_PORT: "0",
      HOST: "::1",
      REDIS_URL: "rediss://:p%40ss@redis.example:6380/2",
      KEY_PREFIX: "my.app:1_x-y",
      ROOMS: "a, b,a ,,__proto__",
      CHANNELS: "chat,news.*,h?llo,[a-c]x,\\*",
      HISTORY_SIZE: "1",
      HISTORY_SECONDS: "31536000",
      RECOVERY_SECONDS: "1",
      IDEMPOTENCY_SECONDS: "604800",
      ACK_REPLICAS: "2",
      MESSAGE_BYTES_MAX: "16",
      CLIENT_BUFFER_BYTES_MAX: "16384",
      LATEST_ROOMS: "prices, ticker.*",
      PUBLISH_KEYS: "ann:1, bob:with:colons=",
      PUBLISH_KEY_ROOMS: "bob = news.* | chat|a=b",
      TOKEN_SECRET: `${SECRET}, ${SECRET}2`,
      TOKEN_JWKS_URL: "https://a.example/jwks.json?x=1",
      TOKEN_ISSUER: "https://a.example/",
      TOKEN_AUDIENCE: "chat",
      TOKEN_ROOMS: "user.{sub}=sub+pub, org.{o.id}.*=sub",
      TOKEN_COOKIE: "__Host-token",
      PUBLIC_ROOMS: "lobby,news.*",
      ALLOWED_ORIGINS: "https://a.example,http://b.example:8080",
      TRUSTED_PROXIES: "10.0.0.0/8, ::1",
      CLIENTS_MAX: "1000",
      CLIENTS_PER_ADDRESS_MAX: "10",
      CONNECTS_PER_SECOND_MAX: "100",
      PUBLISHES_PER_SECOND_MAX: "2000",
      EVENTS_PER_SECOND_MAX: "20",
      ROOMS_PER_CLIENT_MAX: "10000",
      OPEN: "true",
      DIRECT_WRITE: "false",
      DRAIN_SECONDS: "0",
      LOG_LEVEL: "debug",
      LOG_FORMAT: "text",
    }),
    {
      port: 0,
      internalPort: 0,
      host: "::1",
      redisUrl: "rediss://:p%40ss@redis.example:6380/2",
      keyPrefix: "my.app:1_x-y",
      rooms: ["a", "b", "__proto__"],
      channels: ["chat", "news.*", "h?llo", "[a-c]x", "\\*"],
      historySize: 1,
      historySeconds: 31_536_000,
      recoverySeconds: 1,
      idempotencySeconds: 604_800,
      ackReplicas: 2,
      messageBytesMax: 16,
      clientBufferBytesMax: 16_384,
      latestRooms: ["prices", "ticker.*"],
      publishKeys: [
        { name: "ann", secret: "1" },
        {
          name: "bob",
          secret: "with:colons=",
          rooms: ["news.*", "chat", "a=b"],
        },
      ],
      hooks: undefined,
      tokens: {
        secrets: [SECRET, `${SECRET}2`],
        jwksUrl: "https://a.example/jwks.json?x=1",
        issuer: "https://a.example/",
        audience: "chat",
      },
      tokenRooms: [
        {
          start: "user.",
          holes: [{ claim: "sub", text: "" }],
          isPattern: false,
          actions: ["subscribe", "publish"],
        },
        {
          start: "org.",
          holes: [{ claim: "o.id", text: "." }],
          isPattern: true,
          actions: ["subscribe"],
        },
      ],
      tokenCookie: "__Host-token",
      publicRooms: ["lobby", "news.*"],
      allowedOrigins: ["https://a.example", "http://b.example:8080"],
      trustedProxies: ["10.0.0.0/8", "::1"],
      clientsMax: 1000,
      clientsPerAddressMax: 10,
      connectsPerSecondMax: 100,
      publishesPerSecondMax: 2000,
      eventsPerSecondMax: 20,
      roomsPerClientMax: 10_000,
      open: true,
      directWrite: false,
      drainSeconds: 0,
      logLevel: "debug",
      logFormat: "text",
    },
  );
});

Deno.test("readConfig() rejects each invalid value, and its error names only the setting with this value", () => {
  const wrong: Record<string, string[]> = {
    PORT: [
      "-1",
      "65536",
      "4000.5",
      "0x10",
      "1e3",
      "four",
      "9".repeat(1000),
      "٤",
    ],
    INTERNAL_PORT: ["-1", "65536", "four", "4000"],
    REDIS_URL: [
      "localhost:6379",
      "http://localhost",
      "redis://",
      "redis:x",
      "redis://localhost?db=3",
      "redis://localhost:99999",
      "redis+sentinel://localhost:26379/mymaster",
      "redis+cluster://localhost:7000",
    ],
    KEY_PREFIX: ["{x}", "a b", "x".repeat(65), "é", "a*"],
    ROOMS: [",", " , ", "a\u0007b", "x".repeat(256), "ok,\ud800", "chat,.."],
    HISTORY_SIZE: ["0", "1000001", "-5", "NaN"],
    HISTORY_SECONDS: ["0", "31536001", "Infinity"],
    RECOVERY_SECONDS: ["0", "86401"],
    IDEMPOTENCY_SECONDS: ["0", "604801"],
    MESSAGE_BYTES_MAX: ["15", "16777217"],
    PUBLISH_KEYS: [
      "secret",
      "a:",
      "a",
      "a:b c",
      "a:é",
      "a:b\u007f",
      "a:b\nc",
      ":12345678",
      "a:12345678,b",
      ",",
      '{"a":"12345678"}',
      "a=b:12345678",
      "-:12345678",
      '"a:12345678"',
      "a:12345678,b:12345678",
    ],
    PUBLISH_KEY_ROOMS: ["web=chat", "chat", "="],
    TOKEN_SECRET: ["short", SECRET.slice(1), `${SECRET},short`, ",", " , "],
    TOKEN_JWKS_URL: [
      "a.example/jwks.json",
      "http://a.example/jwks.json",
      "http://localhost.example/jwks.json",
      "https://user:hunter2@a.example/jwks.json",
      "file:///jwks.json",
      "https://",
    ],
    ALLOWED_ORIGINS: [
      "example.com",
      "https://a.example/",
      "https://a.example:443",
      "HTTPS://A.example",
      "https://*.example",
      "null",
      "file://",
      "file://localhost",
      "data://localhost",
      "capacitor://",
      "capacitor://*",
      "capacitor://localhost/",
      "wss://a.example",
      "https://a.example;https://b.example",
    ],
    ROOMS_PER_CLIENT_MAX: ["0", "10001"],
    OPEN: ["yes", "1", "TRUE"],
    DIRECT_WRITE: ["yes", "0", "off"],
    DRAIN_SECONDS: ["3601", "-1"],
    LOG_LEVEL: ["verbose", "INFO", "constructor"],
    LOG_FORMAT: ["JSON", "pretty"],
  };
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values) {
      assert.deepEqual(named({ [name]: value }), [name], `${name}=${value}`);
    }
  }
});

Deno.test("readConfig() refuses a TOKEN_COOKIE without tokens, of another form, or with pages of any origin", () => {
  const cookie = { TOKEN_SECRET: SECRET, TOKEN_COOKIE: "token" };
  assert.equal(readConfig(cookie).tokenCookie, "token");
  assert.deepEqual(named({ TOKEN_COOKIE: "token" }), ["TOKEN_COOKIE"]);
  for (const name of ["a b", "a=b", "a;b", "é", '"a"']) {
    assert.deepEqual(named({ ...cookie, TOKEN_COOKIE: name }), [
      "TOKEN_COOKIE",
    ]);
  }
  assert.deepEqual(named({ ...cookie, ALLOWED_ORIGINS: "*" }), [
    "ALLOWED_ORIGINS",
  ]);
});

Deno.test("readConfig() refuses an INTERNAL_PORT that is PORT", () => {
  assert.deepEqual(complaints({ PORT: "8080", INTERNAL_PORT: "8080" }), [
    "INTERNAL_PORT is 8080, as is PORT, which everybody uses; set another port",
  ]);
  const { port, internalPort } = readConfig({ INTERNAL_PORT: "4001" });
  assert.deepEqual([port, internalPort], [4000, 4001]);
});

Deno.test("readConfig() names every invalid setting in one error", () => {
  const env = {
    PORT: "x",
    INTERNAL_PORT: "x",
    HOST: "0.0.0.0",
    REDIS_URL: "x",
    KEY_PREFIX: "{}",
    ROOMS: ",",
    CHANNELS: ",",
    ROOM: "x",
    HISTORY_SIZE: "x",
    HISTORY_SECONDS: "x",
    RECOVERY_SECONDS: "x",
    IDEMPOTENCY_SECONDS: "x",
    MESSAGE_BYTES_MAX: "x",
    ALLOWED_ORIGINS: "x",
    ROOMS_PER_CLIENT_MAX: "x",
    OPEN: "x",
    DIRECT_WRITE: "x",
    DRAIN_SECONDS: "x",
    LOG_LEVEL: "x",
    ...UNSUPPORTED,
  };
  assert.deepEqual(named(env).sort(), Object.keys(env).sort());
});

Deno.test("readConfig() rejects every setting that this version does not support", () => {
  for (const [name, value] of Object.entries(UNSUPPORTED)) {
    assert.deepEqual(named({ [name]: value }), [name]);
    for (const line of complaints({ [name]: value })) {
      assert.ok(value.length < 5 || !line.includes(value), line);
    }
  }
  // These values ask for nothing.
  readConfig({
    CLIENTS_MAX: "0",
    PUBLISHES_PER_SECOND_MAX: "0",
    WORKERS: "1",
    REBALANCE: "false",
  });
});

Deno.test("readConfig() rejects more ROOMS than ROOMS_PER_CLIENT_MAX", () => {
  const ROOMS_PER_CLIENT_MAX = "2";
  assert.deepEqual(named({ ROOMS: "a,b,c", ROOMS_PER_CLIENT_MAX }), ["ROOMS"]);
  assert.equal(
    readConfig({ ROOMS: "a,b", ROOMS_PER_CLIENT_MAX }).rooms.length,
    2,
  );
});

Deno.test("readConfig() rejects a HOST that other machines can reach unless PUBLISH_KEYS or OPEN=true is set", () => {
  for (const HOST of ["0.0.0.0", "::", "192.168.1.2", "example.com"]) {
    assert.deepEqual(named({ HOST }), ["HOST"]);
    assert.deepEqual(named({ HOST, OPEN: "false" }), ["HOST"]);
    assert.equal(readConfig({ HOST, OPEN: "true" }).host, HOST);
    assert.equal(readConfig({ HOST, PUBLISH_KEYS: "a:12345678" }).host, HOST);
    // A list without a valid key protects nothing.
    for (const PUBLISH_KEYS of [",", " , ,", "a:", "a"]) {
      assert.ok(
        named({ HOST, PUBLISH_KEYS }).includes("PUBLISH_KEYS"),
        PUBLISH_KEYS,
      );
    }
  }
  for (const HOST of ["127.0.0.1", "127.8.8.8", "localhost", "::1"]) {
    assert.equal(readConfig({ HOST }).host, HOST);
  }
  assert.equal(readConfig({ HOST: "[::1]" }).host, "::1");
  for (
    const HOST of ["localhost:4000", "http://0.0.0.0", "0.0.0.0:80", "*", "a b"]
  ) {
    const [problem = "", ...others] = complaints({ HOST });
    assert.match(problem, /^HOST is ".*", not an address .* is set by PORT$/);
    assert.deepEqual(others, []);
  }
});

Deno.test("readConfig() never shows a secret in its error", () => {
  const secrets = ["hunter2hunter2", "pässwörd-123", "tok:en:tok", "two words"];
  const env: Env = {
    PUBLISH_KEYS: `${secrets[0]},a:${secrets[1]},a:${secrets[2]},b:${
      secrets[3]
    }`,
    REDIS_URL: "http://user:hunter2hunter2@redis",
    TOKEN_SECRET: "hunter2hunter2",
    ADMIN_KEY: "hunter2hunter2",
    PORT: "x",
  };
  const text = complaints(env).join("\n");
  for (const secret of [...secrets, "user"]) {
    assert.ok(!text.includes(secret), `${secret} is shown`);
  }
  assert.match(text, /PUBLISH_KEYS entry 1 /);
  assert.match(text, /PUBLISH_KEYS entry 4 /);
});

Deno.test("readConfig() rejects two publish keys with the same name", () => {
  assert.deepEqual(named({ PUBLISH_KEYS: "a:12345678,a:87654321" }), [
    "PUBLISH_KEYS",
  ]);
});

Deno.test("readConfig() rejects two publish keys with the same secret, without the secret", () => {
  const PUBLISH_KEYS = "web:hunter2,batch:hunter3,cron:hunter2";
  assert.deepEqual(complaints({ PUBLISH_KEYS }), [
    "PUBLISH_KEYS has the same secret for web and cron, so it would be unclear whose rooms and limits count; give each key a secret of its own",
  ]);
  // The same key twice is one key.
  assert.equal(readConfig({ PUBLISH_KEYS: "a:1,a:1" }).publishKeys.length, 1);
});

Deno.test("readConfig() accepts names of publish keys with letters, digits and _.@/+-", () => {
  const names = ["__proto__", "a.b-c", "é", "x@y/z+1", "my app"];
  const PUBLISH_KEYS = names.map((name, index) => `${name}:${index}`).join();
  const { publishKeys } = readConfig({ PUBLISH_KEYS });
  assert.deepEqual(publishKeys.map(({ name }) => name), names);
});

Deno.test("readConfig() rejects a value in quotes, with this as the only problem and without the value", () => {
  for (
    const [name, value] of [
      ["PUBLISH_KEYS", "web:hunter2"],
      ["PUBLISH_KEYS", 'web:hunter2","batch:hunter3'],
      ["TOKEN_SECRET", SECRET],
      ["TOKEN_SECRET", "hunter2"],
      ["ROOMS", "chat"],
      ["PORT", "8080"],
      ["WORKERS", "1"],
    ] as const
  ) {
    for (const quote of ['"', "'"]) {
      assert.deepEqual(complaints({ [name]: `${quote}${value}${quote}` }), [
        `${name} begins and ends with a quote, which would be a part of the value; remove the quotes`,
      ]);
    }
  }
  const { tokens } = readConfig({ TOKEN_SECRET: `"${SECRET}` });
  assert.deepEqual(tokens?.secrets, [`"${SECRET}`]);
});

Deno.test("readConfig() accepts ALLOWED_ORIGINS=*", () => {
  assert.deepEqual(readConfig({ ALLOWED_ORIGINS: "*" }).allowedOrigins, ["*"]);
});

Deno.test("readConfig() rejects ACK_REPLICAS without REDIS_URL", () => {
  assert.deepEqual(complaints({ ACK_REPLICAS: "1" }), [
    "ACK_REPLICAS is 1 and needs REDIS_URL, because an embedded log has no replicas; set REDIS_URL or unset ACK_REPLICAS",
  ]);
});

Deno.test("readConfig() reads CHANNELS as a list of valid names, and CHANNELS=- as an empty list", () => {
  const REDIS_URL = "redis://localhost";
  assert.deepEqual(readConfig({ REDIS_URL }).channels, ["chat"]);
  assert.deepEqual(readConfig({ REDIS_URL, CHANNELS: " - " }).channels, []);
  assert.deepEqual(readConfig({ CHANNELS: "-" }).channels, []);
  for (const CHANNELS of [",", "a\nb", "é".repeat(128), "chat,-", ".."]) {
    assert.deepEqual(named({ REDIS_URL, CHANNELS }), ["CHANNELS"], CHANNELS);
  }
});

Deno.test("readConfig() rejects CHANNELS without REDIS_URL", () => {
  for (const CHANNELS of ["chat", "news.*"]) {
    assert.deepEqual(complaints({ CHANNELS }), [
      "CHANNELS needs REDIS_URL, because an embedded log has no Redis channels; set REDIS_URL or unset CHANNELS",
    ]);
  }
});

Deno.test("the error of readConfig() shows the setting, the invalid value and the values that are accepted", () => {
  assert.deepEqual(
    complaints({
      PORT: "9".repeat(1000),
      REDIS_URL: "http://user:hunter2@redis",
      KEY_PREFIX: "{x}",
      ROOMS: ",",
      LATEST_ROOMS: "a,x\ty",
      ALLOWED_ORIGINS: "example.com",
      OPEN: "yes",
    }).map((line) => line.replace(/ \(.*\)$/, "")),
    [
      `PORT is "${"9".repeat(80)}…", not a whole number from 0 to 65535`,
      'ROOMS is ",", not a comma-separated list of at least one name',
      'LATEST_ROOMS has "x\\ty", which is not valid as the name of a room',
      'ALLOWED_ORIGINS has "example.com", which is not an origin; write it as in https://example.com',
      'OPEN is "yes", not one of true, false',
      'REDIS_URL is "http://****@redis", not a URL such as redis://localhost:6379 or rediss://example.com:6379/0; percent-encode special characters of the password, such as # as %23',
      'KEY_PREFIX is "{x}", not 1 to 64 letters, digits, dots, colons, dashes or underscores',
    ],
  );
  assert.deepEqual(
    complaints({ REDIS_URL: "redis+sentinel://:hunter2@a:26379/main" }),
    [
      "REDIS_URL begins with redis+sentinel:, which is not supported by this version; set a URL such as redis://localhost:6379 or rediss://example.com:6379/0",
    ],
  );
});

Deno.test("readConfig() rejects an environment variable whose name is similar to a setting", () => {
  assert.deepEqual(complaints({ PUBLISH_KEY: "backend:hunter2" }), [
    "PUBLISH_KEY is not a setting; did you mean PUBLISH_KEYS? If it belongs to another program, unset it for Roomcast",
  ]);
  // The name of a setting that this version does not support is known as well.
  assert.match(
    complaints({ TOKEN_SECRETS: "x" }).join(),
    /mean TOKEN_SECRET\?/,
  );
  assert.deepEqual(readConfig({ PUBLISH_KEY: " ", ROOM: "" }), DEFAULTS);
});
