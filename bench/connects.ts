/**
 * Measures what verifying tokens costs when clients connect: the connects per second, and the CPU time of the server for
 * each connect, without tokens and with tokens. The kinds take turns, so that a machine that becomes slower or faster
 * does not favor one of them. Prints a table.
 *
 *     deno run -A bench/connects.ts [connects] [rounds]
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a benchmark prints its results
import { RawClient } from "../tests/support/raw_client.ts";
import { TestNode } from "../tests/support/node.ts";
import {
  KeyServer,
  makeSigningKey,
  makeToken,
  SECRET,
} from "../tests/support/tokens.ts";
import { until } from "../tests/support/wait.ts";

const [connects = 3000, rounds = 6] = Deno.args.map(Number);
/** Number of clients that connect at a time. */
const AT_A_TIME = 100;
const CAPS = [{ rooms: ["chat"], allow: ["sub"] }];

/** A kind of credentials: what the node is told, and the token of each client. */
interface Kind {
  readonly name: string;
  readonly env: Record<string, string>;
  readonly token: string | undefined;
}

/** The measurements of one kind in one round. */
interface Finding {
  readonly perSecond: number;
  readonly cpuMicros: number;
}

const signing = [
  await makeSigningKey("es", "ES256"),
  await makeSigningKey("ed", "EdDSA"),
];
await using keys = await KeyServer.start(signing.map(({ jwk }) => jwk));
const claims = { sub: "ann", aud: "roomcast", caps: CAPS };
const kinds: readonly Kind[] = [
  { name: "no tokens", env: {}, token: undefined },
  {
    name: "HS256",
    env: { TOKEN_SECRET: SECRET },
    token: await makeToken(claims),
  },
  ...await Promise.all(signing.map(async (key) => ({
    name: `key set, ${key.jwk.alg}`,
    env: { TOKEN_JWKS_URL: keys.url, TOKEN_AUDIENCE: "roomcast" },
    token: await key.sign(claims),
  }))),
];
const nodes = new Map<Kind, TestNode>();
for (const kind of kinds) nodes.set(kind, await TestNode.start(kind.env));
const findings = new Map<Kind, Finding[]>(kinds.map((kind) => [kind, []]));
// The first round warms up, and does not count.
for (let round = 0; round <= rounds; round++) {
  for (const kind of kinds) {
    const finding = await measure(kind);
    if (round > 0) findings.get(kind)?.push(finding);
  }
}
const median = (kind: Kind, of: keyof Finding): number => {
  const values = (findings.get(kind) ?? []).map((finding) => finding[of])
    .sort((a, b) => a - b);
  return values[Math.floor(values.length / 2)] ?? NaN;
};
const [none] = kinds;
console.table(kinds.map((kind) => ({
  kind: kind.name,
  perSecond: Math.round(median(kind, "perSecond")),
  cpuMicros: Math.round(median(kind, "cpuMicros")),
  slower: none &&
    `${
      (100 * (1 - median(kind, "perSecond") / median(none, "perSecond")))
        .toFixed(1)
    } %`,
})));
for (const node of nodes.values()) await node[Symbol.asyncDispose]();

/** Connects clients to the kind's node, some at a time. Each leaves as soon as it has joined its room. */
async function measure(kind: Kind): Promise<Finding> {
  const node = nodes.get(kind);
  if (node === undefined) throw new Error("there is no node");
  const cpu = await node.cpuSeconds();
  const start = performance.now();
  let begun = 0;
  const connectNext = async (): Promise<void> => {
    while (begun < connects) {
      begun++;
      const client = new RawClient(["chat"], kind.token);
      client.connect(node.port);
      await until("the client has joined", () => client.joined === 1);
      client.cut();
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, connectNext));
  const seconds = (performance.now() - start) / 1000;
  const used = await node.cpuSeconds() - cpu;
  return { perSecond: connects / seconds, cpuMicros: used / connects * 1e6 };
}
