/**
 * Runs this node's checks of whether the log on Redis is still the log that this node has read.
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

/** Maximum duration of a check, in ms. A check that Redis executes later does nothing. */
const CHECK_TIMEOUT_MS = 1500;

const UNCONFIRMED =
  "Redis has restarted, failed over or been replaced; a new epoch begins unless all nodes confirm within 6 s that no message is lost";
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

/** The result of a check of the log, with the check's arguments and the time at which it began. */
export interface Answer {
  readonly question: Question;
  readonly finding: Finding;
  readonly askedAt: number;
}

/** Runs the checks of this node, and reports in log lines what they find. */
export class Continuity {
  readonly #options: ContinuityOptions;
  #why: unknown;
  /** The state that the last check has returned; undefined before the first check. */
  #state: Finding["state"] | undefined;
  /**
   * Time of `performance.now()` at which the state last changed from `confirmed` to another, for the field `durationMs`
   * of the log line `epoch_confirmed`.
   */
  #unconfirmedAt = 0;

  /** Stores the options. Call {@linkcode Continuity.ask} to run a check. */
  constructor(options: ContinuityOptions) {
    this.#options = options;
  }

  /**
   * The reason why this node cannot tell whether the log still has everything that the node has read; undefined if it
   * can.
   */
  get why(): unknown {
    return this.#why;
  }

  /** Records that reading was interrupted, for the reason `why`. The log counts as unconfirmed until the next check. */
  interrupted(why = this.#why): void {
    this.#why = why;
    this.#options.witness.interrupted();
  }

  /**
   * Runs a check: asks Redis whether the log still has every entry that this node has read or acknowledged. Pass the
   * result to {@linkcode Continuity.take}.
   *
   * @param isFirst Whether the node has not begun to read the log yet. The first check fails if Redis is a replica that
   * has no log.
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
   * Handles the result of a check, and returns what this node has to do. If the result is `epoch`, the caller has to
   * report a gap in the same synchronous step, because the log's head already has the new epoch while the ring and the
   * clients still have the old one.
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

  /**
   * Records in Redis that this node stops, so that other nodes no longer wait for its confirmation. Has no time limit
   * of its own.
   */
  async leave(client: RedisClient): Promise<void> {
    const { witness, keys } = this.#options;
    const question = witness.question(newEpoch(), performance.now(), "leave");
    await check(client, keys, this.#options, question);
  }

  /**
   * Reports in log lines if the state differs from that of the last check, or if this node's first check has begun an
   * epoch.
   */
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
