/**
 * Serves `/rooms`, `/rooms/{room}` and `/nodes`: which rooms have clients, how many, and which nodes run.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type * as v from "valibot";
import type { Access } from "../lib/access/access.ts";
import type { Principal } from "../lib/access/principal.ts";
import { ApiError } from "../lib/errors.ts";
import type { HeadState } from "../lib/log/head.ts";
import { parseRoom } from "../lib/log/message.ts";
import { formatPosition } from "../lib/log/position.ts";
import type { Observe } from "../lib/observer.ts";
import { readGrantedNames } from "../lib/occupancy/granted_names.ts";
import type { NameRange, Occupancy } from "../lib/occupancy/occupancy.ts";
import { readQuery } from "./api/parse.ts";
import {
  LIMIT_DEFAULT,
  type NodesPage,
  ROOMS_QUERY,
  type RoomsPage,
  type RoomState,
} from "./api/rooms.ts";
import { type Handler, outgoingResponse } from "./exchange.ts";
import { PageBudget } from "./page_budget.ts";

/** Options of the routes about rooms and nodes. */
export interface RoomsOptions {
  readonly access: Access;
  readonly occupancy: Occupancy;
  readonly head: Pick<HeadState, "epoch" | "id">;
  readonly observe: Observe;
}

/** Maximum length of the lists of rooms that clients have not read yet, all together, in characters. */
const LISTS_LENGTH_MAX = 32 << 20;

/**
 * Creates the handler of `GET /rooms?prefix=&cursor=&limit=`. It responds with the rooms that have clients, in the order
 * of their names, and with the cursor of the next page; `null` after the last room. A publish key that is limited to
 * some rooms gets only those.
 */
export function listRooms(options: RoomsOptions): Handler {
  const pages = new PageBudget(
    options.observe,
    { lengthMax: LISTS_LENGTH_MAX },
    { verb: "list the rooms", limit: "lists_of_rooms" },
  );
  return async function listRooms(c) {
    const { prefix = "", cursor, limit = LIMIT_DEFAULT } = readQuery(
      c,
      ROOMS_QUERY,
      "list the rooms",
    );
    const range = { prefix, after: parseCursor(cursor, prefix), limit };
    const { body } = await pages.make(outgoingResponse(c), async () => {
      const page = await readPage(c.get("principal"), range, options);
      return { body: JSON.stringify(page) };
    });
    return c.body(body, 200, { "content-type": "application/json" });
  };
}

/** Reads a page of the list of rooms for a principal. */
async function readPage(
  principal: Principal,
  { limit, ...range }: NameRange,
  { access, occupancy }: RoomsOptions,
): Promise<v.InferOutput<typeof RoomsPage>> {
  // One more than the page has shows whether there is a next page.
  const names = await readGrantedNames(
    occupancy,
    principal.rights.patternsOf("manage"),
    { ...range, limit: limit + 1 },
  );
  const shown = names.slice(0, limit);
  // With the patterns, fewer names are read. Whether the key may manage a room is decided here, for each room.
  const allowed = shown.filter((room) =>
    access.refusal(principal, "manage", room) === undefined
  );
  const counted = await occupancy.count(allowed);
  const last = names.length > limit ? shown.at(-1) : undefined;
  return {
    // A room that was left since its name was read is not listed.
    rooms: counted.filter(({ clients }) => clients > 0),
    cursor: last === undefined ? null : formatCursor(last),
  };
}

/**
 * Creates the handler of `GET /rooms/{room}`. It responds with the number of clients and of users in a room, which may
 * be 0, and with the position up to which this node has delivered messages.
 */
export function showRoom({ occupancy, head }: RoomsOptions): Handler {
  return async function showRoom(c) {
    const room = parseRoom(c.req.param("room"));
    const [counted] = await occupancy.count([room]);
    if (head.epoch === "") {
      throw new ApiError(
        "log_unreachable",
        "Cannot show the room: this node has not reached its log yet; try again later",
      );
    }
    const state: v.InferOutput<typeof RoomState> = {
      room,
      clients: counted?.clients ?? 0,
      users: counted?.users ?? 0,
      position: formatPosition(head.epoch, head.id),
    };
    return c.json(state);
  };
}

/** Creates the handler of `GET /nodes`. It responds with the running nodes. */
export function listNodes({ occupancy }: RoomsOptions): Handler {
  return async function listNodes(c) {
    const page: v.InferOutput<typeof NodesPage> = {
      nodes: [...await occupancy.nodes()],
    };
    return c.json(page);
  };
}

/**
 * Returns the cursor with which a client asks for the rooms after this one. The name is encoded, so that clients pass
 * cursors on as they are and do not make their own.
 */
function formatCursor(name: string): string {
  return Buffer.from(name).toString("base64url");
}

/** Returns the name in a cursor. @throws {ApiError} `invalid_parameter` */
function parseCursor(
  cursor: string | undefined,
  prefix: string,
): string | undefined {
  if (cursor === undefined) return undefined;
  const name = Buffer.from(cursor, "base64url").toString();
  if (
    name !== "" && name.startsWith(prefix) && formatCursor(name) === cursor
  ) return name;
  throw new ApiError(
    "invalid_parameter",
    'Cannot list the rooms: "cursor" does not belong to this list; send the one of the page before, with the same prefix',
  );
}
