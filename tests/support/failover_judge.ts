/**
 * Judges a run with failovers: whether clients received every message, or were notified of messages that Redis lost.
 *
 * The judge is a pure function of what publishers and clients recorded. A client is *notified* of a loss by a `gap` of
 * the room, by `recovered: false` at connect, or by `recovered: false` in the answer to a `join` with `since`. The
 * judge checks each client in each room that the client is in at the end:
 *
 * - **lost**: the client must have received each of these messages, or must have been notified later: messages that
 *   were acknowledged or are in the log at the end, and whose publish began after the server had confirmed that the
 *   client is in the room.
 * - **undone**: if the client received a message that is not in the log at the end, the client must have been notified
 *   afterwards. Redis has lost the message, and the client may lack messages that took its place.
 * - **twice**, **order**: no message may arrive twice, and each id must be greater than the id before, unless the
 *   client was notified in between.
 *
 * The judge also checks the log at the end: no message may be in the log twice and, with {@linkcode Case.nothingLost},
 * every acknowledged message must be in the log.
 *
 * A notification also counts if it comes before the acknowledgement but after the publish began, because Redis may have
 * lost the message while the publish was in flight. {@linkcode Verdict.notifiedEarly} counts the messages that pass
 * only because of this rule.
 */
import { compareIds, ID_ZERO } from "../../lib/log/position.ts";

/** A publish. Times are in ms, of one clock. */
export interface Published {
  /** The message's text, which is unique. */
  readonly key: string;
  readonly room: string;
  /**
   * When the acknowledged attempt began. If that is not known, because the response was `duplicate` or there was no
   * response, when the first attempt began.
   */
  readonly sentAt: number;
  /** Time of the acknowledgement, and the message's id in it; undefined if the publish was not acknowledged. */
  readonly acknowledged?: { readonly at: number; readonly id: string };
}

/** Something that a client observed, or did, at the time `at`. */
export type Happening =
  & { readonly at: number }
  & (
    | { readonly kind: "connected"; readonly recovered: boolean }
    | { readonly kind: "disconnected" }
    /** The client received the event `joined` of the room. */
    | { readonly kind: "joined"; readonly room: string }
    /** The client received the answer to a `join`. `since` says whether the client had sent a position. */
    | {
      readonly kind: "answered";
      readonly room: string;
      readonly since: boolean;
      readonly recovered: boolean;
      readonly messages: readonly Message[];
    }
    /** The client sends the request to leave a room. From now on it need not receive the room's messages. */
    | { readonly kind: "leaving"; readonly room: string }
    | { readonly kind: "gap"; readonly room: string; readonly reason: string }
    | { readonly kind: "message"; readonly room: string } & Message
  );

/** A message as a client received it, or as it is in the log. */
export interface Message {
  readonly id: string;
  readonly key: string;
}

/** What one client recorded, in the order in which it happened. */
export interface Timeline {
  readonly client: string;
  readonly happenings: readonly Happening[];
}

/** All recorded facts of a run. */
export interface Case {
  readonly published: readonly Published[];
  readonly timelines: readonly Timeline[];
  /** The messages of each room in the log at the end; a room whose history is incomplete is left out. */
  readonly log?: ReadonlyMap<string, readonly Message[]>;
  /** Whether the log must contain every acknowledged message, as `ACK_REPLICAS` promises. */
  readonly nothingLost?: boolean;
}

/** The judge's result. */
export interface Verdict {
  /** One sentence for each client, room and kind of error; empty if there is no error. */
  readonly wrong: readonly string[];
  /**
   * Number of messages that a client did not receive, or that Redis lost after the client had received them, and of
   * which the client was notified.
   */
  readonly notified: number;
  /** How many of these messages pass only because the client was notified while the publish was in flight. */
  readonly notifiedEarly: number;
  /**
   * Number of messages of join answers that arrived twice because the connection broke right after the answer, which
   * `docs/decisions/0007-recovery.md` accepts.
   */
  readonly again: number;
}

