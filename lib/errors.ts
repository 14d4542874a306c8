/**
 * The errors that publishers and clients can receive, with a closed list of codes.
 *
 * @module
 */

/** The HTTP status of every error code. */
export const ERROR_STATUS = {
  malformed_request: 400,
  malformed_body: 400,
  message_missing: 400,
  invalid_message: 400,
  invalid_room: 400,
  invalid_event: 400,
  invalid_key: 400,
  invalid_position: 400,
  invalid_parameter: 400,
  unknown_event: 400,
  unknown_field: 400,
  too_many_rooms: 400,
  too_many_messages: 400,
  unauthorized: 401,
  forbidden: 403,
  origin_not_allowed: 403,
  host_not_allowed: 403,
  not_found: 404,
  method_not_allowed: 405,
  request_too_slow: 408,
  body_too_slow: 408,
  too_many_revocations: 409,
  message_too_large: 413,
  body_too_large: 413,
  unsupported_content_type: 415,
  unsupported_content_encoding: 415,
  expectation_failed: 417,
  key_reused: 422,
  too_many_connections: 429,
  too_many_events: 429,
  too_many_publishes: 429,
  header_too_large: 431,
  internal: 500,
  log_unreachable: 503,
  log_timeout: 503,
  log_read_only: 503,
  log_full: 503,
  log_loading: 503,
  log_denied: 503,
  log_wrong_type: 503,
  log_not_replicated: 503,
  log_failed: 503,
  token_keys_unavailable: 503,
  too_many_clients: 503,
  too_many_connects: 503,
  hook_unavailable: 503,
  overloaded: 503,
  not_accepting: 503,
  draining: 503,
} as const;

/** One of the codes in {@linkcode ERROR_STATUS}. */
export type ErrorCode = keyof typeof ERROR_STATUS;

/** The codes of errors which mean that a limit was exceeded. */
const LIMITS: ReadonlySet<ErrorCode> = new Set([
  "too_many_rooms",
  "too_many_messages",
  "too_many_connections",
  "too_many_events",
  "too_many_publishes",
  "too_many_clients",
  "too_many_connects",
  "too_many_revocations",
  "request_too_slow",
  "body_too_slow",
  "message_too_large",
  "body_too_large",
  "header_too_large",
  "overloaded",
]);

/**
 * An error that is sent to the publisher or client that made the request: in an HTTP response, in the result of one
 * publish of a batch, in the acknowledgement of an event, or in the data of `connect_error`. The message is a sentence
 * of the form `Cannot <verb> <object>: <state>; <what to do>`.
 */
export class ApiError extends Error {
  /** The kind of the error. Programs compare the code and never the message. */
  readonly code: ErrorCode;
  /** If the error is retryable: the seconds to wait before the request is sent again, for the header `Retry-After`. */
  readonly retrySeconds: number;

  /**
   * Creates an error. `message` is sent to the publisher or client, so `message` must not contain a secret or a stack
   * trace.
   */
  constructor(code: ErrorCode, message: string, retrySeconds = 1) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.retrySeconds = retrySeconds;
  }

  /** The HTTP status of the error's code. */
  get status(): (typeof ERROR_STATUS)[ErrorCode] {
    return ERROR_STATUS[this.code];
  }

  /** Whether a backend has refused the request by a hook. The log then does not mention refusals of single events. */
  get isOfBackend(): boolean {
    return false;
  }

  /** Whether the same request may succeed if it is sent again later. */
  get retryable(): boolean {
    return this.status === 503 || this.status === 429;
  }

  /**
   * The name of the limit that the sender has exceeded, or all senders together have, for metrics; undefined if the error
   * has another cause.
   */
  get limit(): string | undefined {
    return LIMITS.has(this.code) ? this.code : undefined;
  }

  /**
   * Whether the error means that Redis is unreachable or still loading its data. The connection to Redis reports each
   * such outage once, so other parts of the node do not report these errors.
   */
  get isOutage(): boolean {
    return this.code === "log_unreachable" || this.code === "log_loading";
  }

  /**
   * Returns the JSON form of the error, which clients receive. The refusal of a hook has the code and the message of the
   * backend here, so the code need not be one of {@linkcode ERROR_STATUS}.
   */
  toJSON(): { code: string; message: string } {
    return { code: this.code, message: this.message };
  }

  /**
   * Returns the error for a client that has asked for several things at once: its message says which of them is refused,
   * also if a backend has refused it in words of its own.
   */
  inFull(): ApiError {
    return this;
  }
}

/** An error because of a limit that metrics name otherwise than by the error's code. */
export class LimitExceeded extends ApiError {
  readonly #limit: string;

  /** Creates an error with the code `code` that counts as the limit `limit`. */
  constructor(limit: string, code: ErrorCode, message: string) {
    super(code, message);
    this.#limit = limit;
  }

  override get limit(): string {
    return this.#limit;
  }
}

/**
 * Converts a thrown value into an error that may be sent to a publisher or client. Returns an {@linkcode ApiError}
 * unchanged. Any other value becomes an `internal` error that does not contain the value's text, so call `observe()`
 * with the value as well.
 */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError(
    "internal",
    "Cannot handle the request: internal error; see the server's log lines",
  );
}
