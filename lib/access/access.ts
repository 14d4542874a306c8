/**
 * Access: identifies the sender of a request, and decides which actions the sender may perform.
 *
 * The routes, `Publisher` and `Clients` ask an `Access` before they act for a sender. Nothing else decides about
 * rights.
 *
 * @module
 */
import type { Observe } from "../observer.ts";
import { once } from "../util/once.ts";
import { grantsOfClaims, misfitsOf } from "./claim_rooms.ts";
import {
  type AskingOptions,
  type Decide,
  decider,
  type GetGrant,
  granter,
} from "./asking.ts";
import { readClaims } from "./claims.ts";
import { createDecisions, type Decisions } from "./decisions.ts";
import { makePrincipal, type Principal } from "./principal.ts";
import { type PublishKey, PublishKeys } from "./publish_keys.ts";
import {
  cookieNotToken,
  keyNotCredential,
  type Place,
  readerRefused,
  tokenMissing,
  wrongSecret,
} from "./refusals.ts";
import type { Revocations } from "./revocations.ts";
import { type Action, type Grant, OPERATOR, READER, Rights } from "./rights.ts";
import type { ReadSeal } from "./seals.ts";
import { textOf } from "./tokens.ts";
import { refuseRevoked, reportRefused, type Verified } from "./verifier.ts";

/** The credentials that were sent with an HTTP request, or by a client that connects. */
export interface Credentials {
  /**
   * `request`: an HTTP request, which a backend may have sent. `reader`: an HTTP request at a port that does not serve
   * backends, so that a publish key is no credential. `client`: a client that connects, which is never a backend.
   */
  readonly from: "request" | "reader" | "client";
  /**
   * The text after `Authorization: Bearer`, or the client's `auth.token`, whatever its type; undefined if there are no
   * credentials.
   */
  readonly secret: unknown;
  /** Whether a request has a header `Authorization` that does not begin with `Bearer`. */
  readonly lacksBearer?: boolean;
  /**
   * Where the credentials are, if not in the usual place. `cookie`: `secret` is from the cookie of `TOKEN_COOKIE`.
   * `ignored_cookie`: the request has that cookie, which does not count because of the request's origin. `header`: the
   * handshake of a Socket.IO client has a header `Authorization`, which never counts there.
   */
  readonly place?: Place | undefined;
}

/** Identifies the senders of requests and decides which actions they may perform. */
export interface Access extends Decisions {
  /**
   * Resolves to the principal that has these credentials, or to an anonymous principal if there are no credentials.
   *
   * @param readSeal Reads the seal in the session that a client wants to resume; not given if the signature of its
   * token has to be verified.
   * @throws {ApiError} `unauthorized` if the credentials are not valid, or if a client needs a token and has none;
   * `token_keys_unavailable` or `log_unreachable`, which are retryable, if a token cannot be verified at the moment
   */
  authenticate(
    credentials: Credentials,
    readSeal?: ReadSeal,
  ): Promise<Principal>;
  /**
   * Returns whether the connect hook decides about a client with this token: call {@linkcode Access.decide} for it
   * instead of `authenticate()`. The hook is never asked about a publish key.
   *
   * @param from Whose credentials count, as in {@linkcode Credentials}; `client` if not given.
   */
  asksHook(token: unknown, from?: Credentials["from"]): boolean;
  /**
   * Resolves to the principal of a client about which the connect hook decides. The hook is not asked if the session
   * that the client resumes has kept a verdict that has neither expired nor been revoked.
   *
   * @throws {ApiError} `unauthorized` or `forbidden` if the hook refuses the client; `hook_unavailable`, which is
   * retryable, if it gives no usable answer
   */
  readonly decide: Decide;
  /**
   * Resolves to the grant that a principal gets for a room which it is about to join; undefined if it gets none, so
   * that only its rights and the grant that it already has count. The caller adds the grant to the principal with
   * `withGrant()`, and asks `refusal()` with the result.
   *
   * @throws {ApiError} if the principal may certainly not join the room, or if that is not known at the moment
   */
  readonly grant: GetGrant;
}

