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
import type { Occupancy } from "../lib/occupancy/occupancy.ts";
import { readQuery } from "./api/parse.ts";
import {
  LIMIT_DEFAULT,
  type NodesPage,
  ROOMS_QUERY,
  type RoomsPage,
  type RoomState,
} from "./api/rooms.ts";
import type { Handler } from "./exchange.ts";

/** Number of names that are read at once. */
const NAMES = 1000;
/**
 * Maximum number of names that one request looks at. A key that is limited to few of many rooms gets pages with fewer
 * rooms, or with none, and a cursor.
 */
const NAMES_MAX = 10_000;

/** Options of the routes about rooms and nodes. */
export interface RoomsOptions {
  readonly access: Access;
  readonly occupancy: Occupancy;
  readonly head: Pick<HeadState, "epoch" | "id">;
}

/**
 * Creates the handler of `GET /rooms?prefix=&cursor=&limit=`. It responds with the rooms that have clients, in the order
 * of their names, and with the cursor of the next page; `null` after the last room. A publish key that is limited to
 * some rooms gets only those.
 */
export function listRooms({ access, occupancy }: RoomsOptions): Handler {
  return async function listRooms(c) {
    const { prefix = "", cursor, limit = LIMIT_DEFAULT } = readQuery(
      c,
      ROOMS_QUERY,
      "list the rooms",
    );
    let after = parseCursor(cursor, prefix);
    const principal = c.get("principal");
    const isLimited =
      access.refusalEverywhere(principal, "manage", "list all rooms") !==
        undefined;
    // One more than the page has shows whether there is a next page.
    const step = isLimited ? NAMES : limit + 1;
    const names: string[] = [];
    let isComplete = false, isFull = false;
    for (let seen = 0; !isComplete && !isFull && seen < NAMES_MAX;) {
      const some = await occupancy.names({ prefix, after, limit: step });
      seen += some.length;
      isComplete = some.length < step;
      for (const name of some) {
        isFull = names.length === limit;
        if (isFull) break;
        after = name;
        if (mayManage(access, principal, name)) names.push(name);
      }
    }
    const counted = await occupancy.count(names);
    const page: v.InferOutput<typeof RoomsPage> = {
      // A room that was left since its name was read is not listed.
      rooms: counted.filter(({ clients }) => clients > 0),
      cursor: (isComplete && !isFull) || after === undefined
        ? null
        : formatCursor(after),
    };
    return c.json(page);
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

/** Creates the handler of `GET /nodes`. The nodes serve all rooms, so a key that is limited to some rooms is refused. */
export function listNodes({ access, occupancy }: RoomsOptions): Handler {
  return async function listNodes(c) {
    const refusal = access.refusalEverywhere(
      c.get("principal"),
      "manage",
      "list the nodes",
    );
    if (refusal !== undefined) throw refusal;
    const page: v.InferOutput<typeof NodesPage> = {
      nodes: [...await occupancy.nodes()],
    };
    return c.json(page);
  };
}

function mayManage(
  access: Access,
  principal: Principal,
  room: string,
): boolean {
  return access.refusal(principal, "manage", room) === undefined;
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
