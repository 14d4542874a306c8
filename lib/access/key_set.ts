/**
 * The public keys of `TOKEN_JWKS_URL`, with which tokens are verified.
 *
 * jose's own `createRemoteJWKSet()` is not used. It has no limit on the size of a response, fetches again for each
 * token while the server does not respond, and forgets its keys at the end of their time even then.
 *
 * @module
 */
import type { JWSHeaderParameters, LocalJWKSet } from "jose";
import { ApiError } from "../errors.ts";
import type { Observe } from "../observer.ts";
import {
  boundedFetch,
  reasonOf,
  shownUrl,
  statusProblem,
} from "../util/bounded_fetch.ts";
import { NoUsableKey, readKeySet } from "./key_set_text.ts";

/** The functions of the package jose, which is loaded only if tokens are configured. */
export type Jose = typeof import("jose");
/** A key that verifies signatures. */
export type VerifyingKey = Awaited<ReturnType<LocalJWKSet>>;

/** Minimum time between two fetches because of keys that are not known, in ms. */
const COOLDOWN_MS = 10_000;
/** Minimum time between two fetches as long as no keys are known, in ms. */
const FIRST_INTERVAL_MS = 1000;
/** Age at which the keys are fetched again, in ms. At twice this age, tokens wait for the fetch. */
const AGE_MS_MAX = 600_000;
/** How long a fetch may take, in ms. */
const TIMEOUT_MS = 5000;
/** Maximum size of a key set, in bytes. Those of large identity providers have 20 KiB. */
const BYTES_MAX = 256 << 10;
/** Maximum number of names of keys that are remembered as not in the key set. */
const ABSENT_MAX = 1000;
/** Maximum length of such a name, in characters. */
const ABSENT_LENGTH_MAX = 256;
/** Maximum number of keys that are tried if a token does not name its key. */
const CANDIDATES_MAX = 10;

/** Options of {@linkcode KeySet}. */
export interface KeySetOptions {
  readonly url: string;
  readonly jose: Promise<Jose>;
  readonly observe: Observe;
  /** Returns a time in ms that is never set back; otherwise keys would not be fetched again for a long time. */
  readonly now: () => number;
  /** Called when a fetch has brought other keys than the one before. */
  readonly changed?: () => void;
}

/** The keys that were fetched last. */
interface Fetched {
  /** The key set as it was fetched. */
  readonly text: string;
  readonly find: LocalJWKSet;
  /** Time at which their fetch began. */
  readonly began: number;
}

/**
 * Fetches a key set, keeps it, and fetches it again every ten minutes and for unknown keys.
 *
 * One fetch serves all tokens that wait for it. For unknown keys it is fetched at most once in
 * {@linkcode COOLDOWN_MS}. While the server does not respond with a key set, the keys that were fetched last stay valid.
 * A key set without usable keys withdraws them; tokens then wait for other keys and are not refused for good, because
 * the issuer may have made a mistake.
 *
 * Lifetime: nothing runs between two calls, except a fetch. Call `close()` to cancel it.
 */
export class KeySet {
  readonly #options: KeySetOptions;
  readonly #closed = new AbortController();
  #fetched: Fetched | undefined;
  /**
   * Time at which the last fetch began, whether it succeeded or not. The first fetch that succeeds does not count,
   * because it was not made for an unknown key.
   */
  #lastBegan = -Infinity;
  #fetching: Promise<void> | undefined;
  #isFailing = false;
  /** The names of keys that were not in a key set whose fetch began after a token had named them. */
  readonly #absent = new Set<string>();

  /** Creates an empty key set; fetches nothing yet. */
  constructor(options: KeySetOptions) {
    this.#options = options;
  }

  /** Fetches the keys ahead of the first token. Never throws, and does not wait. */
  warm(): void {
    void this.#fetch();
  }

  /** Cancels the fetch in flight, and prevents further ones. */
  close(): void {
    this.#closed.abort();
  }

