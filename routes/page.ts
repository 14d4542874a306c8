/**
 * Serves `/page.json`: the settings that the page at `/` needs, such as the default rooms, whether a request needs a
 * publish key, and whether the room is a bridged channel. With them, the page shows only example commands that the
 * server accepts.
 *
 * @module
 */
import type { Access } from "../lib/access/access.ts";
import { parseRoom } from "../lib/log/message.ts";
import { compileGlob } from "../lib/util/glob.ts";
import type { Handler } from "./exchange.ts";
import type { Names } from "./names.ts";

/** The query parameters of `GET /page.json`. */
export const PAGE_QUERY: Names = { known: ["room"] };

/** Options of {@linkcode pageSettings}. */
export interface PageOptions {
  readonly access: Access;
  /**
   * The default rooms: a client joins them if it names no rooms. The page opens them when it is shown for the first
   * time.
   */
  readonly rooms: readonly string[];
  /** Names and patterns of the bridged Redis channels; empty if there is no bridge. */
  readonly channels: readonly string[];
  readonly embedded: boolean;
  readonly messageBytesMax: number;
}

/**
 * Creates the handler of `GET /page.json?room=`. The response has only what a client could also find out by trying: the
 * default rooms, and what a request without credentials may do in `room`. The response does not list the channels.
 */
export function pageSettings(options: PageOptions): Handler {
  const { access, rooms, embedded, messageBytesMax } = options;
  const channels = options.channels.map(compileGlob);
  return async function pageSettings(c) {
    const room = parseRoom(c.req.query("room") ?? rooms[0]);
    const anonymous = await access.authenticate({
      from: "request",
      secret: undefined,
    });
    return c.json({
      rooms,
      embedded,
      messageBytesMax,
      room,
      bridged: channels.some((matches) => matches(room)),
      publishNeedsKey: access.refusal(anonymous, "publish", room) !== undefined,
      historyNeedsKey: access.refusal(anonymous, "history", room) !== undefined,
    });
  };
}
