/**
 * The interface of sources of messages other than publishes over HTTP, such as Redis channels. Their messages have no
 * principal, and {@linkcode Publisher} is not involved.
 *
 * @module
 */

/**
 * A part that appends messages from another source than publishes over HTTP to the log, such as the bridge from Redis
 * channels.
 */
export interface Ingress {
  /** The name of the source in error messages, in the plural, such as "Redis channels". */
  readonly name: string;
  /** Whether some node can append a message that arrives at the source now. */
  readonly working: boolean;
  /**
   * Configuration problems because of which messages of the source can be lost, as sentences without duplicates; empty
   * if there are none.
   */
  warnings(): readonly string[];
  /** Stops appending messages of the source. Never rejects. */
  close(): Promise<void>;
}
