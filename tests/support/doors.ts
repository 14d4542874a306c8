/** Two nodes with tokens and all hooks, and what can be taken away from their clients. */
import assert from "node:assert/strict";
import type { Subscriber } from "./client.ts";
import { HeldHooks } from "./held_hooks.ts";
import type { HookCall } from "./hook_backend.ts";
import type { TestNode } from "./node.ts";
import { Random } from "./random.ts";
import { KEY, revoke, TokenNodes } from "./token_nodes.ts";
import { inSeconds, makeToken } from "./tokens.ts";
import { soon, until } from "./wait.ts";

/** A client of a round. Each round has a user and a room of its own. */
export interface Attacker {
  readonly user: string;
  readonly room: string;
  readonly client: Subscriber;
  /** The node to which the client is connected first. */
  readonly node: TestNode;
  /** The events `left` that the client has received. */
  readonly left: { room: string; reason: string }[];
}

/** Takes something away from a client. Resolves when the node of the client has done it. */
export type TakeAway = (attacker: Attacker) => Promise<void>;

/**
 * Two nodes on one Redis. The connect hook lets in the user that a client names, without rights. The join and publish
 * hooks concern the rooms `h.*` and allow everything. Clients with tokens have the right to the room `lobby`.
 */
export class Doors implements AsyncDisposable {
  readonly random: Random;
  readonly hooks: HeldHooks;
  readonly #nodes: TokenNodes;
  readonly a: TestNode;
  readonly b: TestNode;
  /** The users whom the join hook does not let in any more. */
  readonly refused = new Set<string>();
  #count = 0;

  private constructor(
    seed: number,
    hooks: HeldHooks,
    nodes: TokenNodes,
    [a, b]: readonly [TestNode, TestNode],
  ) {
    this.random = new Random(seed);
    this.hooks = hooks;
    this.#nodes = nodes;
    this.a = a;
    this.b = b;
    hooks.others = ({ path, body, headers }) => {
      if (path === "/connect") {
        return { user: body.data.user ?? headers["x-user"] };
      }
      if (path === "/publish") return {};
      return { allow: this.refused.has(body.user) ? [] : ["sub", "pub"] };
    };
  }

  /** Starts hooks, Redis and nodes. */
  static async start(seed: number): Promise<Doors> {
    const hooks = await HeldHooks.start(nameOf);
    const nodes = await TokenNodes.start({
      CONNECT_HOOK_URL: hooks.backend.url("/connect"),
      JOIN_HOOK_URL: hooks.backend.url("/join"),
      PUBLISH_HOOK_URL: hooks.backend.url("/publish"),
      HOOK_ROOMS: "h.*",
      HOOK_HEADERS: "x-user",
      HOOK_TIMEOUT_MS: "10000",
      EVENTS_PER_SECOND_MAX: "10000",
    });
    const started = [await nodes.node(), await nodes.node()] as const;
    return new Doors(seed, hooks, nodes, started);
  }

  /** One of both nodes. */
  any(): TestNode {
    return this.random.oneOf([this.a, this.b]);
  }

  /** The other node. */
  other(node: TestNode): TestNode {
    return node === this.a ? this.b : this.a;
  }

  /** Makes the user and the room of a new round. */
  names(): { user: string; room: string } {
    const number = ++this.#count;
    return { user: `user-${number}`, room: `h.${number}` };
  }

  /** Makes a token of a user, whose id is the user's name, with the right `allow` in `room`. */
  async token(
    user: string,
    room: string,
    allow: readonly string[],
  ): Promise<string> {
    return await makeToken({
      sub: user,
      jti: user,
      iat: inSeconds(-10),
      caps: [
        { rooms: ["lobby"], allow: ["sub"] },
        { rooms: [room], allow },
      ],
    });
  }

  /** Connects a client with a token that allows this in its room. */
  async withToken(allow: readonly string[]): Promise<Attacker> {
    const { user, room } = this.names();
    const token = await this.token(user, room, allow);
    return await this.#connect(user, room, { token, rooms: ["lobby"] });
  }

