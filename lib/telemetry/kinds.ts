/**
 * How each kind of observation is logged: its level, and a sentence for people.
 *
 * @module
 */
import type { LogLevel, Observation } from "../observer.ts";

/**
 * The level of a kind of observation, and a sentence that is true for every observation of this kind. In a log line,
 * the observation's fields follow the sentence.
 */
type Line = readonly [level: LogLevel, sentence: string];

/** The level and sentence of each kind. Observations of a kind with `undefined` are not logged, only counted. */
export const KINDS: Readonly<Record<Observation["kind"], Line | undefined>> = {
  started: ["info", "Roomcast is running"],
  connections_refused: [
    "warn",
    "Connections were refused, because the limit of file descriptors is reached",
  ],
  listener_failed: ["error", "The process no longer accepts connections"],
  listener_full: [
    "error",
    "The process cannot accept connections, because no file descriptor is free",
  ],
  listener_recovered: ["warn", "The process accepts connections again"],
  listener_lost: [
    "error",
    "The process exits, because it cannot accept connections again",
  ],
  listener_unwatched: [
    "warn",
    "The process cannot connect to itself, so it would not detect that it accepts no connections",
  ],
  direct_write_disabled: [
    "warn",
    "Messages are written through streams from now on, which is slower",
  ],
  stopping: ["info", "Stopping"],
  stopped: ["info", "Stopped"],
  published: undefined,
  publish_failed: undefined,
  publishes_refused: ["warn", "Publishes of a key were refused"],
  request_unauthorized: undefined,
  requests_unauthorized: [
    "warn",
    "HTTP requests were refused with 401, because their key or token is missing or not accepted",
  ],
  pages_refused: [
    "warn",
    "HTTP requests of pages were refused, because of the page's origin or of the host",
  ],
  delivered: undefined,
  skipped: undefined,
  slow_client_disconnected: [
    "info",
    "A slow client was disconnected; it recovers when it reconnects",
  ],
  client_connected: undefined,
  client_disconnected: undefined,
  client_refused: undefined,
  clients_turned_away: [
    "warn",
    "Clients cannot connect at the moment; they try again by themselves",
  ],
  clients_refused: [
    "warn",
    "Clients were refused, for example because of their token or their page's origin",
  ],
  events_refused: [
    "warn",
    "Events of connected clients were refused; a client that asks for no answer is not told",
  ],
  connections_unknown: [
    "info",
    "Requests named connections that this node does not have; if clients cannot connect, let the load balancer send all requests of a client to one node",
  ],
  proxy_untrusted: [
    "warn",
    "X-Forwarded-For of an address that is not in TRUSTED_PROXIES is ignored; add the address if it is your proxy",
  ],
  limited: undefined,
  unknown_event: undefined,
  recovered: undefined,
  recovery_incomplete: undefined,
  sessions_evicted: undefined,
  bridged: undefined,
  bridge_refused: [
    "warn",
    "Messages of Redis channels were refused, because they are not valid",
  ],
  bridge_taken_over: undefined,
  bridge_gap: [
    "warn",
    "Messages of Redis channels may be missing; clients get a gap",
  ],
  bridge_overflow: [
    "error",
    "The bridge discarded messages of Redis channels, because its queue was full",
  ],
  bridge_subscription_stale: [
    "warn",
    "The subscription to Redis channels delivered nothing and is being renewed",
  ],
  bridge_stuck: [
    "warn",
    "Messages of Redis channels cannot be appended at the moment",
  ],
  bridge_recovered: [
    "info",
    "Messages of Redis channels can be appended again",
  ],
  entry_skipped: ["warn", "An entry of the log was skipped as invalid"],
  epoch_changed: [
    "warn",
    "A new epoch has begun, because the log lost messages; clients get a gap",
  ],
  epoch_unconfirmed: [
    "warn",
    "Redis has another history; all nodes have to confirm that it lacks no message",
  ],
  epoch_confirmed: [
    "info",
    "All nodes have confirmed that Redis lacks no message",
  ],
  redis_is_replica: [
    "warn",
    "This Redis server is a replica and accepts no writes",
  ],
  log_trimmed_unread: [
    "warn",
    "The log was trimmed before this node had read it; clients get a gap",
  ],
  redis_connected: ["info", "Connected to Redis"],
  redis_disconnected: ["warn", "Redis is not reachable; trying again"],
  redis_connection_lost: undefined,
  redis_config_warning: ["error", "A setting of Redis can lose messages"],
  config_warning: ["warn", "A setting may not do what you want"],
  token_keys_unreachable: [
    "warn",
    "The server of TOKEN_JWKS_URL does not give out its keys; those that are known stay valid",
  ],
  token_ignored: [
    "warn",
    "A client sends a token that is not verified, because neither TOKEN_SECRET nor TOKEN_JWKS_URL is set",
  ],
  client_without_rooms: [
    "info",
    "A client that names no rooms is in no room, because its token or the connect hook allows none of ROOMS; name its rooms in auth.rooms, unless it joins them later",
  ],
  token_keys_fetched: undefined,
  token_verified: undefined,
  verified_token_forgotten: undefined,
  token_refused: undefined,
  token_keys_recovered: [
    "info",
    "The server of TOKEN_JWKS_URL gives out its keys again",
  ],
  revoked: ["debug", "A user or a token was revoked"],
  client_revoked: undefined,
  revocations_restored: [
    "warn",
    "Redis had lost revocations, which were stored again",
  ],
  directed: [
    "debug",
    "A backend has asked to put clients into a room, to take them out, or to disconnect them",
  ],
  directive_applied: undefined,
  directive_failed: [
    "info",
    "A client could not be put into a room, taken out or disconnected, as a backend has asked",
  ],
  directives_restored: [
    "warn",
    "Redis had lost which clients backends have put into rooms, taken out or disconnected, which was stored again",
  ],
  directives_missed: [
    "warn",
    "This node could not reach Redis for so long that it may have missed joins, leaves and disconnects of backends; its clients were disconnected and connect again as new clients",
  ],
  occupancy_restored: [
    "warn",
    "Redis lacked what this node had reported about its clients, which was reported again",
  ],
  hook_called: undefined,
  hook_failed: [
    "warn",
    "A hook has given no usable answer; clients try again by themselves",
  ],
  hook_down: [
    "warn",
    "The backend of a hook is down; its calls fail at once until it is back",
  ],
  hook_recovered: ["info", "The backend of a hook responds again"],
  error: ["error", "An unexpected error, which may be a bug of Roomcast"],
};
