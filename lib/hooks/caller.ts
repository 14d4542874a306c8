/**
 * Calls a hook: asks a backend over HTTP whether a client may do something.
 *
 * @module
 */
import { bearerSecret } from "../access/bearer.ts";
import { WrongForm } from "../access/forms.ts";
import { ApiError } from "../errors.ts";
import type { HookName, HookOutcome, Observe } from "../observer.ts";
import {
  BadBody,
  boundedFetch,
  type BoundedResponse,
  FetchTimeout,
  reasonOf,
  shownUrl,
} from "../util/bounded_fetch.ts";
import {
  type HookAnswer,
  OtherStatus,
  readAnswer,
  REFUSALS,
  refusedBy,
} from "./answer.ts";
import { Breaker } from "./breaker.ts";
import { CallQueue, QueueError } from "./call_queue.ts";
import { FailureReports } from "./failure_reports.ts";
import { sign } from "./signature.ts";

/** Maximum number of calls of one hook that wait, in total and for one caller. */
const WAITING_MAX = 10_000;
const WAITING_PER_CALLER_MAX = 2000;
/** Maximum bytes that the waiting calls of one hook hold. */
const WAITING_BYTES_MAX = 64 << 20;
/** How long a call may wait before it begins, in ms. */
const WAIT_MS = 5000;
/** How long an unused connection is kept, in ms. Some servers close theirs after 2 s. */
const IDLE_MS = 1500;
/**
 * The statuses of a backend that is down or overloaded. With these, as without a response, the breaker opens. It does
 * not for others, because a client may be able to cause them: one that makes a backend fail with 500 must not keep out
 * all others.
 */
const DOWN = [429, 502, 503, 504];

/** Options of {@linkcode HookCaller}. */
export interface HookCallerOptions {
  readonly hook: HookName;
  readonly url: string;
  /** How long a call may take, in ms. */
  readonly timeoutMs: number;
  /** Maximum number of calls in flight. */
  readonly callsMax: number;
  /** Maximum size of a response, in bytes. */
  readonly responseBytesMax: number;
  /** The key with which calls are signed; undefined if they are not signed. */
  readonly key: Uint8Array | undefined;
  /** Returns whether a text is the secret of a publish key, as in `HooksOptions`. */
  readonly isPublishKey: (secret: string) => boolean;
  readonly observe: Observe;
  /** Returns the time in ms since 1970; `Date.now` by default. */
  readonly now?: () => number;
}

/** One question to a backend. */
export interface HookCall<T> {
  /** What the client wants to do, as in "connect" or 'join "chat"', for messages of errors. */
  readonly verb: string;
  /** For whom the call is made: callers take turns if calls have to wait. */
  readonly caller: string;
  /** The body of the request, as JSON text. */
  readonly body: string;
  /** The token in the body, whatever its type; undefined if there is none. */
  readonly token?: unknown;
  /** The headers of the client's request that are passed on. */
  readonly headers: Readonly<Record<string, string>>;
  /** Returns whether the client still waits for the answer. */
  readonly isWanted: () => boolean;
  /**
   * Reads the result of a call that was sent just after `sentAt`, in ms since 1970. Throws an {@linkcode ApiError} if the
   * result is a refusal, and {@linkcode WrongForm} if the result has a wrong form.
   */
  readonly read: (result: unknown, sentAt: number) => T;
}

/** The answer to a call, and a time just before the call was sent, in ms since 1970. */
interface Sent {
  readonly answer: HookAnswer;
  readonly sentAt: number;
}

/** A call that has brought no answer about the client. The message is the reason, for a log line. */
class CallFailed extends Error {
  readonly outcome: HookOutcome;

  constructor(outcome: HookOutcome, why: string) {
    super(why);
    this.outcome = outcome;
  }
}

/**
 * Calls one hook. Limits how many calls are in flight and how many wait, and makes none while the backend is down.
 *
 * Lifetime: keeps connections to the backend. Call `close()` to end them.
 */
export class HookCaller {
  readonly #options: HookCallerOptions;
  readonly #now: () => number;
  readonly #queue: CallQueue;
  readonly #breaker: Breaker;
  readonly #client: Deno.HttpClient;
  readonly #closed = new AbortController();
  readonly #failures: FailureReports;

