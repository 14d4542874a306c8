/** The HTTP requests of a stock client that polls. */
import type { Socket } from "socket.io-client";
import { pauseFor } from "./wait.ts";

/** How long requests of a closed client may take, in ms. A node that is suspended does not answer them. */
const END_MS = 1000;

/** A request of engine.io-client. */
interface Request {
  /** What sends the request; null when the request has ended and its listeners were called. */
  readonly _xhr: { abort(): void } | null;
}

/** The private parts of engine.io-client's polling transport. */
interface Polling {
  readonly name: string;
  readonly pollXhr?: Request;
  request(options: unknown): Request;
}

/**
 * Starts to record the requests that a client is about to send. Returns a function to call when the client is closed. It
 * waits until all requests have ended, and cancels them after {@linkcode END_MS}. A closed client does not wait for its
 * requests; if one fails when the test has ended, engine.io-client starts a timer, which counts as a leak.
 */
export function recordRequests({ io }: Socket): () => Promise<void> {
  const transport = io.engine.transport as unknown as Polling;
  if (transport.name !== "polling") return () => Promise.resolve();
  const requests = [transport.pollXhr];
  const { request } = transport;
  transport.request = (options) => {
    const sent = request.call(transport, options);
    requests.push(sent);
    return sent;
  };
  const inFlight = () => requests.flatMap((sent) => sent?._xhr ?? []);
  return async () => {
    const start = performance.now();
    while (inFlight().length > 0 && performance.now() - start < END_MS) {
      await pauseFor(1);
    }
    for (const sent of inFlight()) sent.abort();
    // The listeners of a cancelled request are called by a timer of 0 ms, which was started before this one.
    await pauseFor(0);
  };
}