  /** Connects a client that the connect hook lets in, and that joins its room because the join hook allows it. */
  async withGrant(): Promise<Attacker> {
    const { user, room } = this.names();
    const attacker = await this.#connect(user, room, { user, rooms: [] });
    const [{ ok }] = await attacker.client.ask("join", { room });
    assert.ok(ok);
    return attacker;
  }

  /** Makes a client connect to the other node the next time, and breaks its connection off. */
  move({ client, node }: Pick<Attacker, "client" | "node">): void {
    Object.assign(client.socket.io, { uri: this.other(node).url });
    client.socket.io.engine.close();
  }

  /** Sends a request with the publish key. */
  async post(node: TestNode, path: string, body: unknown): Promise<void> {
    const { status, text } = await node.post(path, body, KEY);
    assert.equal(status, 200, `${path}: ${text}`);
  }

  /** The messages of a room, as the nodes have stored them. */
  async stored(room: string): Promise<unknown[]> {
    const { body } = await this.any().request(`/rooms/${room}/history`, {
      headers: KEY,
    });
    return body.messages.map(({ message }: { message: unknown }) => message);
  }

  /** Resolves when a node handles no publish of a client any more. */
  async settled(node: TestNode): Promise<void> {
    await until(
      "all publishes are handled",
      async () =>
        await node.metric("roomcast_client_publishes_in_flight") === 0,
    );
  }

  /** What can be taken away from a client, by name. */
  readonly take = {
    "nothing": () => Promise.resolve(),
    "revoke the user": async ({ user, client }) => {
      await revoke(this.any(), { user });
      await client.disconnects.have(1);
    },
    "revoke the token": async ({ user, client }) => {
      await revoke(this.any(), { jti: user });
      await client.disconnects.have(1);
    },
    "disconnect the user": async ({ user, client }) => {
      await this.post(this.any(), "/disconnect", { user });
      await client.disconnects.have(1);
    },
    "disconnect the client": async ({ client }) => {
      const { id } = client.socket;
      await this.post(this.any(), "/disconnect", { client: id });
      await client.disconnects.have(1);
    },
    "refresh with less": async ({ user, client }) => {
      const token = await this.token(user, "none", []);
      const [{ ok }] = await client.ask("refresh", { token });
      assert.ok(ok);
    },
    "take the user out": async ({ user, room, left }) => {
      await this.post(this.any(), `/rooms/${room}/leave`, { user });
      await until("it is told", () => left.length > 0);
    },
    "take the client out": async ({ client, room, left }) => {
      const { id } = client.socket;
      await this.post(this.any(), `/rooms/${room}/leave`, { client: id });
      await until("it is told", () => left.length > 0);
    },
    "leave": async ({ client, room }) => {
      const [{ ok }] = await client.ask("leave", { room });
      assert.ok(ok);
    },
    "move, and take the user out": async (attacker) => {
      const { user, room, client, node, left } = attacker;
      this.move(attacker);
      await client.connects.have(2);
      assert.ok(client.socket.recovered);
      // The node that the client has left is the first to know.
      await this.post(node, `/rooms/${room}/leave`, { user });
      await until("it is told", () => left.length > 0);
    },
    "move, and disconnect the user": async (attacker) => {
      const { user, client, node } = attacker;
      this.move(attacker);
      await client.connects.have(2);
      await this.post(node, "/disconnect", { user });
      await client.disconnects.have(2);
    },
  } satisfies Readonly<Record<string, TakeAway>>;

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#nodes[Symbol.asyncDispose]();
    await this.hooks[Symbol.asyncDispose]();
  }

  async #connect(
    user: string,
    room: string,
    auth: Readonly<Record<string, unknown>>,
  ): Promise<Attacker> {
    const node = this.any();
    const client = this.#nodes.client(node, auth);
    const left: Attacker["left"] = [];
    client.socket.on("left", (event) => left.push(event));
    await soon(client.connects.have(1), `${user} connects`);
    return { user, room, client, node, left };
  }
}

/** Returns the name that `HeldHooks` gives to a call: the name of the hook, then the connecting user or the room. */
function nameOf({ path, body, headers }: HookCall): string {
  return path === "/connect"
    ? `connect ${body.data.user ?? headers["x-user"]}`
    : `${path.slice(1)} ${body.room}`;
}
