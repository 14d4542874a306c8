/**
 * Ends the connections of clients, and removes a client that is no longer connected from everything that knows it.
 *
 * @module
 */
import type { Cluster } from "../cluster/cluster.ts";
import type { SessionWriter } from "../sessions/writer.ts";
import type { Client } from "./client.ts";
import type { Roster } from "./roster.ts";

/** Options of {@linkcode Disconnects}. */
export interface DisconnectsOptions {
  readonly roster: Pick<Roster, "get" | "delete" | "leave">;
  readonly writer: Pick<
    SessionWriter,
    "save" | "release" | "forget" | "resumedElsewhere"
  >;
  readonly cluster: Pick<Cluster, "send" | "onCommand">;
  /** Called with each client whose connection has ended. The client is removed from its rooms after the call. */
  readonly disconnected: (client: Client) => void;
}

/**
 * Disconnects clients of this node. A session has one connection at a time: if another connection resumes the session,
 * on this node or on another one, the older connection is closed.
 */
export class Disconnects {
  readonly #options: DisconnectsOptions;

  /** Registers for the commands of other nodes. */
  constructor(options: DisconnectsOptions) {
    this.#options = options;
    options.cluster.onCommand(
      "session_resumed",
      ({ digest, generation }) => this.resumedElsewhere(digest, generation),
    );
  }

  /** Disconnects a client, so that it may connect again by itself. */
  disconnect(client: Client): void {
    const { subscriber } = client;
    this.#forget(client);
    subscriber?.disconnect();
  }

  /** Ends the connection and the session of a client. `mayReturn`: the client may connect again by itself. */
  end(client: Client, mayReturn: boolean): void {
    const { subscriber } = client;
    this.dropped(client, true);
    if (mayReturn) subscriber?.disconnect();
    else subscriber?.dismiss();
  }

  /**
   * Records that a client's connection has closed.
   *
   * @param hasLeft Whether the client or this node has ended the connection for good. The session is then deleted.
   */
  dropped(client: Client, hasLeft: boolean): void {
    const { subscriber } = client;
    if (subscriber === undefined) return;
    const { writer } = this.#options;
    this.#forget(client);
    if (subscriber.disconnectedAsSlow) {
      client.overloaded = true;
      writer.save(client);
    }
    if (hasLeft) writer.forget(client);
  }

  /**
   * Closes the older connections of a session that this client has resumed, on this node and on all others. A node
   * keeps such a connection open if the client's network has failed and the node has not noticed it yet.
   */
  replaceOlder({ digest, generation }: Client): void {
    const { roster, cluster } = this.#options;
    const older = roster.get(digest);
    if (older !== undefined) this.disconnect(older);
    cluster.send({ kind: "session_resumed", digest, generation });
  }

  /**
   * Disconnects this node's client with the session `digest` if the client has a lower generation than `generation`,
   * with which another connection has resumed the session.
   */
  resumedElsewhere(digest: string, generation: number): void {
    const { roster, writer } = this.#options;
    const client = roster.get(digest);
    if (client !== undefined && client.generation >= generation) return;
    if (client !== undefined) this.disconnect(client);
    writer.resumedElsewhere(digest);
  }

  #forget(client: Client): void {
    const { roster, writer, disconnected } = this.#options;
    const { subscriber, rooms } = client;
    client.subscriber = undefined;
    disconnected(client);
    writer.release(client);
    roster.delete(client);
    if (subscriber === undefined) return;
    for (const room of rooms.keys()) roster.leave(client, subscriber, room);
  }
}
