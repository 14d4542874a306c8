/**
 * What the nodes of one log tell each other besides messages.
 *
 * A command arrives at most once, and in no order with messages. Everything that has to hold is stored in Redis as well.
 *
 * @module
 */

/** A session was resumed on the sending node. Connections with a lower generation are left over. */
export interface SessionResumed {
  readonly kind: "session_resumed";
  /** The hash of the session's secret. */
  readonly digest: string;
  readonly generation: number;
}

/** What a node can tell the others. */
export type ClusterCommand = SessionResumed;

/** Sends commands to the other nodes and receives theirs. */
export interface Cluster {
  /** Sends a command to all other nodes. Never throws and never waits. */
  send(command: ClusterCommand): void;
  /** Calls `handle` for each command of another node. It is called once, before the first command. */
  onCommand(handle: (command: ClusterCommand) => void): void;
}

/** The cluster of an embedded node, which has no other nodes. */
export const singleNode: Cluster = {
  send: () => {},
  onCommand: () => {},
};
