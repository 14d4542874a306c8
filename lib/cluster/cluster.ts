/**
 * Commands that nodes with the same log send each other.
 *
 * A command may be lost, and may arrive before or after messages that were published at the same time. Nodes therefore
 * store everything that must not be lost in Redis too.
 *
 * @module
 */

/**
 * Tells other nodes that a client has reconnected to the sending node with its session. A connection with the same
 * session and a lower generation is outdated.
 */
export interface SessionResumed {
  readonly kind: "session_resumed";
  /** The hash of the session's secret. */
  readonly digest: string;
  /** The session's generation since then, as in `Session.generation`. */
  readonly generation: number;
}

/**
 * Tells other nodes that a user or a token has been revoked, so that they read the revocations from the store. The
 * command names neither, so that a program that can only send commands cannot revoke anything.
 */
export interface Revoked {
  readonly kind: "revoked";
}

/**
 * Tells other nodes that a backend wants something to be done with clients, so that they read the directives from the
 * store. The command says nothing else, for the same reason as {@linkcode Revoked}.
 */
export interface Directed {
  readonly kind: "directed";
}

/** A command that a node can send to the other nodes. */
export type ClusterCommand = SessionResumed | Revoked | Directed;

/** A command of one kind. */
export type CommandOf<K extends ClusterCommand["kind"]> = Extract<
  ClusterCommand,
  { kind: K }
>;

/** Sends commands to the other nodes and receives their commands. */
export interface Cluster {
  /** Sends a command to all other nodes, without waiting for them. Never throws. */
  send(command: ClusterCommand): void;
  /**
   * Registers the function that is called with each command of this kind that another node sends. Call this method once
   * for each kind, before the first command arrives.
   */
  onCommand<K extends ClusterCommand["kind"]>(
    kind: K,
    handle: (command: CommandOf<K>) => void,
  ): void;
}

/** The cluster of a node without Redis. There are no other nodes, so it sends and receives nothing. */
export const singleNode: Cluster = {
  send: () => {},
  onCommand: () => {},
};
