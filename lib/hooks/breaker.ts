/**
 * A circuit breaker: while a server does not respond, calls of it fail at once.
 *
 * Otherwise each client that connects would wait for the time-out, and the server would get all calls that it cannot
 * answer on top of those that have to bring it back.
 *
 * @module
 */

/** Number of calls in a row without a response after which the breaker opens. */
const FAILURES_MAX = 5;
/** How long the breaker stays open at first, in ms. It is doubled each time the probe fails. */
const FIRST_PAUSE_MS = 1000;
/** Maximum time for which the breaker stays open before the next probe, in ms. */
const PAUSE_MS_MAX = 10_000;

/** The permission to make one call, which {@linkcode Breaker.settle} takes back with the call's outcome. */
export interface Permit {
  /** How many times the breaker had opened or closed when the call began. */
  readonly turn: number;
}

/** Options of {@linkcode Breaker}. */
export interface BreakerOptions {
  /** Called when the breaker opens. It is not called again when a probe fails. */
  readonly onOpen: () => void;
  /** Called when the breaker closes. */
  readonly onClose: () => void;
  /** Returns the time in ms. */
  readonly now: () => number;
}

/**
 * Counts calls without a response, and forbids further calls after {@linkcode FAILURES_MAX} of them in a row. After a
 * pause, one call at a time is permitted as a probe; the first probe that gets a response closes the breaker.
 */
export class Breaker {
  readonly #options: BreakerOptions;
  #failures = 0;
  /** How long the breaker is open now, in ms; 0 if it is closed. */
  #pauseMs = 0;
  #openUntil = 0;
  #isProbing = false;
  /** Grows when the breaker opens or closes, so that calls which began before no longer count. */
  #turn = 0;

  /** Creates a closed breaker. */
  constructor(options: BreakerOptions) {
    this.#options = options;
  }

  /** Whether a call would be forbidden now. */
  get isOpen(): boolean {
    return this.#pauseMs > 0 &&
      (this.#isProbing || this.#options.now() < this.#openUntil);
  }

  /**
   * Returns the permission to make a call; undefined if the call is forbidden. Each permit has to be passed to
   * {@linkcode Breaker.settle}.
   */
  enter(): Permit | undefined {
    if (this.isOpen) return undefined;
    this.#isProbing = this.#pauseMs > 0;
    return { turn: this.#turn };
  }

  /** Records whether the server has responded to a call, whatever the response was. */
  settle({ turn }: Permit, hasResponded: boolean): void {
    if (turn !== this.#turn) return;
    if (hasResponded) {
      this.#failures = 0;
      if (this.#pauseMs > 0) this.#close();
    } else if (this.#pauseMs > 0 || ++this.#failures >= FAILURES_MAX) {
      this.#open();
    }
  }

  #open(): void {
    const wasOpen = this.#pauseMs > 0;
    this.#pauseMs = wasOpen
      ? Math.min(2 * this.#pauseMs, PAUSE_MS_MAX)
      : FIRST_PAUSE_MS;
    this.#openUntil = this.#options.now() + this.#pauseMs;
    this.#isProbing = false;
    this.#turn++;
    if (!wasOpen) this.#options.onOpen();
  }

  #close(): void {
    this.#pauseMs = 0;
    this.#isProbing = false;
    this.#turn++;
    this.#options.onClose();
  }
}
