/**
 * Lets at most a given number of calls run at a time, and makes the others wait in a fair order.
 *
 * @module
 */
import { type Timeout, TimeoutList } from "../util/deadline.ts";
import { Deque } from "../util/deque.ts";

/** Options of {@linkcode CallQueue}. */
export interface CallQueueOptions {
  /** Maximum number of calls that run at a time. */
  readonly runningMax: number;
  /** Maximum number of calls that wait. */
  readonly waitingMax: number;
  /** Maximum number of calls that wait for one caller, so that one caller cannot fill the queue. */
  readonly waitingPerCallerMax: number;
  /** Maximum bytes that the waiting calls hold. */
  readonly bytesMax: number;
  /** How long a call may wait, in ms. */
  readonly waitMs: number;
}

/** A call that is to be made. */
export interface QueuedCall {
  /** For whom the call is made. Callers take turns, however many calls each of them has. */
  readonly caller: string;
  /** Estimated bytes that the call holds while it waits. */
  readonly bytes: number;
}

/** The error of a call that was not made. */
export class QueueError extends Error {
  override name = "QueueError";
}

/** A call that waits. */
interface Waiting {
  readonly call: QueuedCall;
  readonly start: () => void;
  readonly refuse: (error: QueueError) => void;
  timeout: Timeout<Waiting> | undefined;
}

/** Runs a limited number of calls at a time. Callers take turns, and the calls of one caller run in their order. */
export class CallQueue {
  readonly #options: CallQueueOptions;
  /** The waiting calls of each caller. The caller whose turn is next comes first. */
  readonly #byCaller = new Map<string, Deque<Waiting>>();
  readonly #timeouts: TimeoutList<Waiting>;
  #running = 0;
  #waiting = 0;
  #bytes = 0;

  /** Creates an empty queue. */
  constructor(options: CallQueueOptions) {
    this.#options = options;
    this.#timeouts = new TimeoutList(
      options.waitMs,
      (waiting) => this.#expire(waiting),
    );
  }

  /** Number of calls that run. */
  get running(): number {
    return this.#running;
  }

  /** Number of calls that wait. */
  get waiting(): number {
    return this.#waiting;
  }

  /**
   * Makes a call as soon as fewer than `runningMax` calls run and it is the caller's turn. Settles as `work` does.
   *
   * @throws {QueueError} if too many calls wait, or if the call has waited too long
   */
  async run<T>(call: QueuedCall, work: () => Promise<T>): Promise<T> {
    if (this.#running < this.#options.runningMax) this.#running++;
    else await this.#turn(call);
    try {
      return await work();
    } finally {
      this.#running--;
      this.#startNext();
    }
  }

  /** Refuses all calls that wait, and stops the timer. */
  close(): void {
    for (const { call, refuse } of this.#timeouts) {
      this.#take(call.caller);
      refuse(new QueueError("the node is stopping"));
    }
    this.#timeouts.close();
  }

  /** Resolves when it is the call's turn. The call then counts as running. */
  #turn(call: QueuedCall): Promise<void> {
    const { waitingMax, waitingPerCallerMax, bytesMax } = this.#options;
    const calls = this.#byCaller.get(call.caller) ?? new Deque<Waiting>();
    if (
      this.#waiting >= waitingMax || calls.size >= waitingPerCallerMax ||
      this.#bytes + call.bytes > bytesMax
    ) throw new QueueError("too many calls wait");
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        call,
        start: resolve,
        refuse: reject,
        timeout: undefined,
      };
      waiting.timeout = this.#timeouts.add(waiting);
      this.#waiting++;
      this.#bytes += call.bytes;
      calls.push(waiting);
      this.#byCaller.set(call.caller, calls);
    });
  }

  /** Starts the next call, if one waits. The caller's turn after that comes after those of all others. */
  #startNext(): void {
    const [caller] = this.#byCaller.keys();
    if (caller === undefined) return;
    const next = this.#take(caller);
    const calls = this.#byCaller.get(caller);
    if (calls !== undefined) {
      this.#byCaller.delete(caller);
      this.#byCaller.set(caller, calls);
    }
    if (next?.timeout !== undefined) this.#timeouts.remove(next.timeout);
    this.#running++;
    next?.start();
  }

  /** Refuses a call that has waited too long. It is the first one of its caller, because all wait equally long. */
  #expire({ call, refuse }: Waiting): void {
    this.#take(call.caller);
    refuse(
      new QueueError(`no call was free within ${this.#options.waitMs} ms`),
    );
  }

  /** Removes the first call of a caller from the queue. */
  #take(caller: string): Waiting | undefined {
    const calls = this.#byCaller.get(caller);
    const first = calls?.shift();
    if (first === undefined) return undefined;
    if (calls?.size === 0) this.#byCaller.delete(caller);
    this.#waiting--;
    this.#bytes -= first.call.bytes;
    return first;
  }
}
