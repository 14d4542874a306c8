/**
 * The results of `bench/fanout.ts`, as they are stored in `docs/images/fanout.json`. The figures of the documents and
 * `docs/images/fanout.svg` are made from them.
 *
 * @module
 */

/** One load, and what each server delivered in it. */
export interface FanoutLoad {
  readonly clients: number;
  readonly rooms: number;
  /** Messages published but not yet received by all subscribers of their room. */
  readonly inFlight: number;
  /** Bytes of a message beyond a few that are always there. */
  readonly additionalBytes: number;
  /** Deliveries per second of the server's CPU time: one number for each run, by server. */
  readonly perCpuSecond: Readonly<Record<string, readonly number[]>>;
}

/** All loads of one call. Run `i` of all servers took place in turn. */
export interface FanoutResults {
  /** The day of the measurement, as YYYY-MM-DD. */
  readonly date: string;
  /** How it was measured, in one sentence: the command and the machine. */
  readonly how: string;
  /** The servers by name, with what readers call them. */
  readonly servers: Readonly<Record<string, string>>;
  readonly loads: readonly FanoutLoad[];
}

/** Returns the middle value. */
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