  /**
   * Returns the keys that may have signed a token with this header. The list is empty if the key set certainly has no
   * such key.
   *
   * @param arrived The time at which the token arrived, by `now()`.
   * @throws {ApiError} `token_keys_unavailable` if that is not known at the moment
   */
  async find(
    header: JWSHeaderParameters,
    arrived: number = this.#options.now(),
  ): Promise<readonly VerifyingKey[]> {
    if (this.#fetched === undefined) {
      if (this.#mayFetch(arrived, FIRST_INTERVAL_MS)) await this.#fetch();
      else await this.#fetching;
      if (this.#fetched === undefined) throw unreachable();
    } else await this.renew();
    const known = await this.#lookUp(header);
    if (known.length > 0) return known;
    return await this.#findUnknown(header, arrived);
  }

  /**
   * Starts to fetch the keys again if they are at least {@linkcode AGE_MS_MAX} old, unless a fetch began less than
   * {@linkcode COOLDOWN_MS} ago. Waits for the fetch only if the keys are at least twice as old as that maximum and the
   * last fetch did not fail; otherwise tokens are verified with the old keys meanwhile. Never throws. Does nothing if
   * no keys are known yet.
   */
  async renew(): Promise<void> {
    if (this.#fetched === undefined) return;
    const now = this.#options.now();
    const ageMs = now - this.#fetched.began;
    if (ageMs < AGE_MS_MAX) return;
    if (this.#mayFetch(now, COOLDOWN_MS)) void this.#fetch();
    if (ageMs >= 2 * AGE_MS_MAX && !this.#isFailing) await this.#fetching;
  }

  /** Finds the keys of a token that are not in the key set, by fetching it again. */
  async #findUnknown(
    header: JWSHeaderParameters,
    arrived: number,
  ): Promise<readonly VerifyingKey[]> {
    const name = `${header.alg} ${header.kid ?? ""}`;
    // Nobody names a key like that, and it would take much memory to remember.
    if (name.length > ABSENT_LENGTH_MAX) return [];
    if (this.#mayFetch(arrived, COOLDOWN_MS)) await this.#fetch();
    else await this.#fetching;
    const keys = await this.#lookUp(header);
    if (keys.length > 0) return keys;
    if (this.#fetched !== undefined && this.#fetched.began >= arrived) {
      if (this.#absent.size >= ABSENT_MAX) this.#absent.clear();
      this.#absent.add(name);
    }
    if (this.#absent.has(name)) return [];
    // The key may be newer than the key set. A refusal would stop a client for good, although its token may be valid.
    throw this.#isFailing ? unreachable() : new ApiError(
      "token_keys_unavailable",
      `Cannot verify the token: its key is unknown, and the key set was fetched less than ${
        COOLDOWN_MS / 1000
      } s ago; try again later`,
    );
  }

  #mayFetch(now: number, intervalMs: number): boolean {
    return this.#fetching === undefined && now - this.#lastBegan >= intervalMs;
  }

  async #lookUp(
    header: JWSHeaderParameters,
  ): Promise<readonly VerifyingKey[]> {
    const { errors } = await this.#options.jose;
    try {
      return this.#fetched === undefined
        ? []
        : [await this.#fetched.find(header)];
    } catch (error) {
      if (error instanceof errors.JWKSMultipleMatchingKeys) {
        return await firstOf(error);
      }
      // There is no such key, or the issuer has given it out in a form that cannot be read.
      return [];
    }
  }

  /** Fetches the keys, or waits for the fetch in flight. Never throws. */
  #fetch(): Promise<void> {
    return this.#fetching ??= this.#fetchNow().finally(() =>
      this.#fetching = undefined
    );
  }

  async #fetchNow(): Promise<void> {
    const { url, now, jose, observe } = this.#options;
    const began = this.#lastBegan = now();
    try {
      const text = await read(url, this.#closed.signal);
      const { createLocalJWKSet } = await jose;
      const last = this.#fetched;
      const isSame = text === last?.text;
      const find = isSame ? last.find : createLocalJWKSet(readKeySet(text));
      if (last === undefined) this.#lastBegan = -Infinity;
      this.#fetched = { text, find, began };
      if (last !== undefined && !isSame) this.#options.changed?.();
      observe({ kind: "token_keys_fetched", outcome: "ok" });
      if (this.#isFailing) observe({ kind: "token_keys_recovered" });
      this.#isFailing = false;
    } catch (error) {
      if (this.#closed.signal.aborted) return;
      if (error instanceof NoUsableKey) this.#withdraw();
      observe({ kind: "token_keys_fetched", outcome: "failed" });
      if (!this.#isFailing) {
        observe({
          kind: "token_keys_unreachable",
          url: shownUrl(url),
          why: reasonOf(error),
        });
      }
      this.#isFailing = true;
    }
  }

  #withdraw(): void {
    if (this.#fetched === undefined) return;
    this.#fetched = undefined;
    this.#options.changed?.();
  }
}

function unreachable(): ApiError {
  return new ApiError(
    "token_keys_unavailable",
    "Cannot verify the token: the server of TOKEN_JWKS_URL does not give out its keys; try again later",
  );
}

async function firstOf(
  keys: AsyncIterable<VerifyingKey>,
): Promise<readonly VerifyingKey[]> {
  const found: VerifyingKey[] = [];
  for await (const key of keys) {
    found.push(key);
    if (found.length === CANDIDATES_MAX) break;
  }
  return found;
}

async function read(url: string, signal: AbortSignal): Promise<string> {
  const { status, text } = await boundedFetch(url, {
    headers: { accept: "application/json" },
    timeoutMs: TIMEOUT_MS,
    bytesMax: BYTES_MAX,
    signal,
  });
  if (text !== undefined) return text;
  throw new Error(statusProblem(status));
}
