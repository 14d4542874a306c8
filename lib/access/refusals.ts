/**
 * The errors for senders that may not do what they ask for.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import { quoted } from "../util/nearest.ts";
import type { Misfit } from "./claim_rooms.ts";
import type { Principal } from "./principal.ts";
import { type Action, READER } from "./rights.ts";

/** What each action does, for messages of errors. */
const DOES: Readonly<Record<Action, string>> = {
  subscribe: "join",
  publish: "publish into",
  history: "read the history of",
  presence: "see the members of",
  manage: "manage",
};

/** Returns the error for a client whose token, or the hook's answer about it, has expired while it is connected. */
export function expired({ by }: Principal, action: Action): ApiError {
  const state = by === "hook"
    ? "what the application has allowed the client has expired; connect again"
    : "the client's token has expired; send a new one with the event refresh";
  return new ApiError(
    "unauthorized",
    `Cannot ${DOES[action]} a room: ${state}`,
  );
}

/** Returns the error for a client that has been revoked while it is connected. */
export function revoked({ by }: Principal, action: Action): ApiError {
  const state = by === "hook"
    ? "the client's user has been revoked; connect again"
    : "the client's token has been revoked; get a new one and connect again";
  return new ApiError(
    "unauthorized",
    `Cannot ${DOES[action]} a room: ${state}`,
  );
}

/** Returns the error for a client whose grant for a room has expired. */
export function grantExpired(action: Action): ApiError {
  return new ApiError(
    "unauthorized",
    `Cannot ${
      DOES[action]
    } the room: the client's room token has expired; join the room again with a new one`,
  );
}

/** Returns the error for a client that sends a room token to a server that does not verify tokens. */
export function roomTokenUnused(room: string): ApiError {
  return new ApiError(
    "forbidden",
    `Cannot join ${
      quoted(room)
    }: this server verifies no tokens, so the room token grants nothing; set TOKEN_SECRET or TOKEN_JWKS_URL, or join without it`,
  );
}

/** Returns the error for a client without credentials in a room about which the join hook decides. */
export function hookNotAsked(room: string): ApiError {
  return new ApiError(
    "forbidden",
    `Cannot join ${
      quoted(room)
    }: the application has not allowed it; join the room again, so that it is asked`,
  );
}

/** Returns the error for a connected client without credentials that publishes where the join hook decides. */
export function hookGrantsNoPublish(room: string): ApiError {
  return new ApiError(
    "unauthorized",
    `Cannot publish into ${
      quoted(room)
    }: the join hook has not granted it; join the room first, and let the join hook answer with "pub" in "allow"`,
  );
}

/** Returns the error for a sender without credentials. */
export function missing(
  { lacks }: Principal,
  action: Action,
  hasTokens: boolean,
): ApiError {
  if (lacks === undefined && action === "publish") {
    return clientMayNotPublish(hasTokens);
  }
  if (lacks === "Cookie" && action !== "publish") {
    return cookieIgnored(
      action === "subscribe" ? "join" : "serve this request",
    );
  }
  if (lacks !== "Bearer" && action === "subscribe" && hasTokens) {
    return tokenMissing("join");
  }
  const state = lacks === "Bearer"
    ? "serve this request: its header Authorization does not begin with Bearer"
    : action === "publish"
    ? "publish: the request has no publish key"
    : "serve this request: it has no credentials";
  const orToken = hasTokens && READER.includes(action) ? " or a token" : "";
  return new ApiError(
    "unauthorized",
    `Cannot ${state}; send Authorization: Bearer <secret> with a secret from PUBLISH_KEYS${orToken}`,
  );
}

/** Returns the error for a connected client without credentials that publishes. */
function clientMayNotPublish(hasTokens: boolean): ApiError {
  return new ApiError(
    "unauthorized",
    hasTokens
      ? 'Cannot publish: the client has sent no token; connect with one that grants "pub"'
      : "Cannot publish: this server is not open, and verifies no tokens of clients; publish over HTTP with a publish key, or set TOKEN_SECRET or TOKEN_JWKS_URL",
  );
}

/** Where credentials are, if not in the usual place, as in `Credentials.place`. */
export type Place = "cookie" | "ignored_cookie" | "header";

/** Returns the error for a client that needs a token and has sent none where it counts. */
export function tokenMissing(
  verb: "connect" | "join",
  place?: Place,
): ApiError {
  if (place === "ignored_cookie") return cookieIgnored(verb);
  if (place === "header") {
    return new ApiError(
      "unauthorized",
      `Cannot ${verb}: the client has sent no token in auth.token; a Socket.IO client sends it there, as in { auth: { token: "…" } }, and not in the header Authorization`,
    );
  }
  return new ApiError(
    "unauthorized",
    `Cannot ${verb}: the client has sent no token; send one in auth.token or, to open a stream, in the header Authorization`,
  );
}

