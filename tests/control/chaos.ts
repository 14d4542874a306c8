/**
 * The long form of the first test in `tests/e2e/bridge_test.ts`. Run with `deno task chaos [seconds]`.
 */
// deno-lint-ignore-file no-console -- a program that prints its finding
import { makeChaos } from "../support/bridge_chaos.ts";

const [seconds = 60] = Deno.args.map(Number);
if (!(seconds >= 1)) {
  throw new TypeError("Cannot make chaos: the seconds are no number from 1 on");
}
const { sent, messages, complete, done } = await makeChaos({
  seconds,
  perSecond: 500,
});
console.log("done:", JSON.stringify(done));
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
