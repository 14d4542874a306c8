/**
 * Refusals: everything Roomcast tells a caller it will not do, in one closed list.
 *
 * @module
 */

/** Every code a caller can be told, and the HTTP status that goes with it. */
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
 * A refusal that its caller is told, word for word: as an HTTP error, as an item of a batch, or as
 * `connect_error` data. The message is a sentence of the form `Cannot <do>: <state>; <what to do>`.
 */
export class ApiError extends Error {
  /** One of the closed list. */
  readonly code: ErrorCode;

  /** Makes a refusal; `message` is shown to the caller, so it holds no secret and no stack. */
  constructor(code: ErrorCode, message: string) {
    super(message);
    this.name = "Fault";
    this.code = code;
  }

  /** The HTTP status of the code. */
  get status(): (typeof ERROR_STATUS)[ErrorCode] {
    return ERROR_STATUS[this.code];
  }

  /** Whether the same request may succeed a moment later. */
  get retryable(): boolean {
    return this.status === 503;
  }

  /** The body of an HTTP error, and an item's `error` in a list of results. */
  toJSON(): { code: ErrorCode; message: string } {
    return { code: this.code, message: this.message };
  }
}

/** Makes any thrown value a refusal; what is not one already becomes `internal`, without its text. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError(
    "internal",
    "Cannot answer: Roomcast met an error of its own; its log tells which",
  );
}
