/**
 * The publishes of the client module.
 *
 * They wait without a connection, are sent again until they are answered, and are stored in the order of the calls.
 *
 * @module
 */

/** Maximum number of publishes that are not answered, and of the characters of their messages. */
const QUEUE_MAX = 1000;
const QUEUE_LENGTH_MAX = 4 << 20;
/** How long the answer to a publish may take before the publish is sent again, in ms. */
const ANSWER_MS = 15_000;
const CLOSED = {
  code: "closed",
  message:
    "Cannot publish: the client is closed, and the publish may have been stored; publish with a new client",
};

/** Creates the queue of the publishes of a socket that are not answered. */
export function createOutbox(socket, retrySeconds) {
  const name = crypto.getRandomValues(new Uint32Array(4)).join("-");
  /** The publishes of each room, in the order of the calls. Only the first one is in flight. */
  const queues = new Map();
  let count = 0, length = 0, calls = 0;
  let closed = false;

  function settle(item, error, result) {
    const queue = queues.get(item.room);
    if (!queue?.includes(item)) return;
    clearTimeout(item.retry);
    clearTimeout(item.expiry);
    queue.splice(queue.indexOf(item), 1);
    if (queue.length === 0) queues.delete(item.room);
    count--;
    length -= item.size;
    if (error) item.reject(toError(error));
    else item.resolve(result);
    send(item.room);
  }

  /** Rejects all publishes. */
  function fail(error) {
    for (const item of [...queues.values()].flat()) settle(item, error);
  }

  /** Sends the first publish of a room, unless it is in flight. */
  function send(room) {
    const [item] = queues.get(room) ?? [];
    if (!item || item.retry || !socket.connected) return;
    const sendAgain = (ms) => {
      clearTimeout(item.retry);
      item.retry = setTimeout(() => {
        item.retry = undefined;
        send(room);
      }, ms);
    };
    sendAgain(ANSWER_MS);
    // The server remembers the key for a limited time.
    item.expiry ??= setTimeout(
      () =>
        settle(item, {
          code: "unconfirmed",
          message:
            `Cannot confirm the publish: it was not answered within ${retrySeconds} s and may have been stored; look at the room's history`,
        }),
      retrySeconds * 1000,
    );
    socket.emit(
      "publish",
      item.request,
      ({ ok, error, retryAfter, id, duplicate }) => {
        if (ok) settle(item, undefined, { id, duplicate });
        // The random part keeps clients from publishing again all at once.
        else if (retryAfter) {
          sendAgain(retryAfter * (1000 + Math.random() * 500));
        } else settle(item, error);
      },
    );
  }

  return {
    publish: (room, message, { event, key = `${name}-${++calls}` } = {}) =>
      new Promise((resolve, reject) => {
        // The caller may change the message while it waits, and the same key needs the same message.
        const json = JSON.stringify(message);
        const size = json?.length ?? 0;
        if (closed) throw toError(CLOSED);
        if (count >= QUEUE_MAX || length + size > QUEUE_LENGTH_MAX) {
          throw toError({
            code: "queue_full",
            message:
              `Cannot publish: ${count} messages with ${length} characters are not published yet; publish again when some are`,
          });
        }
        const request = { room, event, message: json && JSON.parse(json), key };
        const queue = queues.get(room) ?? [];
        queues.set(room, queue);
        queue.push({ room, request, size, resolve, reject });
        count++;
        length += size;
        send(room);
      }),
    /** Sends the publishes that wait, after a connect. */
    resume() {
      for (const room of [...queues.keys()]) send(room);
    },
    /** Stops waiting for answers, which do not arrive after a disconnect. */
    pause({ context } = {}) {
      const sent = [...queues.values()].map(([item]) => item)
        .filter(({ retry }) => retry);
      for (const item of sent) {
        clearTimeout(item.retry);
        item.retry = undefined;
      }
      // The server closes the connection if a packet is too large, and would do so again.
      if (context?.code !== 1009 && context?.status !== 413) return;
      const [largest] = sent.sort((a, b) => b.size - a.size);
      if (largest) {
        settle(largest, {
          code: "message_too_large",
          message:
            `Cannot publish: the message has ${largest.size} characters of JSON, and the server has closed the connection because of it; send a smaller one`,
        });
      }
    },
    fail,
    close() {
      closed = true;
      fail(CLOSED);
    },
  };
}

/** Makes an error with the code and the message of a refusal. */
function toError({ code, message }) {
  return Object.assign(new Error(message), { code });
}
