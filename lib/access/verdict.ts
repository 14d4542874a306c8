/**
 * Verdicts: what the connect hook has decided about a client.
 *
 * A verdict is kept in the client's session, so that the hook is not asked again when the client resumes the session.
 * Both the hook's response and a kept verdict are checked strictly. Otherwise a missing or misspelled field could give
 * a client more rights than the hook intended.
 *
 * @module
 */
import { isFields } from "../util/fields.ts";
import { jsonBytes } from "../util/json_bytes.ts";
import { adviceFor } from "../util/nearest.ts";
import {
  readCaps,
  readName,
  readTexts,
  TIME_MAX,
  TIME_MS_MIN,
  WrongForm,
} from "./forms.ts";

/** What the connect hook has decided about a client, in the form in which the session keeps it. */
export interface Verdict {
  /** The user; null if the client has no user. */
  readonly user: string | null;
  /**
   * Time at which the hook was asked, in ms since 1970. If the user is revoked while the hook responds, the verdict is
   * revoked, too.
   */
  readonly issuedAt: number;
  /** Time at which the hook has to be asked again, in ms since 1970; undefined if it need not be. */
  readonly expiresAt?: number;
  readonly info?: unknown;
  /** Rooms that the client joins when it connects, besides those that it names. */
  readonly rooms?: readonly string[];
  /** Rights, as in the claim `caps` of a token. */
  readonly caps?: unknown;
}

/** Maximum size of a verdict as JSON text, in bytes. The session of each client keeps its verdict. */
const VERDICT_BYTES_MAX = 8192;
const FIELDS = ["user", "expiresAt", "info", "rooms", "caps"];

/**
 * Reads the result of the connect hook.
 *
 * @param issuedAt Time at which the hook was asked, in ms since 1970.
 * @throws {WrongForm} if it has another form, an unknown field or more than {@linkcode VERDICT_BYTES_MAX} bytes
 */
export function readVerdict(result: unknown, issuedAt: number): Verdict {
  const fields = readFields(result, FIELDS, VERDICT_BYTES_MAX);
  if (!Object.hasOwn(fields, "user")) {
    throw new WrongForm('"user" is missing; use null for a client without one');
  }
  const { user, info, rooms, caps } = fields;
  const expiresAt = readExpiry(fields.expiresAt);
  if (caps !== undefined) readCaps(caps);
  return {
    user: user === null ? null : readName("user", user),
    issuedAt,
    ...expiresAt !== undefined && { expiresAt },
    ...info !== undefined && { info },
    ...rooms !== undefined && { rooms: readTexts("rooms", rooms) },
    ...caps !== undefined && { caps },
  };
}

/** Reads a verdict that a session has kept. Returns undefined if the value is not a verdict. */
export function readKeptVerdict(kept: unknown): Verdict | undefined {
  if (!isFields(kept)) return undefined;
  const { issuedAt, ...result } = kept;
  if (!Number.isSafeInteger(issuedAt)) return undefined;
  try {
    return readVerdict(result, Number(issuedAt));
  } catch (error) {
    if (error instanceof WrongForm) return undefined;
    throw error;
  }
}

/**
 * Reads a JSON object that has no other fields than those in `known`. An unknown field may be a misspelled one that
 * limits something, such as `expires_at`.
 *
 * @param bytesMax Maximum size of the object as JSON text, in bytes; no limit if not given.
 * @throws {WrongForm}
 */
export function readFields(
  result: unknown,
  known: readonly string[],
  bytesMax?: number,
): Readonly<Record<string, unknown>> {
  if (!isFields(result)) throw new WrongForm('"result" is not an object');
  const unknown = Object.keys(result).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new WrongForm(
      `"result" has an unknown field; ${adviceFor(unknown, { known })}`,
    );
  }
  if (bytesMax !== undefined && jsonBytes(result) > bytesMax) {
    throw new WrongForm(`"result" has more than ${bytesMax} bytes`);
  }
  return result;
}

/** Reads the time at which a hook's answer expires. @throws {WrongForm} */
export function readExpiry(time: unknown): number | undefined {
  if (time === undefined) return undefined;
  if (typeof time !== "number" || !(time > 0 && time <= TIME_MAX)) {
    throw new WrongForm('"expiresAt" is not a time in ms since 1970');
  }
  if (time < TIME_MS_MIN) {
    throw new WrongForm('"expiresAt" is in seconds; it has to be in ms');
  }
  return Math.floor(time);
}
