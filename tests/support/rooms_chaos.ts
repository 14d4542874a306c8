/** Stock clients that join and leave rooms while their nodes are killed and drained. */
import { compareIds, ID_ZERO, idOf, laterId } from "../../lib/log/position.ts";
import type { Received, Subscriber } from "./client.ts";
import { type Keyed, oneOf, RestartingNodes } from "./restarting_nodes.ts";
import { Redis } from "./redis.ts";
import { pauseFor, until } from "./wait.ts";

const ROOMS = Array.from({ length: 12 }, (_, i) => `room-${i}`);
/** Those that are left again; in the others whoever has joined stays. */
const LEFT_AGAIN = new Set(ROOMS.filter((_, i) => i % 2 === 0));

/**
 * For so long after the answer to a join that its node was killed, messages of the answer may come again
 * (`docs/decisions/0007-recovery.md`, Price): some 6 ms on a machine that has nothing else to do.
 */
const UNSAVED_MS = 250;

/** What chaos came to. */
export interface RoomsOutcome {
  readonly published: number;
  readonly joins: number;
  /** How often a client came back, and how often it was told then that nothing is missing. */
  readonly returns: number;
  readonly recovered: number;
  /** Messages that came again because a node was killed as it had answered. */
  readonly again: number;
  /** What any client got wrong, as sentences. */
  readonly wrong: readonly string[];
  /** How often which thing was done. */
  readonly done: Readonly<Record<string, number>>;
}

/** A client's stay in a room, from one join until the next. */
interface Stay {
  /** As the last answer said it; unsure while one is awaited, and for good where it was lost. */
  state: "in" | "out" | "unsure";
  /** Where it was joined; once it was left, the newest message there was. */
  at: string;
  /** Messages in the answer to the join, and those that came. */
  readonly answered: Set<string>;
  answeredAt: number;
  readonly got: string[];
}

/** What has been published, by room: the ids, in order. */
type Published = ReadonlyMap<string, string[]>;

/**
 * Three nodes, 40 clients, a fifth of them polling, for `seconds`. What a client was told of its rooms has to hold on
 * whatever node it comes back to: of those it is in it gets every message, once and in order, and of those it has left
 * none.
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
  const end = performance.now() + seconds * 1000;
  const members: Member[] = [];
  try {
    for (let i = 0; i < 40; i++) {
      const client = await nodes.connect({
        transports: i % 5 === 0 ? ["polling"] : ["websocket"],
        auth: { rooms: [] },
      });
      members.push(new Member(client, published));
    }
    let number = 0;
    const publish = async (room: string, message: number): Promise<void> => {
      const keyed: Keyed = { room, message, key: `key ${message}` };
      published.get(room)?.push(...await nodes.publish([keyed]));
    };
    await Promise.all([
      nodes.disturb(end, 700),
      ...members.map((member) => member.wander(end)),
      // One after the other in each room, so that their ids are noted in order.
      ...ROOMS.map(async (room) => {
        while (performance.now() < end) {
          await publish(room, number++);
          await pauseFor(Math.random() * 150);
        }
      }),
    ]);
    await Promise.all(ROOMS.map((room) => publish(room, number++)));
    await until("all have all", () => members.every((member) => member.level))
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

/** A client that joins and leaves, and what it was told. */
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

  /** Joins rooms and leaves them, until `end`. */
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

  /** Whether it has the newest message of all rooms it is in. */
  get level(): boolean {
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
      this.#wrong.push(`a client was told a gap: ${reason}`);
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
      this.#wrong.push(`a client got ${id} of ${room}, which it never joined`);
      return;
    }
    const { state, at, answered, answeredAt, got } = stay;
    if (state === "out" && compareIds(id, at) > 0) {
      this.#wrong.push(`a client got ${id} of ${room} after it had left it`);
    }
    if (answered.has(id) || compareIds(id, got.at(-1) ?? ID_ZERO) <= 0) {
      const told = this.#lostAt - answeredAt;
      if (told >= 0 && told < UNSAVED_MS) return void this.again++;
      this.#wrong.push(`a client got ${id} of ${room} again or too late`);
    }
    got.push(id);
  }

  /** Undefined where the answer was lost with the connection. */
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
