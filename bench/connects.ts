/**
 * Measures what verifying tokens costs when clients connect: the connects per second, and the CPU time of the server for
 * each connect, without tokens and with tokens. Each client has a token of its own, with which it connects three times:
 * to a node that verifies the token (`first`), to another node, where it resumes its session (`elsewhere`), and to that
 * node again, which remembers the token (`again`). With tokens of a key set, the other node finds a seal in the session,
 * except for the kinds without seals. The kinds take turns, so that a machine that becomes slower or faster does not
 * favor one of them. Prints a table. `loopSlower` is how many fewer connects per second the event loop could serve;
 * signatures are verified on other threads, so `slower` is more if these have no processor of their own.
 *
 *     deno run -A bench/connects.ts [connects] [rounds] [kinds, as in "no tokens|HS256|ES256$"]
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a benchmark prints its results
import type { JWTPayload } from "jose";
import { RawClient } from "../tests/support/raw_client.ts";
import { TestNode } from "../tests/support/node.ts";
import { Redis } from "../tests/support/redis.ts";
import {
  KeyServer,
  makeSigningKey,
  makeToken,
  SECRET,
} from "../tests/support/tokens.ts";
import { until } from "../tests/support/wait.ts";
import { median } from "./fanout_results.ts";

const [connects = 3000, rounds = 6] = Deno.args.slice(0, 2).map(Number);
const chosen = new RegExp(Deno.args[2] ?? "");
/** Number of clients that connect at a time. */
const AT_A_TIME = 100;
const CAPS = [{ rooms: ["chat"], allow: ["sub"] }];
/** The connects of a client: whether it connects to the second node, and by what name they are printed. */
const WHEN = [[0, "first"], [1, "elsewhere"], [1, "again"]] as const;
/** A secret of a publish key that is long enough for seals, and one that is not. */
const [LONG, SHORT] = ["0123456789abcdef0123456789abcdef", "0123456789abcdef"];

/** A kind of credentials: what the nodes are told, and how the token of a client is made. */
interface Kind {
  readonly name: string;
  readonly env: Record<string, string>;
  readonly sign?: ((claims: JWTPayload) => Promise<string>) | undefined;
}

/** The measurements of one kind in one round. */
interface Finding {
  readonly perSecond: number;
  /** CPU time of the server for each connect: of all threads, and of the one that runs the event loop, in µs. */
  readonly cpuMicros: number;
  readonly loopMicros: number;
}

const signing = await Promise.all(
  ["EdDSA", "ES256", "RS256"].map((alg) => makeSigningKey(alg, alg)),
);
await using keys = await KeyServer.start(signing.map(({ jwk }) => jwk));
await using redis = await Redis.start();
const ofKeySet = (suffix: string, secret: string) =>
  signing.map(({ jwk, sign }): Kind => ({
    name: `${jwk.alg}${suffix}`,
    env: {
      TOKEN_JWKS_URL: keys.url,
      TOKEN_AUDIENCE: "roomcast",
      PUBLISH_KEYS: `web:${secret}`,
    },
    sign: (claims) => sign(claims),
  }));
const kinds = [
  { name: "no tokens", env: { PUBLISH_KEYS: `web:${LONG}` } },
  {
    name: "HS256",
    env: { TOKEN_SECRET: SECRET, PUBLISH_KEYS: `web:${LONG}` },
    sign: makeToken,
  },
  ...ofKeySet("", LONG),
  ...ofKeySet(", no seals", SHORT),
].filter(({ name }) => chosen.test(name));
const nodes = new Map<Kind, readonly TestNode[]>();
for (const [index, kind] of kinds.entries()) {
  const env = {
    ...kind.env,
    REDIS_URL: redis.url,
    // The nodes of each kind are a cluster of their own.
    KEY_PREFIX: `kind-${index}`,
    CHANNELS: "-",
  };
  nodes.set(kind, [await TestNode.start(env), await TestNode.start(env)]);
}
/** The findings of each kind, for each connect of a client. */
const findings = new Map<string, Finding[]>();
// The first round warms up, and does not count.
for (let round = 0; round <= rounds; round++) {
  for (const kind of kinds) {
    const clients = await makeClients(kind, round);
    for (const [index, when] of WHEN) {
      const node = nodes.get(kind)?.[index];
      if (node === undefined) throw new Error("there is no node");
      const finding = await measure(node, clients);
      const name = `${kind.name}, ${when}`;
      if (round === 0) findings.set(name, []);
      else findings.get(name)?.push(finding);
    }
  }
}
const rows = [...findings].map(([name, found]) => ({
  name,
  perSecond: median(found.map(({ perSecond }) => perSecond)),
  cpuMicros: median(found.map(({ cpuMicros }) => cpuMicros)),
  loopMicros: median(found.map(({ loopMicros }) => loopMicros)),
}));
const percent = (ratio: number): string => `${(100 * ratio).toFixed(1)} %`;
console.table(rows.map(({ name, perSecond, cpuMicros, loopMicros }, index) => {
  // The first rows are those without tokens.
  const none = rows[index % WHEN.length];
  return {
    name,
    perSecond: Math.round(perSecond),
    slower: none && percent(1 - perSecond / none.perSecond),
    cpuMicros: Math.round(cpuMicros),
    loopMicros: Math.round(loopMicros),
    loopSlower: none && percent(1 - none.loopMicros / loopMicros),
  };
}));
for (const node of [...nodes.values()].flat()) {
  await node[Symbol.asyncDispose]();
}

/** Creates the clients of a round. Each has a token that no client had before. */
function makeClients(
  { sign }: Kind,
  round: number,
): Promise<readonly RawClient[]> {
  return Promise.all(Array.from({ length: connects }, async (_, i) => {
    const claims = { sub: "ann", aud: "roomcast", jti: `${round}/${i}` };
    return new RawClient(["chat"], await sign?.({ ...claims, caps: CAPS }));
  }));
}

/** Connects clients to a node, some at a time. Each leaves as soon as it is in its room. */
async function measure(
  node: TestNode,
  clients: readonly RawClient[],
): Promise<Finding> {
  const [cpu, loop] = [await node.cpuSeconds(), await node.loopSeconds()];
  const start = performance.now();
  const waiting = clients.values();
  const connectNext = async (): Promise<void> => {
    for (const client of waiting) {
      const { joined, pid } = client;
      client.connect(node.port);
      await until("the client has joined", () => client.joined > joined);
      client.cut();
      if (pid !== undefined && !client.recovered) {
        throw new Error("a client has not resumed its session");
      }
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, connectNext));
  const seconds = (performance.now() - start) / 1000;
  return {
    perSecond: connects / seconds,
    cpuMicros: (await node.cpuSeconds() - cpu) / connects * 1e6,
    loopMicros: (await node.loopSeconds() - loop) / connects * 1e6,
  };
}
