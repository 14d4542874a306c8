/**
 * Publishing over HTTP. Promises that one send is published at most once however often it is tried, and that a send
 * that failed says why in a sentence.
 *
 * @module
 */
const TRIES_MAX = 3;
const TRY_MS_MAX = 10_000;
const BACKOFF_MS = 400;

/** A send that did not get through; its message is shown as it is. */
export class PublishError extends Error {
  /**
   * @param {string} message
   * @param {number} status 0 when no answer came
   */
  constructor(message, status) {
    super(message);
    this.name = "PublishError";
    this.status = status;
  }

  /** Whether the same send may succeed a moment later, and may even have been published already. */
  get temporary() {
    return this.status === 0 || this.status === 503;
  }
}

/** A new idempotency key. `randomUUID` is missing where the page came over plain HTTP from another machine. */
export function newIdempotencyKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(
    crypto.getRandomValues(new Uint8Array(16)),
    (byte) => byte.toString(16).padStart(2, "0"),
  ).join("");
}

/**
 * Publishes one message, with up to three tries under one idempotency key.
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
        "Cannot use the publish key: it has spaces or letters beyond ASCII; check it",
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

  for (let tries = 1;; tries++) {
    try {
      return await tryOnce(request);
    } catch (error) {
      if (!error.temporary || tries === TRIES_MAX) throw error;
    }
    await new Promise((done) =>
      setTimeout(done, BACKOFF_MS * 2 ** (tries - 1))
    );
  }
}

async function tryOnce(request) {
  let response;
  try {
    response = await fetch("/publish", {
      ...request,
      signal: AbortSignal.timeout(TRY_MS_MAX),
    });
  } catch {
    throw new PublishError(
      "Cannot reach the server; check the connection and send again",
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
      `Cannot publish: the server answered ${response.status} and did not say why`,
    response.status,
  );
}
