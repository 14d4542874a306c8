/**
 * What the nodes of one log tell each other besides messages.
 *
 * Commands arrive at most once, and in no order with messages. Whatever has to hold is kept in Redis as well.
 *
 * @module
 */

/** A session goes on at the sending node; connections with a lower generation are left over. */
export interface SessionResumed {
  readonly kind: "session_resumed";
  /** The hash of the session's secret. */
  readonly digest: string;
  readonly generation: number;
}

/** What a node can tell the others. */
export type ClusterCommand = SessionResumed;

/** The way to the other nodes. */
export interface Cluster {
  /** Sends a command to all other nodes. Never throws and never waits. */
  send(command: ClusterCommand): void;
  /** Calls `handle` for each command of another node. Called once, before the first command. */
  onCommand(handle: (command: ClusterCommand) => void): void;
}

/** The cluster of an embedded node: there are no others. */
export const singleNode: Cluster = {
  send: () => {},
  onCommand: () => {},
};
