/**
 * The long forms of the first test in `tests/e2e/bridge_test.ts`, of `tests/e2e/client_chaos_test.ts` and of
 * `tests/e2e/rooms_chaos_test.ts`. Run with `deno task chaos [seconds of each]`.
 */
// deno-lint-ignore-file no-console -- a program that prints its finding
import { makeChaos } from "../support/bridge_chaos.ts";
import { disturbClients } from "../support/client_chaos.ts";
import { disturbRooms } from "../support/rooms_chaos.ts";

const [seconds = 60] = Deno.args.map(Number);
if (!(seconds >= 1)) {
  throw new TypeError("Cannot make chaos: the seconds are no number from 1 on");
}
const bridge = await makeChaos({ seconds, perSecond: 500 });
const { sent, messages, complete } = bridge;
console.log("PUBLISH, done:", JSON.stringify(bridge.done));
console.log(
  `${sent.length} published, ${messages.length} in the room, ${
    complete ? "no gap" : "a gap"
  }`,
);
const first = sent.findIndex((payload, i) => messages[i] !== payload);
if (first >= 0 || messages.length !== sent.length || !complete) {
  console.log(
    `red: the first difference is at ${first}: ${messages[first]} instead of ${
      sent[first]
    }`,
  );
  Deno.exitCode = 1;
} else console.log("green: every payload once, in the order published");

const { published, disconnects, wrong, done } = await disturbClients({
  seconds,
  bufferBytesMax: 300_000,
});
console.log("clients, done:", JSON.stringify(done));
console.log(`${published} published, ${disconnects} disconnects`);
if (wrong.length > 0) {
  console.log(`red: ${wrong.join("; ")}`);
  Deno.exitCode = 1;
} else console.log("green: every client got every message once, in order");

const rooms = await disturbRooms({ seconds });
console.log("rooms, done:", JSON.stringify(rooms.done));
console.log(
  `${rooms.published} published, ${rooms.joins} joins, ` +
    `${rooms.returns} returns, ${rooms.recovered} recovered, ` +
    `${rooms.again} messages of an answer to a join again`,
);
if (rooms.wrong.length > 0 || rooms.recovered < rooms.returns) {
  console.log(`red: ${rooms.wrong.join("; ")}`);
  Deno.exitCode = 1;
} else console.log("green: what clients were told of their rooms holds");
