/**
 * Serves `/page.json`: what the page has to know about this server to hint only at what it accepts.
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
  /** The rooms that a client joins if it names none; the page shows them first. */
  readonly rooms: readonly string[];
  /** Names and patterns of the Redis channels that are bridged; empty if the log is embedded. */
  readonly channels: readonly string[];
  readonly embedded: boolean;
  readonly messageBytesMax: number;
}

/**
 * Makes the handler of `GET /page.json?room=`. It tells a client only what the client could also find out by trying:
 * the default rooms, and what a request without credentials may do in `room`. Channels are not listed.
 */
export function pageSettings(options: PageOptions): Handler {
  const { access, rooms, embedded, messageBytesMax } = options;
  const channels = options.channels.map(compileGlob);
  return async function pageSettings(c) {
    const room = parseRoom(c.req.query("room") ?? rooms[0]);
    const anonymous = await access.authenticate({});
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
