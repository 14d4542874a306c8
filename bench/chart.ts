/**
 * Draws `docs/images/fanout.svg` from `docs/images/fanout.json`, which `bench/fanout.ts` writes, and prints the rows of
 * the table in `docs/performance.md`.
 *
 *     deno run -A bench/chart.ts
 *
 * @module
 */
// deno-lint-ignore-file no-console -- prints a table for a document
import {
  type FanoutLoad,
  type FanoutResults,
  formatRatios,
  median,
  ratios,
  tableRows,
} from "./fanout_results.ts";

const WIDTH = 800;
const LEFT = 170;
/** Width of the space to the right of the longest bar, in which the figures are written. */
const RIGHT = 190;
const TOP = 66;
const BAR_HEIGHT = 22;
const BAR_GAP = 4;
const GROUP_GAP = 22;
/** The server whose bars have a color. Next to these bars, the chart shows the ratio to {@linkcode REFERENCE}. */
const OURS = "roomcast";
const REFERENCE = "stock";

/**
 * The style sheet of the chart, with colors for a light and a dark color scheme. Browsers apply the reader's scheme
 * even if the chart is an image in a page.
 */
const STYLE = `
  text { font: 14px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #1f2a26; }
  .title { font-size: 16px; font-weight: 600; }
  .note { fill: #5b6762; font-size: 13px; }
  .ours { fill: #0b7a5c; }
  .other { fill: #b4beb9; }
  .ratio { font-weight: 600; fill: #0b6e53; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e4ebe7; }
    .note { fill: #9fada6; }
    .ours { fill: #38c79a; }
    .other { fill: #55625c; }
    .ratio { fill: #5fdcb3; }
  }`;

/** Returns the loads that the chart shows: those with all clients in one room and without additional bytes. */
export function charted({ loads }: FanoutResults): FanoutLoad[] {
  return loads.filter(({ rooms, additionalBytes }) =>
    rooms === 1 && additionalBytes === 0
  );
}

/** Returns the chart as an SVG document. Each load has a group of bars, with one bar for each server. */
export function drawChart(results: FanoutResults): string {
  const loads = charted(results);
  const names = Object.keys(results.servers);
  const most = Math.max(
    ...loads.flatMap(({ perCpuSecond }) =>
      Object.values(perCpuSecond).map(median)
    ),
  );
  const groupHeight = names.length * (BAR_HEIGHT + BAR_GAP) + GROUP_GAP;
  const height = TOP + loads.length * groupHeight + 6;
  const groups = loads.map((load, index) =>
    drawGroup(results, load, {
      y: TOP + index * groupHeight,
      scale: (WIDTH - LEFT - RIGHT) / most,
    })
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="title description">
<title id="title">Deliveries per second of the server's CPU</title>
<desc id="description">${
    loads.map((load) => describe(results, load)).join(" ")
  }</desc>
<style>${STYLE}
</style>
<text class="title" x="16" y="26">Thousands of deliveries per second of the server's CPU</text>
<text class="note" x="16" y="46">${
    loads[0]?.clients.toLocaleString("en")
  } clients in one room, by number of messages in flight</text>
${groups.join("\n")}
</svg>
`;
}

function drawGroup(
  { servers }: FanoutResults,
  load: FanoutLoad,
  { y, scale }: { y: number; scale: number },
): string {
  const lines = Object.entries(servers).flatMap(([name, title], index) => {
    const top = y + index * (BAR_HEIGHT + BAR_GAP);
    const value = median(load.perCpuSecond[name] ?? []);
    const width = Math.max(1, Math.round(value * scale));
    const baseline = top + BAR_HEIGHT / 2 + 5;
    const ratio = name === OURS
      ? ` <tspan class="ratio" dx="6">${
        formatRatios(ratios(load, OURS, REFERENCE))
      } times</tspan>`
      : "";
    return [
      `<text x="${
        LEFT - 10
      }" y="${baseline}" text-anchor="end">${title}</text>`,
      `<rect class="${
        name === OURS ? "ours" : "other"
      }" x="${LEFT}" y="${top}" width="${width}" height="${BAR_HEIGHT}" rx="3"/>`,
      `<text x="${LEFT + width + 8}" y="${baseline}">${
        thousands(value)
      }${ratio}</text>`,
    ];
  });
  const middle = y +
    (Object.keys(servers).length * (BAR_HEIGHT + BAR_GAP) - BAR_GAP) / 2;
  return [
    `<text class="title" x="16" y="${middle + 5}">${load.inFlight}</text>`,
    ...lines,
  ].join("\n");
}

function describe({ servers }: FanoutResults, load: FanoutLoad): string {
  const values = Object.entries(servers).map(([name, title]) =>
    `${title} ${thousands(median(load.perCpuSecond[name] ?? []))}`
  );
  return `${load.inFlight} in flight: ${values.join(", ")} thousand.`;
}

function thousands(value: number): string {
  return Math.round(value / 1000).toLocaleString("en");
}

if (import.meta.main) {
  const images = new URL("../docs/images/", import.meta.url);
  const results = JSON.parse(
    await Deno.readTextFile(new URL("fanout.json", images)),
  );
  await Deno.writeTextFile(
    new URL("fanout.svg", images),
    drawChart(results),
  );
  for (const row of tableRows(results)) console.log(`| ${row.join(" | ")} |`);
}
