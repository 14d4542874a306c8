/** Lets stock clients join and leave rooms while nodes are killed and drained, and checks what they receive. */
import { compareIds, ID_ZERO, idOf, laterId } from "../../lib/log/position.ts";
import type { Received, Subscriber } from "./client.ts";
import { type Keyed, oneOf, RestartingNodes } from "./restarting_nodes.ts";
import { Redis } from "./redis.ts";
import { pauseFor, until } from "./wait.ts";

const ROOMS = Array.from({ length: 12 }, (_, i) => `room-${i}`);
/** The rooms that clients leave again. Clients stay in all other rooms that they have joined. */
const LEFT_AGAIN = new Set(ROOMS.filter((_, i) => i % 2 === 0));

/**
 * If a node is killed within this time after it has answered a join, in ms, the messages of the answer may arrive twice
 * (`docs/decisions/0007-recovery.md`, Consequences). On an idle machine this happens only within about 6 ms.
 */
const UNSAVED_MS = 250;

/** The result of a run. */
export interface RoomsOutcome {
  readonly published: number;
  readonly joins: number;
  /** Number of reconnects. */
  readonly returns: number;
  /** Number of reconnects that were reported as recovered. */
  readonly recovered: number;
  /** Number of messages that arrived twice because a node was killed right after it had answered a join. */
  readonly again: number;
  /** The errors of all clients, as sentences; empty if the run has passed. */
  readonly wrong: readonly string[];
  /** The number of disturbances of each kind. */
  readonly done: Readonly<Record<string, number>>;
}

/** What a client has received of a room since the client last joined the room. */
interface Stay {
  /** Whether the client is in the room, according to the last answer. `unsure` while an answer is missing. */
  state: "in" | "out" | "unsure";
  /** The id of the join's position. After a leave, the id of the newest message of the room at that time. */
  at: string;
  /** The ids of the messages in the answer to the join. */
  readonly answered: Set<string>;
  /** The time at which the answer to the join arrived. */
  answeredAt: number;
  /** The ids of the room's messages that the client received as events. */
  readonly got: string[];
}

/** The ids of the published messages of each room, in order. */
type Published = ReadonlyMap<string, string[]>;

/**
 * Disturbs three nodes and 40 clients, a fifth of them polling, for `seconds`. A join or leave that one node has
 * answered must also hold on every node to which the client reconnects. There the client has to receive every message
 * of its rooms once and in order, and no message of a room that it has left.
 */
export async function disturbRooms(
  { seconds }: { seconds: number },
): Promise<RoomsOutcome> {
  await using redis = await Redis.start();
  await using nodes = await RestartingNodes.start(3, {
    REDIS_URL: redis.url,
    HISTORY_SIZE: "100000",
    DRAIN_SECONDS: "1",
  });
  const published: Published = new Map(ROOMS.map((room) => [room, []]));
  const members: Member[] = [];
  try {
    for (let i = 0; i < 40; i++) {
      const client = await nodes.connect({
        transports: i % 5 === 0 ? ["polling"] : ["websocket"],
        auth: { rooms: [] },
      });
      members.push(new Member(client, published));
    }
    const end = performance.now() + seconds * 1000;
    let number = 0;
    const publish = async (room: string, message: number): Promise<void> => {
      const keyed: Keyed = { room, message, key: `key ${message}` };
      published.get(room)?.push(...await nodes.publish([keyed]));
    };
    await Promise.all([
      nodes.disturb(end, 700),
      ...members.map((member) => member.wander(end)),
      // One after the other in each room, so that their ids are recorded in order.
      ...ROOMS.map(async (room) => {
        while (performance.now() < end) {
          await publish(room, number++);
          await pauseFor(Math.random() * 150);
        }
      }),
    ]);
    await Promise.all(ROOMS.map((room) => publish(room, number++)));
    await until(
      "all clients have received everything",
      () => members.every((member) => member.caughtUp),
    )
      .catch(() => {});
    const connects = members.flatMap(({ client }) =>
      client.connects.items.slice(1)
    );
    return {
      published: number,
      joins: members.reduce((sum, { joins }) => sum + joins, 0),
      returns: connects.length,
      recovered: connects.filter((recovered) => recovered).length,
      again: members.reduce((sum, { again }) => sum + again, 0),
      wrong: members.flatMap((member) => member.judge()),
      done: nodes.done,
    };
  } finally {
    for (const { client } of members) await client[Symbol.asyncDispose]();
  }
}

