/**
 * Makes the load of `bench/fanout.ts`: runs subscribers and a publisher in a process of their own, so that their CPU
 * time does not count as the server's.
 *
 *     deno run -A bench/fanout_load.ts <port> <clients> <rooms> <in flight> <bytes> <seconds>
 *
 * Always keeps `<in flight>` messages published that not all subscribers of their rooms have received yet. Prints
 * `{"kind":"ready"}` after a warm-up, `{"kind":"done","deliveries":…}` after the measurement, and
 * `{"kind":"whole","wrong":…}` when everything is delivered.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a benchmark prints its results
import { RawClient } from "../tests/support/raw_client.ts";
import { until } from "../tests/support/wait.ts";

const [
  port = 0,
  clients = 1000,
  rooms = 1,
  inFlight = 1,
  bytes = 0,
  seconds = 4,
] = Deno.args.map(Number);
const WARM_UP_MS = 1500;
const members = clients / rooms;
let published = 0, received = 0, going = true;

const all = Array.from(
  { length: clients },
  (_, i) => new RawClient([`room-${i % rooms}`]),
);
for (let i = 0; i < clients; i += 200) {
  for (const client of all.slice(i, i + 200)) client.connect(port);
  await until(
    "the clients have joined",
    () => all.slice(0, i + 200).every(({ joined, pid }) => joined > 0 && pid),
  );
}
for (const client of all) {
  client.got = () => {
    if (++received % members === 0) publish();
  };
}

function publish(): void {
  while (going && published * members - received < inFlight * members) {
    const room = `room-${published++ % rooms}`;
    void send(room, `T${performance.now()}${"x".repeat(bytes)}`);
  }
}

async function send(room: string, message: string): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${port}/publish`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ room, message }),
  });
  if (response.status !== 200) throw new Error(await response.text());
  await response.body?.cancel();
}

publish();
await new Promise((resolve) => setTimeout(resolve, WARM_UP_MS));
console.log(JSON.stringify({ kind: "ready" }));
const before = received, start = performance.now();
await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
const deliveries = received - before;
console.log(JSON.stringify({
  kind: "done",
  deliveries,
  perSecond: deliveries / (performance.now() - start) * 1000,
}));
going = false;
await until(
  "all messages are delivered",
  () => received >= published * members,
);
console.log(JSON.stringify({
  kind: "whole",
  wrong: received - published * members +
    all.reduce((sum, { disordered }) => sum + disordered, 0),
}));
for (const client of all) client.cut();
Deno.exit(0);
