/**
 * Reconnect storms: all clients of a killed node come back to another one at once, and then the connections of that one
 * are cut, so that all come back to the same node. Without tokens, with tokens, and with a connect hook; each client has
 * a token of its own. Prints how many clients were back per second and how many calls of the hook that has caused, and
 * exits with 1 if a client is missing, misses a message, or has asked the hook again.
 *
 *     deno run -A tests/control/storm.ts [clients] [rounds]
 *
 * @module
 */
// deno-lint-ignore-file no-console -- the figures are the result
import type { JWTPayload } from "jose";
import { HookBackend, result } from "../support/hook_backend.ts";
import { TestNode } from "../support/node.ts";
import { RawClient } from "../support/raw_client.ts";
import { Redis } from "../support/redis.ts";
import {
  KeyServer,
  makeSigningKey,
  makeToken,
  SECRET,
} from "../support/tokens.ts";
import { until } from "../support/wait.ts";

const [clients = 5000, rounds = 1] = Deno.args.map(Number);
/** Number of clients that connect at a time before the storm. */
const AT_A_TIME = 200;
/** Number of messages that are published while the clients are away. */
const MISSED = 50;
const ROOMS = Array.from({ length: 10 }, (_, i) => `room-${i}`);
const CAPS = [{ rooms: ["room-*"], allow: ["sub"] }];
const TIMEOUT_MS = 120_000;

/** A kind of credentials: what the nodes are told, and how the token of a client is made. */
interface Kind {
  readonly name: string;
  readonly env: Readonly<Record<string, string>>;
  readonly sign?: (claims: JWTPayload) => Promise<string>;
}

/** What the two storms of one round have led to. */
interface Storms {
  readonly with: string;
  readonly clients: number;
  /** Clients that were back per second: on another node after a kill, and on the same node after a cut. */
  readonly perSecondKilled: number;
  readonly perSecondCut: number;
  readonly recovered: number;
  readonly missing: number;
  readonly gaps: number;
  /** Calls of the hook when the clients first connected. */
  readonly callsBefore: number;
  /** Calls of the hook by clients that came back. */
  readonly callsInStorm: number;
}

const signing = await makeSigningKey("es", "ES256");
await using keys = await KeyServer.start([signing.jwk]);
await using backend = await HookBackend.start(
  result({ user: "ann", expiresAt: Date.now() + 3_600_000, caps: CAPS }),
);
const kinds: readonly Kind[] = [
  { name: "nothing", env: {} },
  { name: "tokens, HS256", env: { TOKEN_SECRET: SECRET }, sign: makeToken },
  {
    name: "tokens, ES256",
    env: { TOKEN_JWKS_URL: keys.url },
    sign: signing.sign,
  },
  { name: "connect hook", env: { CONNECT_HOOK_URL: backend.url() } },
];
const found: Storms[] = [];
for (let round = 0; round < rounds; round++) {
  for (const kind of kinds) found.push(await storms(kind));
}
console.table(found);
const isGood = found.every((storm) =>
  storm.recovered === clients && storm.missing === 0 && storm.gaps === 0 &&
  storm.callsInStorm === 0
);
Deno.exit(isGood ? 0 : 1);

async function storms({ name, env, sign }: Kind): Promise<Storms> {
  await using redis = await Redis.start();
  const settings = { REDIS_URL: redis.url, CHANNELS: "-", ...env };
  await using doomed = await TestNode.start(settings);
  await using other = await TestNode.start(settings);
  const calls = backend.calls.items.length;
  const all = await Promise.all(
    Array.from({ length: clients }, async (_, i) => {
      const token = await sign?.({ sub: "ann", jti: `${i}`, caps: CAPS });
      return new RawClient([ROOMS[i % ROOMS.length] ?? ""], token);
    }),
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
  const callsBefore = backend.calls.items.length - calls;
  let published = 0;
  const publish = async (times: number) => {
    published += times;
    for (let i = 0; i < times; i++) {
      for (const room of ROOMS) await other.publish("x".repeat(50), room);
    }
  };
  const allHave = () =>
    until(
      "all clients have all messages",
      () => all.every(({ received }) => received >= published),
      TIMEOUT_MS,
    );
  /** Lets all clients come back after a while. Resolves to how many of them were back per second. */
  const comeBack = async () => {
    for (const client of all) client.cut();
    await publish(MISSED);
    const start = performance.now();
    for (const client of all) client.connect(other.port);
    await allHave();
    return Math.round(clients / (performance.now() - start) * 1000);
  };
  await publish(1);
  await allHave();
  doomed.signal("SIGKILL");
  const perSecondKilled = await comeBack();
  const recovered = all.filter(({ recovered }) => recovered);
  const perSecondCut = await comeBack();
  for (const client of all) client.cut();
  return {
    with: name,
    clients,
    perSecondKilled,
    perSecondCut,
    recovered: recovered.filter(({ recovered }) => recovered).length,
    missing: all.filter(({ received }) => received !== published).length,
    gaps: all.filter(({ gaps }) => gaps.length > 0).length,
    callsBefore,
    callsInStorm: backend.calls.items.length - calls - callsBefore,
  };
}