  /** Creates a caller; calls nothing yet. */
  constructor(options: HookCallerOptions) {
    const { hook, callsMax, observe, now = Date.now } = options;
    this.#options = options;
    const url = shownUrl(options.url);
    this.#failures = new FailureReports((outcome, why, count) =>
      observe({ kind: "hook_failed", hook, url, outcome, why, count })
    );
    this.#now = now;
    this.#queue = new CallQueue({
      runningMax: callsMax,
      waitingMax: WAITING_MAX,
      waitingPerCallerMax: WAITING_PER_CALLER_MAX,
      bytesMax: WAITING_BYTES_MAX,
      waitMs: WAIT_MS,
    });
    this.#breaker = new Breaker({
      onOpen: () => observe({ kind: "hook_down", hook }),
      onClose: () => observe({ kind: "hook_recovered", hook }),
      now: () => performance.now(),
    });
    this.#client = Deno.createHttpClient({
      poolMaxIdlePerHost: callsMax,
      poolIdleTimeout: IDLE_MS,
    });
  }

  /** Number of calls in flight. */
  get running(): number {
    return this.#queue.running;
  }

  /** Number of calls that wait. */
  get waiting(): number {
    return this.#queue.waiting;
  }

  /**
   * Resolves to what the backend has answered.
   *
   * @throws {ApiError} `unauthorized` or `forbidden` if the backend refuses; `unauthorized` if the token is a publish
   * key; `hook_unavailable`, so that the client tries again, if the backend gives no usable answer
   */
  async call<T>(call: HookCall<T>): Promise<T> {
    const { hook, observe } = this.#options;
    const { token, verb } = call;
    if (typeof token === "string" && this.#isKey(token)) {
      throw keyNotToken(verb);
    }
    const start = performance.now();
    const ended = (outcome: HookOutcome): void =>
      observe({
        kind: "hook_called",
        hook,
        outcome,
        durationMs: performance.now() - start,
      });
    try {
      const { answer, sentAt } = await this.#ask(call);
      if (answer.kind === "refused") {
        throw refusedBy(answer.refusal, verb);
      }
      const result = call.read(answer.result, sentAt);
      ended("allowed");
      return result;
    } catch (error) {
      if (error instanceof ApiError) {
        ended("refused");
        throw error;
      }
      const { outcome, why } = failureOf(error);
      ended(outcome);
      this.#report(outcome, why);
      throw new ApiError(
        "hook_unavailable",
        `Cannot ${verb}: the server of the application gives no usable answer; try again later`,
      );
    }
  }

  /** Cancels the calls in flight, and closes the connections. */
  close(): void {
    if (this.#closed.signal.aborted) return;
    this.#failures.close();
    this.#closed.abort(new Error("the node is stopping"));
    this.#queue.close();
    this.#client.close();
  }

  /** Waits for a free call, makes it and reads the answer. Throws {@linkcode CallFailed} or one of its causes. */
  async #ask<T>({ caller, body, headers, isWanted }: HookCall<T>): Promise<
    Sent
  > {
    const bytes = Object.values(headers).reduce(
      (sum, value) => sum + value.length,
      body.length,
    );
    if (this.#breaker.isOpen) throw breakerOpen();
    return await this.#queue.run({ caller, bytes }, async () => {
      if (!isWanted()) throw new CallFailed("abandoned", "the client has left");
      const permit = this.#breaker.enter();
      if (permit === undefined) throw breakerOpen();
      // A revocation counts for what was issued in an earlier millisecond. The answer is older than one that comes
      // during the call, even if that is in the same millisecond.
      const sentAt = this.#now() - 1;
      let isUp = false;
      try {
        const response = await this.#send(body, headers);
        isUp = !DOWN.includes(response.status);
        return { answer: readAnswer(response), sentAt };
      } catch (error) {
        isUp ||= error instanceof BadBody;
        throw error;
      } finally {
        this.#breaker.settle(permit, isUp);
      }
    });
  }

  async #send(
    body: string,
    passedOn: Readonly<Record<string, string>>,
  ): Promise<BoundedResponse> {
    const { url, timeoutMs, responseBytesMax, key } = this.#options;
    const others = Object.entries(passedOn).filter(([, value]) =>
      !this.#isKey(value)
    );
    return await boundedFetch(url, {
      method: "POST",
      headers: {
        ...Object.fromEntries(others),
        "content-type": "application/json",
        accept: "application/json",
        ...key !== undefined && sign(key, body, this.#now()),
      },
      body,
      timeoutMs,
      bytesMax: responseBytesMax,
      signal: this.#closed.signal,
      client: this.#client,
      alsoReadBodyOf: REFUSALS,
    });
  }

  /** Returns whether a text is the secret of a publish key, alone or after `Bearer`, also with spaces around it. */
  #isKey(text: string): boolean {
    const secret = text.trim();
    return this.#options.isPublishKey(bearerSecret(secret) ?? secret);
  }

  /** Reports a failed call. The breaker reports by itself that it opens and closes. */
  #report(outcome: HookOutcome, why: string): void {
    if (outcome === "abandoned" || outcome === "breaker_open") return;
    this.#failures.add(outcome, why);
  }
}

/** Returns the error for a client that sends a publish key as its token. */
function keyNotToken(verb: string): ApiError {
  return new ApiError(
    "unauthorized",
    `Cannot ${verb}: the token is a publish key, with which only backends may publish and manage over HTTP; send a client's token`,
  );
}

function breakerOpen(): CallFailed {
  return new CallFailed("breaker_open", "the backend is down");
}

/** Returns the outcome of a call that has failed, and the reason for a log line. */
function failureOf(error: unknown): { outcome: HookOutcome; why: string } {
  if (error instanceof CallFailed) {
    return { outcome: error.outcome, why: error.message };
  }
  const outcome = error instanceof QueueError
    ? "overloaded"
    : error instanceof FetchTimeout
    ? "timeout"
    : error instanceof OtherStatus
    ? "bad_status"
    : error instanceof WrongForm || error instanceof BadBody
    ? "invalid"
    : "unreachable";
  return { outcome, why: reasonOf(error) };
}
