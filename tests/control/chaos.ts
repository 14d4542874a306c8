/**
 * The long forms of the first test in `tests/e2e/bridge_test.ts`, of `tests/e2e/client_chaos_test.ts`, of
 * `tests/e2e/rooms_chaos_test.ts` and of `tests/e2e/failover_chaos_test.ts`.
 *
 *     deno task chaos [seconds of each]
 *     deno task chaos failover            fail-overs only, 40 runs with new seeds
 *     deno task chaos failover 17 4711    the runs of these seeds again
 */
// deno-lint-ignore-file no-console -- a program prints its result
import { makeChaos } from "../support/bridge_chaos.ts";
import { disturbClients } from "../support/client_chaos.ts";
import { failOverAll, newSeeds } from "../support/failover_chaos.ts";
import { disturbRooms } from "../support/rooms_chaos.ts";

/** Prints `held` as a success if `wrong` is empty. Otherwise prints `wrong` and sets the exit code to 1. */
function conclude(wrong: readonly string[], held: string): void {
  if (wrong.length === 0) return console.log(`green: ${held}`);
  console.log(`red: ${wrong.join("; ")}`);
  Deno.exitCode = 1;
}

async function disturbBridge(seconds: number): Promise<void> {
  const { sent, messages, complete, done } = await makeChaos({
    seconds,
    perSecond: 500,
  });
  console.log("PUBLISH, done:", JSON.stringify(done));
  console.log(
    `${sent.length} published, ${messages.length} in the room, ${
      complete ? "no gap" : "a gap"
    }`,
  );
  const first = sent.findIndex((payload, i) => messages[i] !== payload);
  const same = first < 0 && messages.length === sent.length && complete;
  conclude(
    same ? [] : [
      `the first difference is at ${first}: ${messages[first]} instead of ${
        sent[first]
      }`,
    ],
    "every payload once, in the order published",
  );
}

async function disturbReaders(seconds: number): Promise<void> {
  const { published, disconnects, wrong, done } = await disturbClients({
    seconds,
    bufferBytesMax: 300_000,
  });
  console.log("clients, done:", JSON.stringify(done));
  console.log(`${published} published, ${disconnects} disconnects`);
  conclude(wrong, "every client got every message once, in order");
}

async function disturbMembers(seconds: number): Promise<void> {
  const rooms = await disturbRooms({ seconds });
  const { published, joins, returns, recovered, again, wrong } = rooms;
  console.log("rooms, done:", JSON.stringify(rooms.done));
  console.log(
    `${published} published, ${joins} joins, ${returns} returns, ` +
      `${recovered} recovered, ${again} messages of an answer to a join again`,
  );
  conclude(
    recovered < returns ? [...wrong, "a return was not recovered"] : wrong,
    "what nodes confirmed to clients about their rooms holds",
  );
}

/** Runs the failover plans of these seeds, and prints each failed run as soon as it ends. */
async function failOver(seeds: readonly number[]): Promise<void> {
  const outcomes = await failOverAll(seeds, ({ plan, wrong, evidence }) => {
    if (wrong.length > 0) console.log([plan, ...wrong, ...evidence].join("\n"));
  });
  const sum = (
    count: (outcome: typeof outcomes[number]) => number,
  ): number => outcomes.reduce((all, outcome) => all + count(outcome), 0);
  console.log(
    `${outcomes.length} runs, ${sum(({ acknowledged }) => acknowledged)} ` +
      `acknowledged, ${sum(({ notified }) => notified)} losses reported ` +
      `(${
        sum(({ notifiedEarly }) => notifiedEarly)
      } before the acknowledgement), ` +
      `${sum(({ returns }) => returns)} returns, ` +
      `${sum(({ recovered }) => recovered)} recovered, ` +
      `${sum(({ again }) => again)} messages of an answer to a join again`,
  );
  const red = outcomes.filter(({ wrong }) => wrong.length > 0);
  conclude(
    red.map(({ seed }) => `seed ${seed}`),
    "every client has every message or received a gap",
  );
}

const [first = "60", ...seeds] = Deno.args;
if (first === "failover") {
  await failOver(seeds.length > 0 ? seeds.map(Number) : newSeeds(40));
} else {
  const seconds = Number(first);
  if (!(seconds >= 1)) {
    throw new TypeError(
      "Cannot make chaos: the number of seconds is not at least 1; pass a number such as 60",
    );
  }
  await disturbBridge(seconds);
  await disturbReaders(seconds);
  await disturbMembers(seconds);
  // Three run at a time, and most take 10 s.
  await failOver(newSeeds(Math.ceil(seconds * 3 / 10)));
}
