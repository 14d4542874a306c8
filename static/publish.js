/**
 * Publishes messages over HTTP. A message is stored at most once, however often its request is retried. The messages of
 * errors can be shown to users.
 *
 * @module
 */

/** Maximum number of attempts to publish a message. */
const ATTEMPTS_MAX = 3;
/** Maximum duration of one attempt to publish, in ms. */
const ATTEMPT_TIMEOUT_MS = 10_000;
/** Pause after the first failed attempt to publish, in ms. */
const BACKOFF_MS = 400;

/** The error of a failed request. The page shows the error's message unchanged. */
export class RequestError extends Error {
  /**
   * Creates the error of a failed request.
   *
   * @param {string} message
   * @param {number} status the HTTP status, or 0 without a response
   * @param {string} [code]
   */
  constructor(message, status, code) {
    super(message);
    this.name = "RequestError";
    this.status = status;
    this.code = code;
  }

  /**
   * Whether the request may succeed if it is sent again. The failed request may have published the message all the
   * same.
   */
  get retryable() {
    return this.status === 0 || this.status === 503;
  }
}

/** Returns a new idempotency key. `randomUUID` is missing if the page was loaded over plain HTTP from another machine. */
export function newIdempotencyKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(
    crypto.getRandomValues(new Uint8Array(16)),
    (byte) => byte.toString(16).padStart(2, "0"),
  ).join("");
}

/**
 * Publishes a message, by default as the event `msgReceived`. Makes up to three attempts with the same idempotency key.
 *
 * @param {string} room
 * @param {unknown} message
 * @param {{ event?: string, idempotencyKey: string, headers: Record<string, string> }} options
 * @returns {Promise<{ id: string, duplicate: boolean }>}
 * @throws {RequestError}
 */
export async function publish(room, message, options) {
  const { event, idempotencyKey, headers } = options;
  const request = {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "idempotency-key": idempotencyKey,
      ...headers,
    },
    body: JSON.stringify({ room, event, message }),
  };
  for (let attempt = 1;; attempt++) {
    try {
      return await requestJson("/publish", request);
    } catch (error) {
      if (!error.retryable || attempt === ATTEMPTS_MAX) throw error;
    }
    await new Promise((done) =>
      setTimeout(done, BACKOFF_MS * 2 ** (attempt - 1))
    );
  }
}

/**
 * Sends a request and returns the JSON of the response.
 *
 * @param {string} path
 * @param {RequestInit} [request]
 * @returns {Promise<any>}
 * @throws {RequestError}
 */
export async function requestJson(path, request = {}) {
  let response;
  try {
    response = await fetch(path, {
      ...request,
      signal: AbortSignal.timeout(ATTEMPT_TIMEOUT_MS),
    });
  } catch {
    throw new RequestError(
      "Cannot reach the server: it did not respond; check the connection and try again",
      0,
    );
  }
  const body = await response.json().catch(() => undefined);
  if (response.ok && body !== undefined) return body;
  throw new RequestError(
    body?.error?.message ??
      `Cannot use the response: the server responded with status ${response.status} and without an explanation; try again later`,
    response.status,
    body?.error?.code,
  );
}
