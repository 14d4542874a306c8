/** Checks that the figures of documents, and their chart, are those of the benchmark's results. */
import assert from "node:assert/strict";
import { charted, drawChart } from "../bench/chart.ts";
import {
  type FanoutResults,
  formatRatios,
  median,
  ratios,
  tableRows,
} from "../bench/fanout_results.ts";

const root = new URL("../", import.meta.url);

function read(path: string): string {
  return Deno.readTextFileSync(new URL(path, root));
}

const results: FanoutResults = JSON.parse(read("docs/images/fanout.json"));

Deno.test("docs/images/fanout.svg is the chart of docs/images/fanout.json", () => {
  assert.equal(read("docs/images/fanout.svg"), drawChart(results));
});

Deno.test("README.md names the ratios of docs/images/fanout.json", () => {
  const named = /delivers ((?:[\d.]+(?: to [\d.]+)?(?:, | and )?)+) times/.exec(
    read("README.md").replaceAll(/\s+/g, " "),
  );
  assert.deepEqual(
    named?.[1]?.split(/, | and /),
    charted(results).map((load) =>
      formatRatios(ratios(load, "roomcast", "stock"))
    ),
  );
});

Deno.test("docs/performance.md has the table of docs/images/fanout.json", () => {
  const rows = read("docs/performance.md").split("\n").filter((line) =>
    /^\|\s+\d/.test(line)
  ).map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
  assert.deepEqual(rows.slice(0, results.loads.length), tableRows(results));
  assert.ok(read("docs/performance.md").includes(results.date));
});

Deno.test("median() and formatRatios() round as the documents do", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.equal(formatRatios([1.52, 1.78]), "1.5 to 1.8");
  assert.equal(formatRatios([9.96, 13.2]), "10 to 13");
  assert.equal(formatRatios([13.4, 13.1]), "13");
});

Deno.test("the moving picture of README.md has at most 2 MB", () => {
  const { size } = Deno.statSync(new URL("docs/images/demo.gif", root));
  assert.ok(size > 0 && size <= 2_000_000);
});
