/**
 * The interface of parts that append messages which were not published over HTTP, such as the bridge from Redis
 * channels. These messages have no principal and do not pass through `Publisher`.
 *
 * @module
 */

/**
 * A part of a node that appends messages which were not published over HTTP, such as the bridge from Redis channels.
 */
export interface Ingress {
  /** The name of the messages' source in error sentences, in the plural, such as "Redis channels". */
  readonly name: string;
  /** Whether this node or another one can append a message that is sent to the source now. */
  readonly working: boolean;
  /**
   * Returns a sentence for each configuration problem because of which messages of the source can be lost, without
   * duplicates.
   */
  warnings(): readonly string[];
  /** Appends the messages that have already arrived, and then stops. Never rejects. */
  close(): Promise<void>;
}
