/**
 * The long form of `tests/e2e/fuzz_test.ts`: malformed frames, packets, bodies, tokens and requests.
 *
 *     deno task fuzz                  100,000 cases with a new seed
 *     deno task fuzz 17               100,000 cases with this seed
 *     deno task fuzz 17 1 4711        case 4711 of this seed alone, and what it sends
 */
// deno-lint-ignore-file no-console -- a program prints its result
import { caseOf, fuzz, type FuzzResult } from "../support/fuzz/fuzz.ts";

const [
  seed = Math.floor(Math.random() * 1e9),
  count = 100_000,
  first = 0,
] = Deno.args.map(Number);
if (![seed, count, first].every(Number.isInteger)) {
  throw new TypeError(
    "Cannot fuzz: an argument is not an integer; pass the seed, the number of cases and the number of the first",
  );
}

function run(count: number, first: number): Promise<FuzzResult> {
  return fuzz({
    seed,
    count,
    first,
    hangMs: 1000,
    memoryMax: 1 << 30,
    waitsForEnd: count > 1000,
    onProgress: (done) => {
      if (done > 0 && Deno.stderr.isTerminal()) console.error(`${done} done`);
    },
  });
}

/** Runs each of the cases alone, and returns those that fail. */
async function culprits(cases: readonly number[]): Promise<number[]> {
  const found: number[] = [];
  for (const number of cases) {
    if ((await run(1, number)).wrong.length > 0) found.push(number);
  }
  return found;
}

console.log(`seed ${seed}, cases ${first} to ${first + count - 1}`);
const start = performance.now();
const { wrong, canary, statuses, connected, memory } = await run(count, first);
const seconds = Math.round((performance.now() - start) / 1000);
console.log(
  `${seconds} s, ${connected} clients connected, statuses`,
  Object.fromEntries([...statuses].sort()),
);
console.log(
  `canary: ${canary.published} messages, waited at most ${canary.worstMs} ms; memory at the start, at most and at the end: ${
    memory.map((bytes) => `${Math.round(bytes / 2 ** 20)} MiB`).join(", ")
  }`,
);
if (count === 1) console.log(JSON.stringify(caseOf(seed, first), null, 2));
if (wrong.length === 0) console.log("green: the node survived all of them");
else {
  Deno.exitCode = 1;
  for (const { why, cases } of wrong.slice(0, 5)) {
    console.log(`red: seed ${seed}, cases ${cases.join(", ")}: ${why}`);
  }
  const suspects = wrong[0]?.cases ?? [];
  if (suspects.length > 1) {
    console.log(
      `red alone: ${(await culprits(suspects)).join(", ") || "none"}`,
    );
  }
}