/** If a connection breaks within this time after a join answer, the answer's messages may arrive twice, in ms. */
const UNSAVED_MS = 250;

/** Judges a run by what publishers and clients have recorded. */
export function judgeFailover(run: Case): Verdict {
  const rooms = run.timelines.flatMap(({ client, happenings }) =>
    readTimeline(happenings).map((stay) => ({ client, stay }))
  );
  const found = rooms.map(({ client, stay }) => judgeStay(client, stay, run));
  const sum = (count: (verdict: Verdict) => number): number =>
    found.reduce((all, one) => all + count(one), 0);
  return {
    wrong: [...found.flatMap(({ wrong }) => wrong), ...judgeLog(run)],
    notified: sum(({ notified }) => notified),
    notifiedEarly: sum(({ notifiedEarly }) => notifiedEarly),
    again: sum(({ again }) => again),
  };
}

/** What one client recorded about one room. */
class Stay {
  readonly room: string;
  /** When the server confirmed that the client is in the room; undefined if the client has left the room. */
  since: number | undefined;
  /** The times at which the client was notified of a loss. */
  readonly notifications: number[] = [];
  readonly got: (Message & { readonly at: number })[] = [];
  /** Messages that arrived twice, or out of order, without a notification in between. */
  readonly twice: string[] = [];
  readonly disorder: string[] = [];
  again = 0;
  /** The value of `recovered` at the last connect. */
  recovered: boolean | undefined;
  /** The value of `since` before the client left; a join with a position continues there. */
  #former: number | undefined;
  /** The id and time of each message that was received since the last notification, by the message's key. */
  #seen = new Map<string, string>();
  /** The id of the last message that was received since the last notification. */
  #last = ID_ZERO;
  #answered = new Set<string>();
  #answeredAt = Infinity;

  constructor(room: string) {
    this.room = room;
  }

  enter(at: number): void {
    this.since ??= at;
  }

  /**
   * Records a join with a position: messages that were published since the client was last in the room have to arrive
   * too.
   */
  resume(at: number): void {
    this.since ??= this.#former ?? at;
  }

  leave(): void {
    this.#former = this.since ?? this.#former;
    this.since = undefined;
  }

  notify(at: number): void {
    this.notifications.push(at);
    this.#seen = new Map();
    this.#last = ID_ZERO;
  }