/** Options of {@linkcode createAccess}. */
export interface AccessOptions extends AskingOptions {
  /** If there are none, anyone may publish and manage over HTTP. */
  readonly publishKeys: readonly PublishKey[];
  /** The users and tokens that are revoked; none by default. */
  readonly revocations?:
    | Pick<Revocations, "isRevoked" | "whenLoaded">
    | undefined;
  /** Names and patterns of rooms to which anyone may subscribe, also without a token (`PUBLIC_ROOMS`). */
  readonly publicRooms?: readonly string[];
  /** Reports tokens that are not accepted. */
  readonly observe?: Observe;
  /** Returns the time in ms since 1970; `Date.now` by default. */
  readonly now?: () => number;
}

const NONE_REVOKED = {
  isRevoked: () => false,
  whenLoaded: () => Promise.resolve(),
};
const EVERYTHING: readonly Action[] = [...READER, ...OPERATOR];

/** Creates the access rules of a server. */
export function createAccess(options: AccessOptions): Access {
  const { now = Date.now, revocations = NONE_REVOKED } = options;
  const { observe = () => {} } = options;
  const tokens = options.tokens && reportRefused(
    refuseRevoked(options.tokens, revocations),
    observe,
  );
  const { connectHook, joinHook } = options;
  // The connect hook may have been asked about the same token.
  const onTokenIgnored = once(() => {
    if (connectHook === undefined) observe({ kind: "token_ignored" });
  });
  const known = { ...options, tokens, onTokenIgnored };
  const keys = new PublishKeys(options.publishKeys);
  const anonymous = anonymousOf(known);
  const authenticate = authenticator(known, keys, anonymous);
  const hasTokens = tokens !== undefined;
  const decisions = createDecisions({ now, revocations, hasTokens, joinHook });
  return {
    authenticate: async (credentials, readSeal) => {
      const { from, secret, place } = credentials;
      if (hasTokens && place === "cookie" && !isTokenLike(`${secret}`)) {
        throw cookieNotToken();
      }
      const isIgnored = !hasTokens && secret !== undefined &&
        (from === "client" || keys.size === 0 && isTokenLike(`${secret}`));
      if (isIgnored) onTokenIgnored();
      return await authenticate(credentials, readSeal);
    },
    asksHook: (token, from = "client") => {
      if (connectHook === undefined) return false;
      if (token === undefined) return true;
      const isKey = from === "request" && keys.find(`${token}`) !== undefined;
      return !hasTokens && !isKey;
    },
    decide: decider(known, {
      everybody: anonymous.client.rights,
      revocations,
      now,
    }),
    grant: granter(known, decisions, now),
    ...decisions,
  };
}

/** Returns the function that finds out who has sent credentials. */
function authenticator(
  options: AccessOptions,
  keys: PublishKeys,
  anonymous: Anonymous,
): Access["authenticate"] {
  const { publishKeys, tokens } = options;
  const ofKeys = new Map(
    publishKeys.map((key) => [key.name, principalOfKey(key)]),
  );
  const ofToken = async (
    token: string,
    from: Credentials["from"],
    readSeal?: ReadSeal,
  ): Promise<Principal> => {
    if (tokens === undefined) return anonymous[from];
    const verified = await tokens.verify(token, readSeal);
    return principalOfToken(verified, options, from, anonymous[from].rights);
  };
  const ofRequest = (bearer: string): Principal | Promise<Principal> => {
    const name = keys.find(bearer);
    const key = name === undefined ? undefined : ofKeys.get(name);
    if (key !== undefined) return key;
    if (tokens !== undefined && isTokenLike(bearer)) {
      return ofToken(bearer, "request");
    }
    if (tokens === undefined && keys.size === 0) return anonymous.request;
    throw wrongSecret(tokens !== undefined);
  };
  const ofReader = (
    bearer: string | undefined,
    place: Place | undefined,
  ): Principal | Promise<Principal> => {
    if (bearer !== undefined && tokens !== undefined) {
      if (!isTokenLike(bearer)) throw keyNotCredential();
      return ofToken(bearer, "reader");
    }
    const { reader } = anonymous;
    if (reader.rights.allow("history")) return reader;
    throw readerRefused(tokens !== undefined, place);
  };
  return async ({ from, secret, lacksBearer, place }, readSeal) => {
    const principal = anonymous[from];
    if (from === "reader") {
      return await ofReader(secret === undefined ? secret : `${secret}`, place);
    }
    if (from === "request") {
      if (secret !== undefined) return await ofRequest(`${secret}`);
      if (lacksBearer) return anonymous.withoutBearer;
      return place === "ignored_cookie" ? anonymous.ignoredCookie : principal;
    }
    if (tokens === undefined) return principal;
    if (secret !== undefined) {
      return await ofToken(textOf(secret, "auth.token"), from, readSeal);
    }
    if (principal.rights.allow("subscribe")) return principal;
    throw tokenMissing("connect", place);
  };
}

