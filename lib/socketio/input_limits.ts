/**
 * Limits how much each Socket.IO client may send.
 *
 * An event beyond the limit of events is refused. Because a refusal takes time too, the frames of a WebSocket are
 * limited as well: the node stops reading from a client that sends more frames, and disconnects the client if it
 * continues. A client that polls and continues is disconnected without such a pause, because its requests have to be
 * answered.
 *
 * @module
 */
import type { Socket } from "socket.io";
import type { Client } from "../clients/client.ts";
import { closeBecause } from "../engineio/closing.ts";
import type { InputLimits } from "../engineio/input_limits.ts";
import { ApiError } from "../errors.ts";
import {
  EVENTS_BURST_SECONDS,
  RateLimit,
  type Usage,
} from "../limits/rate_limit.ts";
import type { Observe } from "../observer.ts";

/** How many frames a client may send for each event that it may send, because an event may have several frames. */
const FRAMES_PER_EVENT = 4;
/** Minimum number of frames per second that a client may send. */
const FRAMES_PER_SECOND_MIN = 200;
/**
 * Maximum number of pauses in a row in which the node does not read from a client, before it disconnects the client.
 * With pauses of 200 ms, a client may send too many frames for 10 s.
 */
const PAUSES_MAX = 50;

/** Options of {@linkcode EventLimits}. */
export interface EventLimitsOptions {
  /** How many events a client may send per second. */
  readonly eventsPerSecondMax: number;
  readonly observe: Observe;
}

/** Options of {@linkcode inputLimitsFor}. */
export interface InputLimitsOptions extends EventLimitsOptions {
  /** How many bytes a client may send at once. */
  readonly bytesMax: number;
  /** Called with the error when a client was disconnected because it has sent more bytes at once. */
  readonly onRefused: (error: ApiError) => void;
}

/** Creates the limits of frames and packets that belong to a limit of events. */
export function inputLimitsFor(
  { eventsPerSecondMax, bytesMax, onRefused, observe }: InputLimitsOptions,
): InputLimits {
  const onTooLarge = (): void => onRefused(tooLarge(bytesMax));
  const perSecond = Math.max(
    FRAMES_PER_EVENT * eventsPerSecondMax,
    FRAMES_PER_SECOND_MIN,
  );
  const atOnce = perSecond * EVENTS_BURST_SECONDS;
  return {
    frames: {
      rate: new RateLimit(perSecond, atOnce),
      pausesMax: PAUSES_MAX,
      onExceeded: (outcome) => {
        if (outcome === "too_large") return onTooLarge();
        observe({
          kind: "limited",
          limit: outcome === "closed" ? "floods" : "frames",
        });
      },
    },
    packetsMax: atOnce,
    onTooManyPackets: () => observe({ kind: "limited", limit: "packets" }),
    onTooLarge,
  };
}

/** Counts the events of each client. */
export class EventLimits {
  readonly #options: EventLimitsOptions;
  readonly #limit: RateLimit;
  /**
   * What clients that poll have used of the limit with refused events. The limit applies to these events again, and a
   * client that exceeds it is disconnected.
   */
  readonly #refused = new WeakMap<Client, Usage>();

  /** Starts without events. */
  constructor(options: EventLimitsOptions) {
    this.#options = options;
    const { eventsPerSecondMax: perSecond } = options;
    this.#limit = new RateLimit(perSecond, perSecond * EVENTS_BURST_SECONDS);
  }

  /**
   * Counts an event of a client.
   *
   * @throws {ApiError} `too_many_events` if the client has sent too many; a client that polls and sends many more is
   * then disconnected
   */
  count({ conn }: Socket, client: Client): void {
    const usage = client.events ??= { usedUntil: 0 };
    if (this.#limit.spend(usage) === 0) return;
    const { eventsPerSecondMax, observe } = this.#options;
    const error = tooManyEvents(eventsPerSecondMax);
    observe({ kind: "limited", limit: error.code });
    if (conn.transport.name === "polling") {
      const refused = this.#refused.get(client) ?? { usedUntil: 0 };
      this.#refused.set(client, refused);
      if (this.#limit.spend(refused) > 0) closeBecause(conn, error);
    }
    throw error;
  }
}

function tooManyEvents(perSecond: number): ApiError {
  return new ApiError(
    "too_many_events",
    `Cannot handle the event: you send more than ${perSecond} events per second, the limit of EVENTS_PER_SECOND_MAX; send it again later`,
  );
}

function tooLarge(bytesMax: number): ApiError {
  return new ApiError(
    "message_too_large",
    `Cannot read what a client has sent: it exceeds ${bytesMax} bytes; let the client send less, or raise MESSAGE_BYTES_MAX`,
  );
}
