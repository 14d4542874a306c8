/**
 * Explains problems between the page and the server in words: what is wrong, and what to do about it.
 *
 * @module
 */

/** The advice for problems with an error code, by the code: a title, and what to do. */
const BY_CODE = {
  log_unreachable: [
    "The server cannot reach Redis",
    "Start Redis, or check REDIS_URL. The page connects by itself when Redis responds.",
  ],
  log_timeout: [
    "Redis responds too slowly",
    "Check the load of Redis and its disk. The page connects by itself when Redis responds in time.",
  ],
  log_loading: [
    "Redis is still loading its data",
    "Wait until it has finished. The page then connects by itself.",
  ],
  log_read_only: [
    "Redis accepts no writes",
    "REDIS_URL leads to a replica; set it to the master.",
  ],
  log_full: [
    "Redis is out of memory",
    "Raise maxmemory, or let the rooms keep less with HISTORY_SIZE.",
  ],
  log_denied: [
    "The Redis user lacks a permission",
    "Compare its ACL with docs/security.md.",
  ],
  log_not_replicated: [
    "Too few replicas confirm messages",
    "Check the replicas of Redis, or lower ACK_REPLICAS.",
  ],
  log_wrong_type: [
    "A key of Roomcast has another type",
    "Another program writes to Redis under the same names; choose another KEY_PREFIX.",
  ],
  log_failed: [
    "The server's log does not work",
    "See the server's log lines; the page connects by itself when it works again.",
  ],
  draining: [
    "This server is stopping",
    "Another one takes over, or this one after its restart. What you miss until then is recovered.",
  ],
  not_accepting: [
    "This server accepts no connections",
    "Use another one, and restart this one if it does not recover.",
  ],
  overloaded: [
    "The server is overloaded",
    "The page tries again by itself, at growing intervals.",
  ],
  unauthorized: [
    "The server does not let this page in",
    "Enter a valid token, which only this page will know, or sign in to the application if it decides about clients.",
  ],
  token_keys_unavailable: [
    "The server cannot fetch the keys that verify tokens",
    "Check TOKEN_JWKS_URL and the identity provider. The page connects by itself when the keys can be fetched.",
  ],
  hook_unavailable: [
    "The application that decides about clients does not answer",
    "Check CONNECT_HOOK_URL and JOIN_HOOK_URL, and see the server's log lines. The page tries again by itself.",
  ],
  origin_not_allowed: [
    "This page's origin is not allowed",
    "Add it to ALLOWED_ORIGINS of the server.",
  ],
  host_not_allowed: [
    "The server is not expected at this address",
    "Set PUBLISH_KEYS of the server, because a proxy lets others reach it.",
  ],
  invalid_room: [
    "The server rejects a room's name",
    "Close that room, and open one with another name.",
  ],
  too_many_clients: [
    "The server has reached its limit of clients",
    "Raise CLIENTS_MAX, or start more nodes. The page tries again by itself.",
  ],
  too_many_connects: [
    "Too many clients connect at the same time",
    "The page tries again by itself, at growing intervals.",
  ],
  too_many_connections: [
    "Too many connections from this address",
    "Close other pages, or raise CLIENTS_PER_ADDRESS_MAX. The page tries again by itself.",
  ],
  too_many_rooms: [
    "Too many rooms are open",
    "Close a room before you open another one.",
  ],
};

/** The advice for responses without a known error code, by the HTTP status. */
const BY_STATUS = {
  401: [
    "This needs a publish key",
    "Enter a secret from PUBLISH_KEYS of the server.",
  ],
  403: [
    "This is not allowed",
    "Use a publish key that has the right to do it.",
  ],
  429: ["Too many requests", "Wait a moment before you try again."],
  502: [
    "A proxy cannot reach the server",
    "Check that Roomcast runs where the proxy expects it.",
  ],
  503: [
    "The server cannot do it now",
    "The page tries again by itself.",
  ],
};

/** The advice if the server does not respond. */
const UNREACHABLE = [
  "The server does not respond",
  "Check that Roomcast runs and that this device is online. The page connects by itself when the server responds.",
];
/** The advice if the server responds to requests, but the page cannot connect. */
const BLOCKED = [
  "The server is ready, but no connection is established",
  "A proxy in between may block long requests and WebSocket, or may send requests of one client to several nodes.",
];

/**
 * Returns the advice for a problem.
 *
 * @param {{ status?: number, code?: string, message?: string }} problem `status` is 0 without a response
 * @returns {{ title: string, text: string, detail: string }} `detail` is what the server said, if it said something
 */
export function adviceFor({ status, code = "", message = "" }) {
  const [title, text] = lookUp(status, code);
  return { title, text, detail: message };
}

function lookUp(status, code) {
  // Without a status, the server has refused the connection and not a request.
  if (status === 401) return BY_STATUS[401];
  if (Object.hasOwn(BY_CODE, code)) return BY_CODE[code];
  if (status === 0) return UNREACHABLE;
  if (status === 200) return BLOCKED;
  return BY_STATUS[status] ??
    [
      "The server does not accept the connection",
      "See the server's log lines.",
    ];
}
