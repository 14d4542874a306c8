/**
 * Ids and positions: where a message stands in the log.
 *
 * @module
 */
import { ApiError } from "../errors.ts";

/** An id no entry can have: before all. */
export const ID_ZERO = "0-0";
/** An id no entry has: after all. */
export const ID_MAX = "999999999999999-999999999999999";

const NUMBER = "(?:0|[1-9]\\d{0,14})";
const ID = new RegExp(`^${NUMBER}-${NUMBER}$`);
const POSITION = new RegExp(`^([0-9a-z]{8,32})\\.(${NUMBER}-${NUMBER})$`);

/** Compares two ids of the log, `<milliseconds>-<sequence>`: negative, zero or positive, for `sort`. */
export function compareIds(a: string, b: string): number {
  if (a === b) return 0;
  const dashA = a.indexOf("-"), dashB = b.indexOf("-");
  return Number(a.slice(0, dashA)) - Number(b.slice(0, dashB)) ||
    Number(a.slice(dashA + 1)) - Number(b.slice(dashB + 1));
}

/** The later of two ids. */
export function laterId(a: string, b: string): string {
  return compareIds(a, b) < 0 ? b : a;
}

/** The earlier of two ids. */
export function earlierId(a: string, b: string): string {
  return compareIds(a, b) < 0 ? a : b;
}

/** The last id there can be before `id`, which is not {@linkcode ID_ZERO}. */
export function idBefore(id: string): string {
  const [ms = 0, seq = 0] = id.split("-").map(Number);
  return seq > 0 ? `${ms}-${seq - 1}` : `${ms - 1}-999999999999999`;
}

/** Milliseconds since 1970 by the log's clock: the first half of an id. */
export function timestampOf(id: string): number {
  return Number(id.slice(0, id.indexOf("-")));
}

/** A position: the log's epoch and an id of that epoch. Opaque to clients. */
export function formatPosition(epoch: string, id: string): string {
  return `${epoch}.${id}`;
}

/** The id of a position of ours. */
export function idOf(position: string): string {
  return position.slice(position.indexOf(".") + 1);
}

/**
 * Reads what a client sent as `since`: a position, or an id, which is taken to be of the current epoch.
 * Nothing else ever reaches the log, so that `$`, `-`, `+` or megabytes of digits cannot be asked of it.
 *
 * @throws {ApiError} `invalid_position`
 */
export function parsePosition(
  since: unknown,
): { epoch: string | undefined; id: string } {
  if (typeof since === "string" && since.length <= 64) {
    if (ID.test(since) && compareIds(since, ID_ZERO) > 0) {
      return { epoch: undefined, id: since };
    }
    const [, epoch, id] = POSITION.exec(since) ?? [];
    if (epoch !== undefined && id !== undefined) return { epoch, id };
  }
  throw new ApiError(
    "invalid_position",
    "Cannot read from there: it is neither a position nor an id; send one that Roomcast gave you",
  );
}

/** A new epoch's name: 16 random characters. */
export function newEpoch(): string {
  return crypto.randomUUID().replaceAll("-", "").slice(0, 16);
}
