/**
 * Ingresses: sources of messages that append to the log without the publisher, and so without a principal.
 *
 * @module
 */

/** A source of messages that appends to the log on its own, such as the bridge from Redis channels. */
export interface Ingress {
  /** The name of the source in error messages, in the plural, such as "Redis channels". */
  readonly name: string;
  /** Whether a message that is sent to the source now will reach the log, through this node or another. */
  readonly working: boolean;
  /** Configuration problems that can lose messages, as sentences without duplicates. */
  warnings(): readonly string[];
  /** Stops appending. Never rejects. */
  close(): Promise<void>;
}