/** Returns whether a text has the three parts of a signed JSON Web Token. */
function isTokenLike(text: string): boolean {
  return text.split(".", 4).length === 3;
}

/** The principals of senders without credentials. */
type Anonymous = Readonly<
  Record<Credentials["from"] | "withoutBearer" | "ignoredCookie", Principal>
>;

/**
 * Returns the principals of senders without credentials. If neither tokens nor the connect hook say who may join which
 * room, everyone may join every room about which the join hook is not asked.
 */
function anonymousOf(
  { publishKeys, tokens, publicRooms = [], connectHook, joinHook }:
    AccessOptions,
): Anonymous {
  const isOpen = publishKeys.length === 0;
  const isPublic = tokens === undefined && connectHook === undefined;
  const base = new Rights([{ rooms: publicRooms, actions: ["subscribe"] }]);
  const isExcluded = joinHook && ((room: string) => joinHook.concerns(room));
  const rightsFor = (actions: readonly Action[]): Rights => {
    if (!isPublic) return base;
    return new Rights([{ rooms: ["*"], actions }], base, isExcluded);
  };
  const kind = "anonymous";
  const rights = rightsFor(isOpen ? EVERYTHING : ["subscribe"]);
  const client = makePrincipal({ kind, rights });
  const open: Grant = { rooms: ["*"], actions: OPERATOR };
  const ofRequest = isOpen ? new Rights([open], rights) : rights;
  const requestThat = (lacks: Principal["lacks"]): Principal =>
    makePrincipal({ kind, lacks, rights: ofRequest });
  return {
    request: requestThat("Authorization"),
    withoutBearer: requestThat("Bearer"),
    ignoredCookie: requestThat("Cookie"),
    reader: isOpen
      ? makePrincipal({ kind, rights: rightsFor(READER) })
      : client,
    client,
  };
}

function principalOfKey({ name, rooms = ["*"] }: PublishKey): Principal {
  return makePrincipal({
    kind: "key",
    key: name,
    rights: new Rights([{ rooms, actions: EVERYTHING }]),
  });
}

/**
 * Creates the principal of a client with a verified token. Over HTTP a token is only for reading: publishing needs a
 * publish key there.
 */
function principalOfToken(
  { claims, seal }: Verified,
  { tokenRooms = [] }: AccessOptions,
  from: Credentials["from"],
  base: Rights,
): Principal {
  const { grants, ...facts } = readClaims(claims);
  const all = [...grants, ...grantsOfClaims(tokenRooms, claims)];
  return makePrincipal({
    ...facts,
    kind: "client",
    by: "token",
    seal,
    misfits: misfitsOf(tokenRooms, claims),
    rights: new Rights(from === "client" ? all : all.map(readOnly), base),
  });
}

function readOnly({ rooms, actions }: Grant): Grant {
  return {
    rooms,
    actions: actions.filter((action) => READER.includes(action)),
  };
}
