/**
 * Reconnect storms: all clients of a killed node come back to another one at once, and then the connections of that one
 * are cut, so that all come back to the same node. Without tokens, with tokens, and with a connect hook; each client has
 * a token of its own. Without seals, the other node verifies the tokens of all clients again. Prints how many clients
 * were back per second, the median of all rounds, and how many fewer that are than without tokens. Exits with 1 if a
 * client is missing, misses a message, has asked the hook again, or had its token verified again despite its seal.
 *
 *     deno run -A tests/control/storm.ts [clients] [rounds] [kinds, as in "nothing|HS256|ES256$"]
 *
 * @module
 */
// deno-lint-ignore-file no-console -- the figures are the result
import type { JWTPayload } from "jose";
import { median } from "../../bench/fanout_results.ts";
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

const [clients = 5000, rounds = 1] = Deno.args.slice(0, 2).map(Number);
const chosen = new RegExp(Deno.args[2] ?? "");
/** Number of clients that connect at a time before the storm. */
const AT_A_TIME = 200;
/** Number of messages that are published while the clients are away. */
const MISSED = 50;
const ROOMS = Array.from({ length: 10 }, (_, i) => `room-${i}`);
const CAPS = [{ rooms: ["room-*"], allow: ["sub"] }];
const TIMEOUT_MS = 120_000;
/** A secret of a publish key that is long enough for seals, and one that is not. */
const [LONG, SHORT] = ["0123456789abcdef0123456789abcdef", "0123456789abcdef"];

/** A kind of credentials: what the nodes are told, and how the token of a client is made. */
interface Kind {
  readonly name: string;
  readonly env: Readonly<Record<string, string>>;
  readonly sign?: ((claims: JWTPayload) => Promise<string>) | undefined;
  /** The secret of the publish key; {@linkcode LONG} if not given. */
  readonly secret?: string;
}

/** What the two storms of one round have led to. */
interface Storms {
  readonly with: string;
  /** Clients that were back per second: on another node after a kill, and on the same node after a cut. */
  readonly perSecondKilled: number;
  readonly perSecondCut: number;
  /** CPU time of the other node for each client after the kill: of all threads, and of the event loop's, in µs. */
  readonly cpuMicros: number;
  readonly loopMicros: number;
  readonly recovered: number;
  readonly missing: number;
  readonly gaps: number;
  /** Calls of the hook when the clients first connected. */
  readonly callsBefore: number;
  /** Calls of the hook by clients that came back. */
  readonly callsInStorm: number;
  /** Tokens that the other node has accepted, by how it knew that their signatures are right. */
  readonly verified: string;
}

const signing = await Promise.all(
  ["EdDSA", "RS256", "ES256"].map((alg) => makeSigningKey(alg, alg)),
);
await using keys = await KeyServer.start(signing.map(({ jwk }) => jwk));
await using backend = await HookBackend.start(
  result({ user: "ann", expiresAt: Date.now() + 3_600_000, caps: CAPS }),
);
const ofKeySet = signing.map(({ jwk, sign }): Kind => ({
  name: `tokens, ${jwk.alg}`,
  env: { TOKEN_JWKS_URL: keys.url },
  sign: (claims) => sign(claims),
}));
const known: readonly Kind[] = [
  { name: "nothing", env: {} },
  { name: "tokens, HS256", env: { TOKEN_SECRET: SECRET }, sign: makeToken },
  ...ofKeySet,
  ...ofKeySet.map((kind) => ({
    ...kind,
    name: `${kind.name}, no seals`,
    secret: SHORT,
  })),
  { name: "connect hook", env: { CONNECT_HOOK_URL: backend.url() } },
];
const kinds = known.filter(({ name }) => chosen.test(name));
const [none] = kinds;
// The first storms warm up, and do not count.
if (none !== undefined) await storms(none);
const found: Storms[] = [];
for (let round = 0; round < rounds; round++) {
  for (const kind of kinds) found.push(await storms(kind));
}
console.table(found);
const medianOf = (
  { name }: Kind,
  figure: "perSecondKilled" | "perSecondCut" | "cpuMicros" | "loopMicros",
): number =>
  Math.round(median(
    found.filter((storm) => storm.with === name).map((storm) => storm[figure]),
  ));