/** A client that joins and leaves rooms, with a record of what it has received. */
class Member {
  readonly client: Subscriber;
  joins = 0;
  again = 0;
  #lostAt = -Infinity;
  readonly #published: Published;
  readonly #stays = new Map<string, Stay>();
  readonly #wrong: string[] = [];

  constructor(client: Subscriber, published: Published) {
    this.client = client;
    this.#published = published;
    client.socket.on("disconnect", () => this.#lostAt = performance.now());
    client.socket.on("msgReceived", () => {
      for (const received of client.messages.items.splice(0)) {
        this.#note(received);
      }
    });
  }

  /** Lets the client join and leave random rooms until the time `end`. */
  async wander(end: number): Promise<void> {
    while (performance.now() < end) {
      await pauseFor(Math.random() * 60);
      if (!this.client.socket.connected) continue;
      const room = oneOf(ROOMS);
      const stay = this.#stays.get(room);
      if (stay === undefined || stay.state === "out") await this.#join(room);
      else if (stay.state === "in" && LEFT_AGAIN.has(room)) {
        await this.#leave(room, stay);
      }
    }
  }

  /** Whether the client has received the newest message of each of its rooms. */
  get caughtUp(): boolean {
    return [...this.#stays].every(([room, { state, got }]) =>
      state !== "in" || got.at(-1) === this.#published.get(room)?.at(-1)
    );
  }

  judge(): string[] {
    for (const [room, { state, at, got }] of this.#stays) {
      if (state !== "in") continue;
      const expected = this.#published.get(room)?.filter((id) =>
        compareIds(id, at) > 0
      ) ?? [];
      if (got.join() !== expected.join()) {
        this.#wrong.push(
          `a client in ${room} since ${at} got ${got.length} of ${expected.length}`,
        );
      }
    }
    for (const { reason } of this.client.gaps.items) {
      this.#wrong.push(`a client received a gap: ${reason}`);
    }
    return this.#wrong.slice(0, 5);
  }

  async #join(room: string): Promise<void> {
    const stay: Stay = {
      state: "unsure",
      at: ID_ZERO,
      answered: new Set(),
      answeredAt: Infinity,
      got: [],
    };
    this.#stays.set(room, stay);
    this.joins++;
    const answer = await this.#ask("join", { room, last: oneOf([0, 3]) });
    if (answer === undefined) return;
    stay.state = "in";
    stay.answeredAt = performance.now();
    stay.at = idOf(answer.position);
    for (const { id } of answer.messages) stay.answered.add(id);
  }

  async #leave(room: string, stay: Stay): Promise<void> {
    stay.state = "unsure";
    const answer = await this.#ask("leave", { room });
    if (answer === undefined) return;
    stay.state = "out";
    stay.at = laterId(
      this.#published.get(room)?.at(-1) ?? ID_ZERO,
      stay.got.at(-1) ?? ID_ZERO,
    );
  }

  #note({ room, id }: Received): void {
    const stay = this.#stays.get(room);
    if (stay === undefined) {
      this.#wrong.push(
        `a client received ${id} of ${room}, which it never joined`,
      );
      return;
    }
    const { state, at, answered, answeredAt, got } = stay;
    if (state === "out" && compareIds(id, at) > 0) {
      this.#wrong.push(`a client received ${id} of ${room} after leaving it`);
    }
    if (answered.has(id) || compareIds(id, got.at(-1) ?? ID_ZERO) <= 0) {
      const told = this.#lostAt - answeredAt;
      if (told >= 0 && told < UNSAVED_MS) return void this.again++;
      this.#wrong.push(
        `a client received ${id} of ${room} twice or out of order`,
      );
    }
    got.push(id);
  }

  /**
   * Sends a request of the client. Resolves to the answer, or to undefined if the connection breaks before the answer
   * arrives.
   */
  // deno-lint-ignore no-explicit-any -- answers of every shape
  #ask(event: string, request: unknown): Promise<any> {
    const { socket } = this.client;
    return new Promise((resolve) => {
      const lost = (): void => resolve(undefined);
      socket.once("disconnect", lost);
      socket.emit(event, request, (answer: unknown) => {
        socket.off("disconnect", lost);
        resolve(answer);
      });
    });
  }
}
