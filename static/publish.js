/**
 * Publishes over HTTP. A message is published at most once, however often the request is retried. An error has a
 * message that can be shown to the user.
 *
 * @module
 */
const ATTEMPTS_MAX = 3;
const ATTEMPT_TIMEOUT_MS = 10_000;
const BACKOFF_MS = 400;

/** The error of a failed publish. The page shows its message unchanged. */
export class PublishError extends Error {
  /**
   * @param {string} message
   * @param {number} status the HTTP status, or 0 without a response
   */
  constructor(message, status) {
    super(message);
    this.name = "PublishError";
    this.status = status;
  }

  /** Whether a retry may succeed; the message may already have been published. */
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
 * Publishes a message, in up to three attempts with the same idempotency key.
 *
 * @param {string} room
 * @param {unknown} message
 * @param {{ idempotencyKey: string, publishKey: string }} keys
 * @returns {Promise<void>}
 * @throws {PublishError}
 */
export async function publish(room, message, { idempotencyKey, publishKey }) {
  const headers = {
    "content-type": "application/json",
    "idempotency-key": idempotencyKey,
  };
  if (publishKey !== "") {
    if (!/^[\x21-\x7e]+$/.test(publishKey)) {
      throw new PublishError(
        "Cannot use the publish key: it contains spaces or non-ASCII characters; check it",
        401,
      );
    }
    headers.authorization = `Bearer ${publishKey}`;
  }
  const request = {
    method: "POST",
    headers,
    body: JSON.stringify({ room, message }),
  };

  for (let attempt = 1;; attempt++) {
    try {
      return await attemptOnce(request);
    } catch (error) {
      if (!error.retryable || attempt === ATTEMPTS_MAX) throw error;
    }
    await new Promise((done) =>
      setTimeout(done, BACKOFF_MS * 2 ** (attempt - 1))
    );
  }
}

async function attemptOnce(request) {
  let response;
  try {
    response = await fetch("/publish", {
      ...request,
      signal: AbortSignal.timeout(ATTEMPT_TIMEOUT_MS),
    });
  } catch {
    throw new PublishError(
      "Cannot reach the server: it did not respond; check the connection and send again",
      0,
    );
  }
  if (response.ok) return;
  const sentence = await response.json().then(
    (body) => body.error.message,
    () => undefined,
  );
  throw new PublishError(
    sentence ??
      `Cannot publish: the server responded with status ${response.status}; try again later`,
    response.status,
  );
}
