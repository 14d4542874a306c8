/**
 * Measures what verifying tokens costs when clients connect: the connects per second, and the CPU time of the server for
 * each connect, without tokens and with tokens. Each client has a token of its own, with which it connects twice: the
 * node verifies the token at the first connect, and remembers it at the second. The kinds take turns, so that a machine
 * that becomes slower or faster does not favor one of them. Prints a table. `loopSlower` is how many fewer connects per
 * second the event loop could serve; signatures are verified on other threads, so `slower` is more if these have no
 * processor of their own.
 *
 *     deno run -A bench/connects.ts [connects] [rounds]
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a benchmark prints its results
import type { JWTPayload } from "jose";
import { RawClient } from "../tests/support/raw_client.ts";
import { TestNode } from "../tests/support/node.ts";
import {
  KeyServer,
  makeSigningKey,
  makeToken,
  SECRET,
} from "../tests/support/tokens.ts";
import { until } from "../tests/support/wait.ts";
import { median } from "./fanout_results.ts";

const [connects = 3000, rounds = 6] = Deno.args.map(Number);
/** Number of clients that connect at a time. */
const AT_A_TIME = 100;
const CAPS = [{ rooms: ["chat"], allow: ["sub"] }];

/** A kind of credentials: what the node is told, and how the token of a client is made. */
interface Kind {
  readonly name: string;
  readonly env: Record<string, string>;
  readonly sign?: (claims: JWTPayload) => Promise<string>;
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
const kinds: readonly Kind[] = [
  { name: "no tokens", env: {} },
  { name: "HS256", env: { TOKEN_SECRET: SECRET }, sign: makeToken },
  ...signing.map((key) => ({
    name: `key set, ${key.jwk.alg}`,
    env: { TOKEN_JWKS_URL: keys.url, TOKEN_AUDIENCE: "roomcast" },
    sign: key.sign,
  })),
];
const nodes = new Map<Kind, TestNode>();
for (const kind of kinds) nodes.set(kind, await TestNode.start(kind.env));
/** The findings of each kind, for the first and the second connect of each client. */
const findings = new Map<string, Finding[]>();
// The first round warms up, and does not count.
for (let round = 0; round <= rounds; round++) {
  for (const kind of kinds) {
    const tokens = await makeTokens(kind, round);
    for (const when of ["first", "again"]) {
      const finding = await measure(kind, tokens);
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
  // The first two rows are those without tokens.
  const none = rows[index % 2];
  return {
    name,
    perSecond: Math.round(perSecond),
    slower: none && percent(1 - perSecond / none.perSecond),
    cpuMicros: Math.round(cpuMicros),
    loopMicros: Math.round(loopMicros),
    loopSlower: none && percent(1 - none.loopMicros / loopMicros),
  };
}));
for (const node of nodes.values()) await node[Symbol.asyncDispose]();

/** Makes a token for each client of a round, which no client had before. */
function makeTokens(
  { sign }: Kind,
  round: number,
): Promise<readonly (string | undefined)[]> {
  return Promise.all(Array.from({ length: connects }, (_, i) => {
    const claims = { sub: "ann", aud: "roomcast", jti: `${round}/${i}` };
    return sign?.({ ...claims, caps: CAPS });
  }));
}

/** Connects clients to the kind's node, some at a time. Each leaves as soon as it has joined its room. */
async function measure(
  kind: Kind,
  tokens: readonly (string | undefined)[],
): Promise<Finding> {
  const node = nodes.get(kind);
  if (node === undefined) throw new Error("there is no node");
  const [cpu, loop] = [await node.cpuSeconds(), await node.loopSeconds()];
  const start = performance.now();
  const waiting = tokens.values();
  const connectNext = async (): Promise<void> => {
    for (const token of waiting) {
      const client = new RawClient(["chat"], token);
      client.connect(node.port);
      await until("the client has joined", () => client.joined === 1);
      client.cut();
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