console.table(kinds.map((kind) => {
  const slower = (figure: "perSecondKilled" | "perSecondCut"): string => {
    const ratio = medianOf(kind, figure) / medianOf(none ?? kind, figure);
    return `${(100 * (1 - ratio)).toFixed(1)} %`;
  };
  return {
    with: kind.name,
    killed: medianOf(kind, "perSecondKilled"),
    slower: slower("perSecondKilled"),
    cpuMicros: medianOf(kind, "cpuMicros"),
    loopMicros: medianOf(kind, "loopMicros"),
    cut: medianOf(kind, "perSecondCut"),
    "slower, cut": slower("perSecondCut"),
  };
}));
const isGood = found.every((storm) =>
  storm.recovered === clients && storm.missing === 0 && storm.gaps === 0 &&
  storm.callsInStorm === 0
);
const areSealed = ofKeySet.every(({ name }) =>
  found.filter((storm) => storm.with === name)
    .every(({ verified }) => !verified.includes("signature"))
);
Deno.exit(isGood && areSealed ? 0 : 1);

async function storms({ name, env, sign, secret = LONG }: Kind): Promise<
  Storms
> {
  await using redis = await Redis.start();
  const settings = {
    REDIS_URL: redis.url,
    CHANNELS: "-",
    PUBLISH_KEYS: `web:${secret}`,
    ...env,
  };
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
      for (const room of ROOMS) {
        const key = { authorization: `Bearer ${secret}` };
        await other.publish("x".repeat(50), room, key);
      }
    }
  };
  const allHave = async () => {
    const isBehind = ({ received }: RawClient) => received < published;
    try {
      await until(
        "all clients have all messages",
        () => !all.some(isBehind),
        TIMEOUT_MS,
      );
    } catch (error) {
      console.log(`With ${name}, these clients lack messages of ${published}:`);
      console.table(
        all.filter(isBehind).slice(0, 20).map((client) => {
          const { received, recovered, joined, gaps, state, connects } = client;
          return {
            received,
            recovered,
            joined,
            gaps: `${gaps}`,
            state,
            connects,
          };
        }),
      );
      throw error;
    }
  };
  /** Lets all clients come back after a while. Resolves to how many were back per second, and what each has cost. */
  const comeBack = async () => {
    for (const client of all) client.cut();
    await publish(MISSED);
    const [cpu, loop] = [await other.cpuSeconds(), await other.loopSeconds()];
    const start = performance.now();
    for (const client of all) client.connect(other.port);
    await allHave();
    const seconds = (performance.now() - start) / 1000;
    return {
      perSecond: Math.round(clients / seconds),
      cpuMicros: (await other.cpuSeconds() - cpu) / clients * 1e6,
      loopMicros: (await other.loopSeconds() - loop) / clients * 1e6,
    };
  };
  await publish(1);
  await allHave();
  doomed.signal("SIGKILL");
  const { perSecond: perSecondKilled, ...used } = await comeBack();
  const recovered = all.filter(({ recovered }) => recovered);
  const { perSecond: perSecondCut } = await comeBack();
  const { text } = await other.get("/metrics");
  const verified = text.match(/(?<=^roomcast_tokens_verified_total).*$/gm);
  for (const client of all) client.cut();
  return {
    with: name,
    perSecondKilled,
    perSecondCut,
    ...used,
    recovered: recovered.filter(({ recovered }) => recovered).length,
    missing: all.filter(({ received }) => received !== published).length,
    gaps: all.filter(({ gaps }) => gaps.length > 0).length,
    callsBefore,
    callsInStorm: backend.calls.items.length - calls - callsBefore,
    verified: (verified ?? []).join(" "),
  };
}
