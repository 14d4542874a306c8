/**
 * The base class of data that a node has to load once before it can use it.
 *
 * @module
 */
import { deadline } from "./deadline.ts";

/** How long a caller waits if it gives no other time, in ms. */
const LOAD_TIMEOUT_MS = 5000;

/** Data that a node has to load once before it can use it, and for which callers can wait. */
export class Loadable {
  readonly #notLoaded: () => Error;
  readonly #loaded = Promise.withResolvers<void>();
  #isLoaded = false;

  /** Starts as not loaded. `notLoaded` creates the error with which {@linkcode Loadable.whenLoaded} rejects. */
  constructor(notLoaded: () => Error) {
    this.#notLoaded = notLoaded;
  }

  /** Whether everything has been loaded from where it is stored. */
  get isLoaded(): boolean {
    return this.#isLoaded;
  }

  /** Records that everything has been loaded. */
  loaded(): void {
    this.#isLoaded = true;
    this.#loaded.resolve();
  }

  /**
   * Resolves once everything has been loaded. Rejects with the error of `notLoaded` if that has not happened after
   * `timeoutMs`.
   */
  async whenLoaded(timeoutMs = LOAD_TIMEOUT_MS): Promise<void> {
    if (this.#isLoaded) return;
    try {
      await deadline(this.#loaded.promise, timeoutMs, "loading");
    } catch {
      throw this.#notLoaded();
    }
  }
}