  take({ id, key }: Message, at: number, lostAt: number): void {
    const broke = lostAt - this.#answeredAt;
    if (this.#answered.has(id) && broke >= 0 && broke < UNSAVED_MS) {
      this.again++;
      return;
    }
    const before = this.#seen.get(key);
    const what = `${key} (${id} at ${Math.round(at)})`;
    if (before !== undefined) this.twice.push(`${what}, before as ${before}`);
    else if (compareIds(id, this.#last) <= 0) {
      this.disorder.push(`${what} after ${this.#last}`);
    }
    this.#seen.set(key, `${id} at ${Math.round(at)}`);
    this.#last = id;
    this.got.push({ id, key, at });
  }

  answer(messages: readonly Message[], at: number): void {
    for (const message of messages) this.take(message, at, -Infinity);
    this.#answered = new Set(messages.map(({ id }) => id));
    this.#answeredAt = at;
  }
}

function readTimeline(happenings: readonly Happening[]): Stay[] {
  const stays = new Map<string, Stay>();
  let recovered: boolean | undefined, lostAt = -Infinity;
  const stayIn = (room: string): Stay => {
    let stay = stays.get(room);
    if (stay === undefined) stays.set(room, stay = new Stay(room));
    return stay;
  };
  for (const happening of happenings) {
    const { kind, at } = happening;
    if (kind === "disconnected") lostAt = at;
    else if (kind === "connected") {
      recovered = happening.recovered;
      for (const stay of stays.values()) {
        stay.recovered = recovered;
        if (recovered) continue;
        stay.notify(at);
        stay.leave();
      }
    } else {
      const stay = stayIn(happening.room);
      if (kind === "joined") stay.enter(at);
      else if (kind === "leaving") stay.leave();
      else if (kind === "gap") stay.notify(at);
      else if (kind === "message") stay.take(happening, at, lostAt);
      else {
        const { since, recovered, messages } = happening;
        if (since && recovered) stay.resume(at);
        else stay.enter(at);
        if (since && !recovered) stay.notify(at);
        stay.answer(messages, at);
      }
    }
  }
  return [...stays.values()];
}

function judgeStay(client: string, stay: Stay, run: Case): Verdict {
  const { room, twice, disorder, again, recovered } = stay;
  const where = `${client} in ${room}`;
  const lost = findLost(stay, run);
  const undone = findUndone(stay, run);
  const as = recovered ? ", after recovered: true" : "";
  const wrong = [
    say(lost.silent.map(describe), (all) => `${where} lost ${all}${as}`),
    say(
      undone.silent,
      (all) => `${where} was not notified of undone ${all}${as}`,
    ),
    say(twice, (all) => `${where} got twice ${all}`),
    say(disorder, (all) => `${where} got out of order ${all}`),
  ].flat();
  return {
    wrong,
    notified: lost.notified + undone.notified,
    notifiedEarly: lost.notifiedEarly,
    again,
  };
}

function findLost(
  { room, since = Infinity, notifications, got }: Stay,
  { published, log }: Case,
): { silent: Published[]; notified: number; notifiedEarly: number } {
  const has = new Set(got.map(({ key }) => key));
  const kept = new Set(log?.get(room)?.map(({ key }) => key));
  const silent: Published[] = [];
  let late = 0, early = 0;
  for (const publish of published) {
    const { key, sentAt, acknowledged } = publish;
    if (publish.room !== room || sentAt < since || has.has(key)) continue;
    if (acknowledged === undefined && !kept.has(key)) continue;
    if (notifications.some((at) => at >= (acknowledged?.at ?? sentAt))) late++;
    else if (notifications.some((at) => at > sentAt)) early++;
    else silent.push(publish);
  }
  return { silent, notified: late + early, notifiedEarly: early };
}

function findUndone(
  { room, since = Infinity, notifications, got }: Stay,
  { log }: Case,
): { silent: string[]; notified: number } {
  const known = log?.get(room);
  if (known === undefined) return { silent: [], notified: 0 };
  const ids = new Set(known.map(({ id }) => id));
  const undone = got.filter(({ id, at }) => at >= since && !ids.has(id));
  const silent = undone.filter(({ at }) =>
    !notifications.some((then) => then >= at)
  );
  return {
    silent: silent.map(({ id, key, at }) =>
      `${key} (${id}, got at ${Math.round(at)})`
    ),
    notified: undone.length - silent.length,
  };
}

function judgeLog({ published, log, nothingLost }: Case): string[] {
  return [...log ?? []].flatMap(([room, messages]) => {
    const seen = new Set<string>();
    const twice = messages.map(({ key }) => key).filter((key) =>
      seen.has(key) || !seen.add(key)
    );
    const missing = nothingLost
      ? published.filter((one) =>
        one.room === room && one.acknowledged && !seen.has(one.key)
      )
      : [];
    return [
      ...say(twice, (all) => `the log of ${room} has twice ${all}`),
      ...say(missing.map(describe), (all) => `the log of ${room} lacks ${all}`),
    ];
  });
}

function describe({ key, sentAt, acknowledged }: Published): string {
  const sent = `${key} (sent at ${Math.round(sentAt)}`;
  if (acknowledged === undefined) return `${sent}, in the log)`;
  const { id, at } = acknowledged;
  return `${sent}, acknowledged as ${id} at ${Math.round(at)})`;
}

/**
 * Returns a list with one sentence, which names the first of `items` and the number of the others; an empty list if
 * there are none.
 */
function say(
  items: readonly string[],
  sentence: (all: string) => string,
): string[] {
  const [first] = items;
  if (first === undefined) return [];
  const others = items.length - 1;
  return [
    sentence(others === 0 ? first : `${first} and ${others} more`),
  ];
}
