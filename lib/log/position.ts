/**
 * Compares, reads and formats the ids of messages and positions in the log.
 *
 * @module
 */
import { ApiError } from "../errors.ts";

/** An id that is smaller than all others. No entry can have this id. */
export const ID_ZERO = "0-0";
/** An id that is greater than the id of every entry. */
export const ID_MAX = "999999999999999-999999999999999";

const NUMBER = "(?:0|[1-9]\\d{0,14})";
const ID = new RegExp(`^${NUMBER}-${NUMBER}$`);
const POSITION = new RegExp(`^([0-9a-z]{8,32})\\.(${NUMBER}-${NUMBER})$`);

/**
 * Compares two ids of the form `<milliseconds>-<sequence>`. Returns a negative number if `a` is smaller, zero if both
 * are equal, and a positive number if `a` is greater.
 */
export function compareIds(a: string, b: string): number {
  if (a === b) return 0;
  const dashA = a.indexOf("-"), dashB = b.indexOf("-");
  return Number(a.slice(0, dashA)) - Number(b.slice(0, dashB)) ||
    Number(a.slice(dashA + 1)) - Number(b.slice(dashB + 1));
}

/** Returns the later of two ids. */
export function laterId(a: string, b: string): string {
  return compareIds(a, b) < 0 ? b : a;
}

/** Returns the earlier of two ids. */
export function earlierId(a: string, b: string): string {
  return compareIds(a, b) < 0 ? a : b;
}

/** Returns the greatest id that is smaller than `id`. `id` must not be {@linkcode ID_ZERO}. */
export function idBefore(id: string): string {
  const [ms = 0, seq = 0] = id.split("-").map(Number);
  return seq > 0 ? `${ms}-${seq - 1}` : `${ms - 1}-999999999999999`;
}

/**
 * Returns the time in an id, in ms since 1970. It is the time at which the message was appended, by the log's clock.
 */
export function timestampOf(id: string): number {
  return Number(id.slice(0, id.indexOf("-")));
}

/** Returns the position `<epoch>.<id>`. */
export function formatPosition(epoch: string, id: string): string {
  return `${epoch}.${id}`;
}

/** Returns the id that a position contains. */
export function idOf(position: string): string {
  return position.slice(position.indexOf(".") + 1);
}

/**
 * Reads the value that a client has sent as `since`: a position or an id. If it is an id, `epoch` is undefined in the
 * result, and the id counts as one of the current epoch. Rejects any other value, so that values such as `$`, `+` or
 * megabytes of digits do not reach Redis.
 *
 * @throws {ApiError} `invalid_position` If the value is neither a position nor an id.
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
    'Cannot read from this position: "since" is neither a position nor a message id; send a value that Roomcast returned',
  );
}

/** Returns 16 random characters, as a name for a new epoch of the log. */
export function newEpoch(): string {
  return crypto.randomUUID().replaceAll("-", "").slice(0, 16);
}