/** Returns the error for a sender whose cookie with a token does not count. */
function cookieIgnored(verb: string): ApiError {
  return new ApiError(
    "unauthorized",
    `Cannot ${verb}: the cookie with the token does not count, because the request has neither an allowed Origin nor Sec-Fetch-Site: same-origin; send it from a page of an allowed origin over https, or send the token in auth.token or the header Authorization`,
  );
}

/** Returns the error for a request whose cookie has something else than a token. */
export function cookieNotToken(): ApiError {
  return new ApiError(
    "unauthorized",
    "Cannot accept the token: the value of the cookie of TOKEN_COOKIE is not a client token; put a signed JSON Web Token into it, or delete it",
  );
}

/** Returns the error for a request whose secret belongs to no publish key and is no token. */
export function wrongSecret(hasTokens: boolean): ApiError {
  return new ApiError(
    "unauthorized",
    `Cannot serve this request: its secret is ${
      hasTokens
        ? "neither in PUBLISH_KEYS nor a client token"
        : "not in PUBLISH_KEYS"
    }; send the secret of a key, without the key's name, after Bearer`,
  );
}

/** Returns the error for a request whose secret is not a token, at a port where a publish key is no credential. */
export function keyNotCredential(): ApiError {
  return new ApiError(
    "unauthorized",
    "Cannot serve this request: its secret is not a client token, the only credential at this port; send a token or, from a backend, use INTERNAL_PORT",
  );
}

/** Returns the error for a request without a client token at a port where a publish key is no credential. */
export function readerRefused(hasTokens: boolean, place?: Place): ApiError {
  if (place === "ignored_cookie") return cookieIgnored("serve this request");
  return new ApiError(
    "unauthorized",
    hasTokens
      ? "Cannot serve this request: it carries no client token; send Authorization: Bearer <token>"
      : "Cannot serve this request: it needs a publish key, which is no credential at this port; send it to INTERNAL_PORT",
  );
}

/** Returns the error for a sender whose credentials do not allow `action`. */
export function forbidden(
  principal: Principal,
  action: Action,
  room: string | undefined,
): ApiError {
  const where = room === undefined ? "any room" : quoted(room);
  const misfit = principal.misfits.find(({ start }) => room?.startsWith(start));
  return notAllowed(principal, action, where, misfit);
}

/**
 * Returns the error for a sender whose credentials do not allow `action` in all rooms.
 *
 * @param doing What the sender wanted to do, as in "revoke".
 */
export function forbiddenEverywhere(
  principal: Principal,
  action: Action,
  doing: string,
): ApiError {
  if (principal.kind !== "key") {
    return notAllowed(principal, action, "all rooms");
  }
  return new ApiError(
    "forbidden",
    `Cannot ${doing}: this needs a publish key for all rooms, and PUBLISH_KEY_ROOMS limits this one; use a key that it does not limit`,
  );
}

function notAllowed(
  { kind, by }: Principal,
  action: Action,
  where: string,
  misfit?: Misfit,
): ApiError {
  const grantor = by === "hook" ? "hook" : kind === "key" ? "key" : "token";
  const advice = misfit !== undefined && action !== "manage"
    ? adviceAbout(misfit, grantor)
    : action === "manage" && kind !== "key"
    ? "send it over HTTP with a publish key"
    : action === "publish" && grantor === "token"
    ? 'send it over HTTP with a publish key, or over Socket.IO with a token that grants "pub"'
    : ADVICE[grantor];
  return new ApiError(
    "forbidden",
    `Cannot ${DOES[action]} ${where}: the ${
      GRANTOR[grantor]
    } does not allow it; ${advice}`,
  );
}

/** Returns the advice for a client whose claim does not fit into a template of `TOKEN_ROOMS`. */
function adviceAbout(
  { claim, character }: Misfit,
  grantor: "token" | "hook" | "key",
): string {
  const what = grantor === "hook"
    ? "the user of the connect hook's result"
    : `its claim ${quoted(claim)}`;
  return `${what} has the character ${
    quoted(character)
  }, with which TOKEN_ROOMS grants nothing; use a claim without it, or "caps"`;
}

/** What allows something, for messages of errors. */
const GRANTOR = {
  key: "publish key",
  token: "token",
  hook: "application",
} as const;
/** What to do if it does not. */
const ADVICE = {
  key: "use another one, or grant it in PUBLISH_KEY_ROOMS",
  token: 'use another one, or grant it in "caps" of the token, or TOKEN_ROOMS',
  hook: 'grant it in "caps" of the connect hook\'s result, or TOKEN_ROOMS',
} as const;
