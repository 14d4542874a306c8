/**
 * A reconnect storm: all clients of a killed node come back to another one at once, with tokens, and with a connect
 * hook. Prints how long that takes and how many calls of the hook it has caused, and exits with 1 if a client is
 * missing, misses a message, or has asked the hook again.
 *
 *     deno run -A tests/control/storm.ts [clients]
 *
 * @module
 */
// deno-lint-ignore-file no-console -- the figures are the result
import { HookBackend, result } from "../support/hook_backend.ts";
import { TestNode } from "../support/node.ts";
import { RawClient } from "../support/raw_client.ts";
import { Redis } from "../support/redis.ts";
import { makeToken, SECRET } from "../support/tokens.ts";
import { until } from "../support/wait.ts";

const [clients = 5000] = Deno.args.map(Number);
/** Number of clients that connect at a time before the storm. */
const AT_A_TIME = 200;
/** Number of messages that are published while the clients are away. */
const MISSED = 50;
const ROOMS = Array.from({ length: 10 }, (_, i) => `room-${i}`);
const CAPS = [{ rooms: ["room-*"], allow: ["sub"] }];
const TIMEOUT_MS = 120_000;

/** What a storm has led to. */
interface Storm {
  readonly with: string;
  readonly clients: number;
  readonly secondsUntilAllAreBack: number;
  readonly recovered: number;
  readonly missing: number;
  readonly gaps: number;
  /** Calls of the hook when the clients first connected. */
  readonly callsBefore: number;
  /** Calls of the hook by clients that came back. */
  readonly callsInStorm: number;
}

const storms: Storm[] = [];
for (const name of ["nothing", "tokens", "connect hook"]) {
  storms.push(await storm(name));
}
console.table(storms);
const isGood = storms.every((found) =>
  found.recovered === clients && found.missing === 0 && found.gaps === 0 &&
  found.callsInStorm === 0
);
Deno.exit(isGood ? 0 : 1);

async function storm(name: string): Promise<Storm> {
  await using redis = await Redis.start();
  await using backend = await HookBackend.start(
    result({ user: "ann", expiresAt: Date.now() + 3_600_000, caps: CAPS }),
  );
  const token = await makeToken({ sub: "ann", caps: CAPS });
  const env = {
    REDIS_URL: redis.url,
    CHANNELS: "-",
    ...name === "tokens" && { TOKEN_SECRET: SECRET },
    ...name === "connect hook" && { CONNECT_HOOK_URL: backend.url() },
  };
  await using doomed = await TestNode.start(env);
  await using other = await TestNode.start(env);
  const all = Array.from(
    { length: clients },
    (_, i) =>
      new RawClient(
        [ROOMS[i % ROOMS.length] ?? ""],
        name === "tokens" ? token : undefined,
      ),
  );
  for (let i = 0; i < all.length; i += AT_A_TIME) {
    for (const client of all.slice(i, i + AT_A_TIME)) {
      client.connect(doomed.port);
    }
    await until(
      "the clients have joined",
      () => all.slice(0, i + AT_A_TIME).every(({ joined }) => joined === 1),
      TIMEOUT_MS,
    );
  }
  const callsBefore = backend.calls.items.length;
  const publish = async () => {
    for (const room of ROOMS) await other.publish("x".repeat(50), room);
  };
  await publish();
  await until(
    "all clients have the first message",
    () => all.every(({ received }) => received === 1),
    TIMEOUT_MS,
  );
  doomed.signal("SIGKILL");
  for (const client of all) client.cut();
  for (let i = 0; i < MISSED; i++) await publish();
  const start = performance.now();
  for (const client of all) client.connect(other.port);
  await until(
    "all clients are back",
    () => all.every(({ received }) => received > MISSED),
    TIMEOUT_MS,
  );
  const seconds = (performance.now() - start) / 1000;
  for (const client of all) client.cut();
  return {
    with: name,
    clients,
    secondsUntilAllAreBack: Math.round(seconds * 10) / 10,
    recovered: all.filter(({ recovered }) => recovered).length,
    missing: all.filter(({ received }) => received !== MISSED + 1).length,
    gaps: all.filter(({ gaps }) => gaps.length > 0).length,
    callsBefore,
    callsInStorm: backend.calls.items.length - callsBefore,
  };
}
