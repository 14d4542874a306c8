/**
 * Authentication of connecting clients: determines who a client is, by its token or by the connect hook, and whether
 * the session that it wants to resume is its own.
 *
 * @module
 */
import type { Access } from "../access/access.ts";
import type { Asker } from "../access/hooks.ts";
import { type Principal, userOf } from "../access/principal.ts";
import { RateLimit, type Usage } from "../limits/rate_limit.ts";
import { clientIdOf, hashSessionSecret } from "../sessions/session.ts";
import { namesOf, requestsNamed } from "./asked_rooms.ts";
import type { Hello } from "./hello.ts";
import type { Loaded } from "./plans.ts";
import type { SessionLookup } from "./session_lookup.ts";

/**
 * Limits how many sessions are read for clients whose tokens are then refused: 100 per second, and 1,000 at once. Beyond
 * this limit, a node verifies tokens without their seals, and reads the session only of a client whose token is valid.
 */
const WASTED_READS = new RateLimit(100, 1000);

/** Options of {@linkcode Authentication}. */
export interface AuthenticationOptions {
  readonly access: Pick<Access, "decide">;
  readonly roomsPerClientMax: number;
}

/** Determines who connecting clients are. */
export class Authentication {
  readonly #options: AuthenticationOptions;
  /** The sessions that were read for clients whose tokens were then refused. */
  readonly #wasted: Usage = { usedUntil: 0 };

  /** Stores the options. */
  constructor(options: AuthenticationOptions) {
    this.#options = options;
  }

  /**
   * Resolves to the principal of a client; undefined if the connect hook decides about it.
   *
   * @throws {ApiError} if the client may not connect, or if that is not known at the moment
   */
  async authenticate(
    { principal, authenticate }: Hello,
    session: SessionLookup,
  ): Promise<Principal | undefined> {
    if (authenticate === undefined) return principal;
    const mayRead = WASTED_READS.charge(this.#wasted, 0) === 0;
    try {
      return await authenticate(mayRead ? () => session.seal() : undefined);
    } catch (error) {
      if (session.hasReadSeal) WASTED_READS.charge(this.#wasted, 1);
      throw error;
    }
  }

  /**
   * Lets the connect hook decide about a client, unless the client resumes a session with a verdict that still counts.
   *
   * The hook is asked with the id of the client whose session is to be resumed. If the hook then names another user, the
   * connecting client does not get this session, but a new session with a new id. The hook is then asked again with the
   * new id. Otherwise its backend would know the connecting client by the id of another user's client.
   *
   * @throws {ApiError} if the client may not connect, or if that is not known at the moment
   */
  async decide(
    hello: Hello,
    found: Loaded,
    newSecret: string,
  ): Promise<Principal> {
    const { introduction, rooms = [] } = hello;
    const { access, roomsPerClientMax } = this.#options;
    if (introduction === undefined) {
      throw new TypeError("a client without a principal has no introduction");
    }
    // A client that resumes its session gets the rooms of the session, whatever it names.
    const names = found.kind === "found"
      ? [...requestsNamed(rooms).keys()].slice(0, roomsPerClientMax)
      : namesOf(rooms, roomsPerClientMax);
    const kept = found.kind === "found"
      ? found.stored.session.verdict
      : undefined;
    const asker = askerOf(hello, found, newSecret);
    const principal = await access.decide(
      { ...introduction, ...asker, rooms: names },
      kept,
    );
    const own = ofUser(found, principal);
    return own === found ? principal : await this.decide(hello, own, newSecret);
  }
}

/**
 * Returns the client that connects, for questions to hooks. It has the id of the client whose session it resumes,
 * otherwise that of a new session.
 */
export function askerOf(
  { secret, introduction, isOpen }: Hello,
  found: Loaded,
  newSecret: string,
): Asker {
  const session = found.kind === "found" ? found.stored.session : undefined;
  const own = session === undefined ? newSecret : secret ?? newSecret;
  return {
    client: clientIdOf(hashSessionSecret(own), session?.inheritedId),
    headers: introduction?.headers ?? {},
    isWanted: isOpen,
  };
}

/**
 * Returns the loaded session if it belongs to this principal. A session of another user counts as one that does not
 * exist, so that a user cannot use a stolen secret.
 */
export function ofUser(found: Loaded, principal: Principal): Loaded {
  return found.kind === "found" &&
      found.stored.session.user !== userOf(principal)
    ? { kind: "none" }
    : found;
}
