/**
 * Commands that nodes with the same log send each other.
 *
 * A command may be lost, and may arrive before or after messages that were published at the same time. Nodes therefore
 * store everything that must not be lost in Redis too.
 *
 * @module
 */

/**
 * Says that a client has reconnected to the sending node with its session. Other connections with this session are
 * outdated if their generation is lower.
 */
export interface SessionResumed {
  readonly kind: "session_resumed";
  /** The hash of the session's secret. */
  readonly digest: string;
  readonly generation: number;
}

/** A command that a node can send to the other nodes. */
export type ClusterCommand = SessionResumed;

/** Sends commands to the other nodes and receives their commands. */
export interface Cluster {
  /** Sends a command to all other nodes, without waiting for them. Never throws. */
  send(command: ClusterCommand): void;
  /** Calls `handle` for each command of another node. Call this method once, before the first command arrives. */
  onCommand(handle: (command: ClusterCommand) => void): void;
}

/** The cluster of a node without Redis, which has no other nodes: sends and receives nothing. */
export const singleNode: Cluster = {
  send: () => {},
  onCommand: () => {},
};
