/**
 * Checks whether the log on Redis is still the one that this node has read.
 *
 * See `docs/decisions/0014-epochs-and-fail-over.md`.
 *
 * @module
 */
import { newEpoch } from "../log/position.ts";
import type { Observe } from "../observer.ts";
import type { RedisClock } from "../redis/clock.ts";
import type { RedisClient } from "../redis/connection.ts";
import type { Keys } from "../redis/keys.ts";
import { deadline } from "../util/deadline.ts";
import { check, type Finding, type Question } from "./check.ts";
import type { Verdict, Witness } from "./witness.ts";

/** Maximum duration of a check, in ms. If Redis executes it later, the check does nothing. */
const CHECK_TIMEOUT_MS = 1500;

const UNCONFIRMED =
  "Redis is another server or was promoted; all nodes have to confirm within 6 s that it lacks no message";
const REPLICA =
  "Redis is a replica and takes no writes; set REDIS_URL to the address of its master";

/** Options of {@linkcode Continuity}. */
export interface ContinuityOptions {
  readonly witness: Witness;
  readonly clock: RedisClock;
  readonly keys: Keys;
  readonly logLength: number;
  readonly historySeconds: number;
  readonly observe: Observe;
}

/** The result of a check, with its arguments and the time at which it began. */
export interface Answer {
  readonly question: Question;
  readonly finding: Finding;
  readonly askedAt: number;
}

/** Runs the checks of this node, and reports their results. */
export class Continuity {
  readonly #options: ContinuityOptions;
  #why: unknown;
  /** The result of the last check. `#unconfirmedAt` is the time since which the epoch has not been confirmed. */
  #state: Finding["state"] | undefined;
  #unconfirmedAt = 0;

  /** Creates the checks without running one. */
  constructor(options: ContinuityOptions) {
    this.#options = options;
  }

  /** The reason why it is not known whether the log is still the same; undefined if it is known. */
  get why(): unknown {
    return this.#why;
  }

  /** Records that reading was interrupted: the log is unconfirmed until the next check. */
  interrupted(why = this.#why): void {
    this.#why = why;
    this.#options.witness.interrupted();
  }

  /**
   * Asks Redis whether the log is still the same, and whether it holds everything that this node knows.
   *
   * @param isFirst Whether this node has not begun to read. A replica without a log is then an error.
   */
  async ask(client: RedisClient, isFirst: boolean): Promise<Answer> {
    const { witness, clock, keys } = this.#options;
    const askedAt = performance.now();
    const question = witness.question(newEpoch(), askedAt);
    const expires = clock.at(askedAt + CHECK_TIMEOUT_MS);
    const finding = await deadline(
      check(client, keys, this.#options, question, expires),
      CHECK_TIMEOUT_MS,
      "checking the log",
    );
    clock.set(finding.now);
    if (isFirst && finding.epoch === "") throw new Error("READONLY");
    return { question, finding, askedAt };
  }

  /**
   * Takes the result of a check, and returns its consequence for this node. It may move the node to another epoch. The
   * caller has to report the gap in the same synchronous step: until then, the head has an epoch that the ring and the
   * clients do not have yet.
   */
  take({ question, finding, askedAt }: Answer): Verdict {
    const { witness, observe } = this.#options;
    const verdict = witness.take(question, finding, askedAt);
    this.#report(finding, question.epoch);
    if (verdict.kind === "epoch") {
      const why = finding.why || "Redis lacks messages that this node knew";
      observe({ kind: "epoch_changed", epoch: witness.epoch, why });
    }
    return verdict;
  }

  /** Unregisters this node in Redis, if everything that it knows is in the log. The caller limits the time. */
  async leave(client: RedisClient): Promise<void> {
    const { witness, keys } = this.#options;
    const question = witness.question(newEpoch(), performance.now(), "leave");
    await check(client, keys, this.#options, question);
  }

  /** Reports each change of whether the epoch is confirmed. */
  #report({ state, nodes, epoch, why }: Finding, before: string): void {
    const { observe } = this.#options;
    this.#why = state === "replica" ? new Error("READONLY") : undefined;
    if (before === "" && why !== "") {
      observe({ kind: "epoch_changed", epoch, why });
    }
    if (state === this.#state) return;
    const now = performance.now();
    if (state === "unconfirmed") {
      observe({
        kind: "epoch_unconfirmed",
        nodes: nodes.size,
        why: UNCONFIRMED,
      });
    } else if (state === "replica") {
      observe({ kind: "redis_is_replica", why: REPLICA });
    } else if (this.#state !== undefined && epoch === before) {
      const durationMs = Math.round(now - this.#unconfirmedAt);
      observe({ kind: "epoch_confirmed", durationMs });
    }
    if (this.#state === "confirmed" || this.#state === undefined) {
      this.#unconfirmedAt = now;
    }
    this.#state = state;
  }
}
