/**
 * Limits the memory of batches: of their items until they are published, and of their results until they are read.
 *
 * @module
 */
import type { Context } from "hono";
import type { Observe } from "../lib/observer.ts";
import { type Env, outgoingResponse } from "./exchange.ts";
import { PageBudget } from "./page_budget.ts";

/** Estimated memory of an item beside its text, in bytes: mostly the error of an item that is not valid. */
const ITEM_BYTES = 1 << 10;
/** Estimated length of the result of an item as JSON, in characters. */
const RESULT_LENGTH = 200;
/** Maximum length of the results that publishers have not read yet, all together, in characters. */
const RESULTS_LENGTH_MAX = 32 << 20;

/** Counts the items of batches, and their results. */
export class BatchMemory {
  readonly #results: PageBudget;

  /** Starts without batches. `observe` receives `limited` for each connection that is closed. */
  constructor(observe: Observe) {
    this.#results = new PageBudget(
      observe,
      { lengthMax: RESULTS_LENGTH_MAX },
      { verb: "publish", limit: "batch_results" },
    );
  }

  /**
   * Counts a batch of `items` items: its items with `reserve`, as `BodyBudget.withBody()` passes it, and its results
   * until the response is sent. Call this before anything of the batch is published.
   *
   * @throws {ApiError} `overloaded` if there is no memory for the batch
   */
  take(
    c: Context<Env>,
    items: number,
    reserve: (bytes: number) => void,
  ): void {
    reserve(items * ITEM_BYTES);
    const response = outgoingResponse(c);
    if (response !== undefined) {
      this.#results.hold(response, items * RESULT_LENGTH);
    }
  }
}
