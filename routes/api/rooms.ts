/**
 * Describes `/rooms`, `/rooms/{room}` and `/nodes`.
 *
 * @module
 */
import * as v from "valibot";
import { OF_LOG, type Operation } from "./operation.ts";
import { NO_QUERY, Room, wholeNumber } from "./schemas.ts";

/** Number of rooms in a page if the request has no `limit`. */
export const LIMIT_DEFAULT = 100;
/** Maximum number of rooms in a page. */
const LIMIT_MAX = 1000;

/** The query parameters of `GET /rooms`. */
export const ROOMS_QUERY = {
  schema: v.strictObject({
    prefix: v.optional(v.pipe(
      v.string(),
      v.description("What the names of the rooms begin with."),
    )),
    cursor: v.optional(v.pipe(
      v.string(),
      v.description(
        "The `cursor` of the page before. Send the same `prefix` with it.",
      ),
    )),
    limit: v.optional(wholeNumber(
      "limit",
      { min: 1, max: LIMIT_MAX, default: LIMIT_DEFAULT },
      "Maximum number of rooms of the page.",
    )),
  }),
  instead: {
    pattern: "prefix",
    filter: "prefix",
    room: "use GET /rooms/{room} for one room",
    after: "cursor",
    since: "cursor",
    page: "cursor",
    count: "limit",
    size: "limit",
  },
};

const Count = v.pipe(v.number(), v.integer(), v.minValue(0));
const OF_ROOM = {
  room: Room,
  clients: v.pipe(
    Count,
    v.description("Number of connections that are in the room."),
  ),
  users: v.pipe(
    Count,
    v.description(
      "Number of different users among the clients. Clients without a user are not counted.",
    ),
  ),
};

/** A page of rooms. */
export const RoomsPage = v.object({
  rooms: v.array(v.object(OF_ROOM)),
  cursor: v.pipe(
    v.nullable(v.string()),
    v.description(
      "The cursor of the next page, and `null` after the last one.",
    ),
  ),
});

/** One room. */
export const RoomState = v.object({
  ...OF_ROOM,
  position: v.pipe(
    v.string(),
    v.description(
      "Where the log is now: a client that names it as `since` receives everything after it.",
    ),
  ),
});

/** The nodes. */
export const NodesPage = v.object({
  nodes: v.array(v.object({
    id: v.pipe(
      v.string(),
      v.description("A name that changes when the process starts again."),
    ),
    started: v.pipe(
      Count,
      v.description(
        "In milliseconds since 1970, by the clock of the node's machine.",
      ),
    ),
    clients: v.pipe(Count, v.description("Number of its clients.")),
    rooms: v.pipe(
      Count,
      v.description("Number of rooms that have clients on it."),
    ),
    memoryBytes: v.pipe(
      Count,
      v.description("Resident memory of the process."),
    ),
    draining: v.pipe(
      v.boolean(),
      v.description(
        "Whether the node is disconnecting its clients because it stops.",
      ),
    ),
    ageMs: v.pipe(
      v.number(),
      v.minValue(0),
      v.description("How long ago the node reported this, in milliseconds."),
    ),
  })),
});

export const listRooms: Operation = {
  id: "listRooms",
  tag: "Rooms and clients",
  for: "backends",
  summary: "Lists the rooms that have clients",
  description:
    "The rooms of all nodes, in the order of the bytes of their names. A key that is limited to rooms gets only those. A page may have fewer rooms than `limit`, or none, and still a cursor.",
  needs: { right: "manage", by: "key" },
  query: ROOMS_QUERY,
  responses: {
    200: {
      description: "A page of rooms.",
      content: { "application/json": RoomsPage },
    },
  },
  errors: [...OF_LOG, "overloaded"],
};

export const showRoom: Operation = {
  id: "showRoom",
  tag: "Rooms and clients",
  for: "backends",
  summary: "Counts the clients of a room",
  description:
    "The clients of all nodes. A room that nobody is in has 0 clients. The numbers follow within about a second, and within 11 s if a node was killed.",
  needs: { right: "manage", by: "key" },
  path: { room: Room },
  query: NO_QUERY,
  responses: {
    200: {
      description: "The numbers of the room.",
      content: { "application/json": RoomState },
    },
  },
  errors: [...OF_LOG, "invalid_room"],
};

export const listNodes: Operation = {
  id: "listNodes",
  tag: "Rooms and clients",
  for: "backends",
  summary: "Lists the running nodes",
  description:
    "The longest running first. A node that was killed is left out after 8 s.",
  needs: { right: "manage", by: "key", inAllRooms: "list the nodes" },
  query: NO_QUERY,
  responses: {
    200: {
      description: "The nodes.",
      content: { "application/json": NodesPage },
    },
  },
  errors: OF_LOG,
};
