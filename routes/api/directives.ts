/**
 * Describes `POST /rooms/{room}/join`, `POST /rooms/{room}/leave` and `POST /disconnect`.
 *
 * @module
 */
import * as v from "valibot";
import { type FieldSet, OF_LOG, type Operation } from "./operation.ts";
import { exactlyOne, nameAs, NO_QUERY, Room } from "./schemas.ts";

const NOT_CLIENT =
  '"client" is not the id of a client; send the socket\'s id, or the one that hooks are sent';

/** The clients that a request names. */
export const TargetBody = v.pipe(
  v.strictObject({
    user: v.optional(nameAs(
      "user",
      "All clients of a user: the claim `sub` of their tokens, or the `user` that the connect hook has named.",
    )),
    client: v.optional(v.pipe(
      v.string(NOT_CLIENT),
      v.regex(/^[A-Za-z0-9_-]{16}$/, NOT_CLIENT),
      v.description(
        "One client: the `id` of its socket, which hooks are sent as `client`.",
      ),
      v.examples(["xk2hVb0Qm3yD9fLw"]),
    )),
  }),
  exactlyOne("user", "client"),
  v.metadata({ oneOf: [{ required: ["user"] }, { required: ["client"] }] }),
  v.examples([{ user: "ann" }]),
);

export const TARGET_FIELDS = {
  schema: TargetBody,
  instead: {
    sub: "user",
    userId: "user",
    clientId: "client",
    id: "client",
    socket: "client",
    socketId: "client",
    session: "client",
    room: "name the room in the path, as in /rooms/chat/join",
    rooms: "send one request for each room",
  },
} satisfies FieldSet;

const OF_RESPONSE = {
  user: v.optional(v.string()),
  client: v.optional(v.string()),
  clients: v.pipe(
    v.number(),
    v.integer(),
    v.minValue(0),
    v.description(
      "Number of clients of the responding node that were concerned. Those of other nodes follow.",
    ),
  ),
};

/** What was done, for a room. */
export const Assigned = v.object({ room: Room, ...OF_RESPONSE });
/** What was done, for all rooms. */
export const Disconnected = v.object(OF_RESPONSE);

const STORED =
  "The response comes once the request is stored. It is carried out at once on this node, and on all others usually within a second, or within 3 s. A 503 means that it was not stored, or that this is not known: send the same request again.";

/** Returns the description of an operation that puts clients into a room or takes them out. */
function assigning(
  facts: Pick<Operation, "id" | "summary" | "description">,
): Operation {
  return {
    ...facts,
    description: `${facts.description}\n\n${STORED}`,
    tag: "Rooms and clients",
    for: "backends",
    needs: { right: "manage", by: "key" },
    path: { room: Room },
    query: NO_QUERY,
    body: { "application/json": TargetBody },
    responses: {
      200: {
        description: "The request is stored.",
        content: { "application/json": Assigned },
      },
    },
    errors: [...OF_LOG, "invalid_parameter", "invalid_room"],
  };
}

export const joinRoom: Operation = assigning({
  id: "joinRoom",
  summary: "Puts clients into a room",
  description:
    "Concerns the clients that are connected, and those that resume their sessions. They receive `joined`, need no right, and keep the room when they reconnect.",
});

export const leaveRoom: Operation = assigning({
  id: "leaveRoom",
  summary: "Takes clients out of a room",
  description:
    "Concerns the clients that are connected, and those that resume their sessions. They receive `left` with the reason `removed`, and may join again if they have a right of their own.",
});

export const disconnect: Operation = {
  id: "disconnect",
  tag: "Rooms and clients",
  for: "backends",
  summary: "Disconnects clients, and ends their sessions",
  description:
    `Socket.IO clients do not connect again by themselves. To keep them out, revoke their tokens.\n\n${STORED}`,
  needs: { right: "manage", by: "key", inAllRooms: "disconnect clients" },
  query: NO_QUERY,
  body: { "application/json": TargetBody },
  responses: {
    200: {
      description: "The request is stored.",
      content: { "application/json": Disconnected },
    },
  },
  errors: [...OF_LOG, "invalid_parameter"],
};
