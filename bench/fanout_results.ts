/**
 * The results of `bench/fanout.ts`, as they are stored in `docs/images/fanout.json`. The figures in the documentation
 * and in `docs/images/fanout.svg` are made from these results.
 *
 * @module
 */

/** One load, with the deliveries of each server under this load. */
export interface FanoutLoad {
  readonly clients: number;
  readonly rooms: number;
  /** Number of messages that are published and not yet received by all subscribers of their room. */
  readonly inFlight: number;
  /** Number of bytes by which each message is longer than the shortest message of the benchmark. */
  readonly additionalBytes: number;
  /** Deliveries per second of the server's CPU time: one number for each run, by server. */
  readonly perCpuSecond: Readonly<Record<string, readonly number[]>>;
}

/**
 * The results of one call of the benchmark. Run `i` of one server took place right before or after run `i` of the other
 * servers.
 */
export interface FanoutResults {
  /** The day of the measurement, as YYYY-MM-DD. */
  readonly date: string;
  /** The command and the machine with which the results were measured, in one sentence. */
  readonly how: string;
  /** The names of the servers as readers see them. */
  readonly servers: Readonly<Record<string, string>>;
  readonly loads: readonly FanoutLoad[];
}

/** Returns the median of the values. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1
    ? upper
    : (upper + (sorted[middle - 1] ?? NaN)) / 2;
}

/** Returns the smallest and the largest ratio of two servers over all runs. Compares only values of the same run. */
export function ratios(
  { perCpuSecond }: FanoutLoad,
  server: string,
  reference: string,
): [least: number, most: number] {
  const values = (perCpuSecond[server] ?? []).map((value, run) =>
    value / (perCpuSecond[reference]?.[run] ?? NaN)
  );
  return [Math.min(...values), Math.max(...values)];
}

/**
 * Formats ratios as the documents write them: with one decimal below 10, otherwise rounded, for example "1.5 to 1.8" or
 * "13 to 15".
 */
export function formatRatios([least, most]: readonly [number, number]): string {
  const digits = most < 10 ? 1 : 0;
  const [from, to] = [least.toFixed(digits), most.toFixed(digits)];
  return from === to ? from : `${from} to ${to}`;
}

/** Returns the cells of the table in `docs/performance.md`: a row for each load, without the heading. */
export function tableRows({ loads }: FanoutResults): string[][] {
  const thousands = (values: readonly number[] = []) =>
    format(Math.round(median(values) / 1000));
  return loads.map((load) => [
    format(load.rooms),
    format(load.clients / load.rooms),
    format(load.inFlight),
    format(load.additionalBytes),
    thousands(load.perCpuSecond.stock),
    thousands(load.perCpuSecond.roomcast),
    formatRatios(ratios(load, "roomcast", "stock")),
  ]);
}

function format(value: number): string {
  return value.toLocaleString("en");
}
