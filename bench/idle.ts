/**
 * Measures idle clients: how many can connect per second, the server's CPU time to connect a client, and its memory for
 * each client. Compares Roomcast, with sockets and with streams of Server-Sent Events, with stock Socket.IO on Node.
 * Prints a table.
 *
 *     deno run -A bench/idle.ts [clients] [rounds]
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a benchmark prints its results
import { TextLineStream } from "../tests/support/lines.ts";
import { TestNode } from "../tests/support/node.ts";
import { Redis } from "../tests/support/redis.ts";
import { soon } from "../tests/support/wait.ts";

/** How long the clients stay idle, in ms. In this time each client receives a ping and replies to the ping. */
const IDLE_MS = 35_000;
const CONNECT_TIMEOUT_MS = 60_000;
const [clients = 10_000, rounds = 1] = Deno.args.map(Number);

/** The measurements of one server in one round. */
interface Findings {
  readonly server: string;
  readonly connectsPerSecond: number;
  /** CPU time that the server needs to connect one client, in microseconds. */
  readonly connectCpuMicros: number;
  /** Resident memory of the server without clients, in MB. */
  readonly emptyMb: number;
  /** Additional memory of the server for each client directly after all clients have connected, in KiB. */
  readonly atOnceKib: number;
  /** Additional memory of the server for each client after the idle time, in KiB. */
  readonly idleKib: number;
}

const servers: Readonly<
  Record<string, (env: Record<string, string>) => Promise<TestNode>>
> = {
  roomcast: (env) => TestNode.start(env),
  streams: (env) => TestNode.start(env),
  stock: (env) =>
    TestNode.start(env, {
      ready: false,
      program: "node",
      script: "bench/peers/stock.mjs",
    }),
};

await using redis = await Redis.start();
const findings: Findings[] = [];
for (let round = 0; round < rounds; round++) {
  for (const [server, start] of Object.entries(servers)) {
    await using node = await start({ REDIS_URL: redis.url });
    findings.push({ server, ...await measure(node, server) });
  }
}
console.table(findings);

async function measure(
  node: TestNode,
  server: string,
): Promise<Omit<Findings, "server">> {
  const empty = await node.memory();
  const cpu = await node.cpuSeconds();
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "bench/idle_clients.ts", `${node.port}`, `${clients}`],
      ...server === "streams" ? [server] : [],
    ],
    cwd: new URL("../", import.meta.url),
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  try {
    const lines = child.stdout.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream()).getReader();
    const { value } = await soon(
      lines.read(),
      "all clients are connected",
      CONNECT_TIMEOUT_MS,
    );
    const { seconds } = JSON.parse(value ?? "");
    const connectCpu = await node.cpuSeconds() - cpu;
    const atOnce = await node.memory();
    await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
    const idle = await node.memory();
    return {
      connectsPerSecond: Math.round(clients / seconds),
      connectCpuMicros: Math.round(connectCpu / clients * 1e6),
      emptyMb: Math.round(empty / 1e6),
      atOnceKib: perClient(atOnce - empty),
      idleKib: perClient(idle - empty),
    };
  } finally {
    await child.stdin.close();
    await child.status;
  }
}

function perClient(bytes: number): number {
  return Math.round(bytes / clients / 102.4) / 10;
}
