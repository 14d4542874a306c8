/**
 * The errors that callers can receive, with a closed list of codes.
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
  invalid_key: 400,
  invalid_position: 400,
  invalid_parameter: 400,
  too_many_rooms: 400,
  too_many_messages: 400,
  unauthorized: 401,
  origin_not_allowed: 403,
  not_found: 404,
  method_not_allowed: 405,
  request_too_slow: 408,
  body_too_slow: 408,
  message_too_large: 413,
  body_too_large: 413,
  unsupported_content_type: 415,
  unsupported_content_encoding: 415,
  key_reused: 422,
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
  overloaded: 503,
  not_accepting: 503,
  draining: 503,
} as const;

/** One of the codes in {@linkcode ERROR_STATUS}. */
export type ErrorCode = keyof typeof ERROR_STATUS;

/**
 * An error whose message is sent to the caller unchanged: as an HTTP error, as the result of an item of a batch, in the
 * acknowledgement of an event, or as the data of `connect_error`. The message is a sentence of the form `Cannot <verb>
 * <object>: <state>; <what to do>`.
 */
export class ApiError extends Error {
  /** Identifies the kind of error; programs compare this, never the message. */
  readonly code: ErrorCode;

  /** Makes an error. The caller sees `message`, so it must not contain a secret or a stack. */
  constructor(code: ErrorCode, message: string) {
    super(message);
    this.name = "ApiError";
    this.code = code;
  }

  /** The HTTP status of the code. */
  get status(): (typeof ERROR_STATUS)[ErrorCode] {
    return ERROR_STATUS[this.code];
  }

  /** Whether the same request may succeed later. */
  get retryable(): boolean {
    return this.status === 503;
  }

  /**
   * Whether the log is only unreachable or loading. The connection to Redis reports such an outage once, so other parts
   * do not report it.
   */
  get isOutage(): boolean {
    return this.code === "log_unreachable" || this.code === "log_loading";
  }

  /** Returns the part that callers see: the value of `error` in a response. */
  toJSON(): { code: ErrorCode; message: string } {
    return { code: this.code, message: this.message };
  }
}

/**
 * Converts a thrown value into an error for the caller. Any value that is not an {@linkcode ApiError} becomes
 * `internal`, without its text. Observe the value first, because the caller cannot see it.
 */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError(
    "internal",
    "Cannot handle the request: internal error; see the server's log lines",
  );
}
