/**
 * Commands that the nodes of one log send each other.
 *
 * A command arrives at most once, and in no particular order relative to messages. Every fact that must not be lost is
 * therefore also stored in Redis.
 *
 * @module
 */

/** A session was resumed on the sending node. Connections with a lower generation are outdated. */
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
  /** Sends a command to all other nodes. Never throws and never waits. */
  send(command: ClusterCommand): void;
  /** Calls `handle` for each command of another node. Call this method once, before the first command arrives. */
  onCommand(handle: (command: ClusterCommand) => void): void;
}

/** The cluster of an embedded node, which has no other nodes. */
export const singleNode: Cluster = {
  send: () => {},
  onCommand: () => {},
};
