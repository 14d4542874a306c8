/**
 * The hooks of a server: they ask a backend who may connect, who may join which room, and what clients may publish.
 *
 * @module
 */
import { readActions, WrongForm } from "../access/forms.ts";
import type {
  ConnectHook,
  ConnectQuestion,
  JoinHook,
  JoinQuestion,
} from "../access/hooks.ts";
import type { RoomGrant } from "../access/principal.ts";
import { Rights } from "../access/rights.ts";
import {
  readExpiry,
  readFields,
  readVerdict,
  type Verdict,
} from "../access/verdict.ts";
import { addressGroup } from "../limits/addresses.ts";
import { parseRoom } from "../log/message.ts";
import type { HookName, Observe } from "../observer.ts";
import type { PublishHook } from "../publish/publish_hook.ts";
import { quoted } from "../util/nearest.ts";
import { refusedBy } from "./answer.ts";
import { HookCaller } from "./caller.ts";
import { askPublish } from "./publish.ts";
import { keyOfSecret } from "./signature.ts";

/** Maximum number of calls of all hooks together that are in flight on one node. Each hook has an equal share. */
const CALLS_MAX = 20;
/** Maximum size of the response of the connect hook and of the join hook, in bytes. */
const RESPONSE_BYTES_MAX = 64 << 10;
/** Maximum size of the join hook's result as JSON text, in bytes. The session keeps one for each room. */
const GRANT_BYTES_MAX = 2048;

/** The settings of the hooks. At least one of the URLs is set. */
export interface HookSettings {
  readonly connectUrl: string | undefined;
  readonly joinUrl: string | undefined;
  readonly publishUrl: string | undefined;
  /** The rooms about which the join and publish hooks are asked, as names and patterns that end in `*`. */
  readonly rooms: readonly string[];
  /** The names of the headers of a client's request that are passed on, in lower case. */
  readonly headers: readonly string[];
  readonly timeoutMs: number;
  /** The secret with which calls are signed; undefined if they are not signed. */
  readonly secret: string | undefined;
}

/** Options of {@linkcode Hooks}. */
export interface HooksOptions extends HookSettings {
  /** Maximum size of a message, in bytes of JSON. */
  readonly messageBytesMax: number;
  /**
   * Returns whether a text is the secret of a publish key. By default, no text counts as one. Roomcast sends hooks no
   * header and no token that contains the secret of a publish key, because the key may belong to another backend.
   */
  readonly isPublishKey?: (secret: string) => boolean;
}

/** The hooks of a server. */
export class Hooks {
  readonly connect: ConnectHook | undefined;
  readonly join: JoinHook | undefined;
  readonly publish: PublishHook | undefined;
  readonly #callers: readonly HookCaller[];

  /** Creates the hooks that the settings name; calls nothing yet. */
  constructor(
    { connectUrl, joinUrl, publishUrl, messageBytesMax, ...settings }:
      HooksOptions,
    observe: Observe,
    now: () => number = Date.now,
  ) {
    const { rooms, timeoutMs, secret, isPublishKey = () => false } = settings;
    const urls = { connect: connectUrl, join: joinUrl, publish: publishUrl };
    const used = Object.values(urls).filter((url) => url !== undefined).length;
    const callers: HookCaller[] = this.#callers = [];
    const callerOf = (hook: HookName): HookCaller | undefined => {
      const url = urls[hook];
      if (url === undefined) return undefined;
      const caller = new HookCaller({
        hook,
        url,
        timeoutMs,
        callsMax: Math.floor(CALLS_MAX / used),
        // JSON may use six bytes for a character of a message (`\u0041`).
        responseBytesMax: RESPONSE_BYTES_MAX +
          (hook === "publish" ? 6 * messageBytesMax : 0),
        key: secret === undefined ? undefined : keyOfSecret(secret),
        isPublishKey,
        observe,
        now,
      });
      callers.push(caller);
      return caller;
    };
    const [connect, join] = [callerOf("connect"), callerOf("join")];
    this.connect = connect && {
      ask: (question) => askConnect(connect, question, now),
    };
    const concerned = new Rights([{ rooms, actions: ["subscribe"] }]);
    const concerns = (room: string) => concerned.allow("subscribe", room);
    this.join = join && {
      concerns,
      ask: (question) => askJoin(join, question, now),
    };
    const publish = callerOf("publish");
    this.publish = publish && {
      concerns,
      ask: (question) => askPublish(publish, question, messageBytesMax),
    };
  }

  /** Number of calls in flight. */
  get running(): number {
    return this.#callers.reduce((sum, { running }) => sum + running, 0);
  }

  /** Number of calls that wait. */
  get waiting(): number {
    return this.#callers.reduce((sum, { waiting }) => sum + waiting, 0);
  }

  /** Cancels the calls in flight, and closes the connections. */
  close(): void {
    for (const caller of this.#callers) caller.close();
  }
}

function askConnect(
  caller: HookCaller,
  { headers, isWanted, ...question }: ConnectQuestion,
  now: () => number,
): Promise<Verdict> {
  const { client, transport, address, rooms, data, token } = question;
  const { origin = null } = question;
  return caller.call({
    verb: "connect",
    // Addresses take turns, so that many clients from one address cannot keep out the clients of another. One client may
    // have all IPv6 addresses with the same first 64 bits.
    caller: addressGroup(address),
    body: JSON.stringify({
      client,
      transport,
      origin,
      address,
      rooms,
      data,
      token,
    }),
    token,
    headers,
    isWanted,
    read: (result, sentAt) => {
      const verdict = readVerdict(result, sentAt);
      for (const room of verdict.rooms ?? []) checkRoom(room);
      checkExpiry(verdict.expiresAt, now());
      return verdict;
    },
  });
}

function askJoin(
  caller: HookCaller,
  { headers, isWanted, ...question }: JoinQuestion,
  now: () => number,
): Promise<RoomGrant> {
  const { client, room, data, token } = question;
  const user = question.user ?? null;
  const verb = `join ${quoted(room)}`;
  return caller.call({
    verb,
    caller: client,
    body: JSON.stringify({ client, user, room, data, token }),
    token,
    headers,
    isWanted,
    read: (result, sentAt) => {
      const grant = readGrant(result, sentAt);
      checkExpiry(grant.expiresAt, now());
      if (grant.actions.includes("subscribe")) return grant;
      throw refusedBy({ code: "forbidden", message: undefined }, verb);
    },
  });
}

/** Reads the result of the join hook. @throws {WrongForm} */
function readGrant(result: unknown, issuedAt: number): RoomGrant {
  const fields = ["allow", "info", "expiresAt"];
  const { allow, info, ...times } = readFields(result, fields, GRANT_BYTES_MAX);
  const expiresAt = readExpiry(times.expiresAt);
  return {
    by: "hook",
    actions: readActions("allow", allow),
    issuedAt,
    ...expiresAt !== undefined && { expiresAt },
    ...info !== undefined && { info },
  };
}

function checkRoom(room: string): void {
  try {
    parseRoom(room);
  } catch {
    throw new WrongForm('"rooms" has a text that is not the name of a room');
  }
}

function checkExpiry(expiresAt: number | undefined, now: number): void {
  if (expiresAt === undefined || expiresAt > now) return;
  throw new WrongForm(
    '"expiresAt" has already passed; check the clocks of both servers',
  );
}
