/**
 * Serves `/page.json`: the settings that the page at `/` needs, such as the default rooms, whether a request needs a
 * publish key or a token, and whether the room is a bridged channel. With them, the page shows only example commands
 * that the server accepts.
 *
 * @module
 */
import type * as v from "valibot";
import type { Access, Credentials } from "../lib/access/access.ts";
import type { JoinHook } from "../lib/access/hooks.ts";
import {
  credentialsIn,
  type ReadTokenCookie,
} from "../lib/access/token_cookie.ts";
import type { Action } from "../lib/access/rights.ts";
import { toApiError } from "../lib/errors.ts";
import { parseRoom } from "../lib/log/message.ts";
import { compileGlob } from "../lib/util/glob.ts";
import type { PageSettings } from "./api/files.ts";
import { type Handler, originHeaders } from "./exchange.ts";

/** Options of {@linkcode pageSettings}. */
export interface PageOptions {
  readonly access: Access;
  /** Reads a client's token from a cookie. */
  readonly tokenCookie: ReadTokenCookie;
  /** Whether the server verifies client tokens. */
  readonly acceptsTokens: boolean;
  /** The hooks that may let clients publish; undefined if there are none. */
  readonly hooks?: {
    readonly connect: unknown;
    readonly join: Pick<JoinHook, "concerns"> | undefined;
  } | undefined;
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

const NO_COOKIE = { secret: undefined };

/**
 * Creates the handler of `GET /page.json?room=`. The response has only what a client could also find out by trying: the
 * default rooms, and what a request with no other credentials than a cookie may do in `room`. The response does not
 * list the channels.
 *
 * @param servesBackends Whether the same port serves backends, so that the page can publish.
 */
export function pageSettings(
  options: PageOptions,
  servesBackends: boolean,
): Handler {
  const { access, acceptsTokens, rooms, embedded, messageBytesMax } = options;
  const channels = options.channels.map(compileGlob);
  const atThisPort = servesBackends ? "request" : "reader";
  const isRefused = async (
    action: Action,
    room: string,
    from: Credentials["from"] = atThisPort,
    cookie: () => Pick<Credentials, "secret" | "place"> = () => NO_COOKIE,
  ): Promise<boolean> => {
    try {
      const sender = await access.authenticate({ from, ...cookie() });
      return access.refusal(sender, action, room) !== undefined;
    } catch (error) {
      if (toApiError(error).code === "unauthorized") return true;
      throw error;
    }
  };
  const clientsMayPublish = async (room: string): Promise<boolean> =>
    acceptsTokens || options.hooks?.connect !== undefined ||
    options.hooks?.join?.concerns(room) === true ||
    !await isRefused("publish", room, "client");
  return async function pageSettings(c) {
    const room = parseRoom(c.req.query("room") ?? rooms[0]);
    // The page's own requests for histories have the same cookie, and publishing takes none.
    const cookie = () => credentialsIn(options.tokenCookie(originHeaders(c)));
    const settings: v.InferOutput<typeof PageSettings> = {
      rooms: [...rooms],
      embedded,
      messageBytesMax,
      servesBackends,
      acceptsTokens,
      room,
      bridged: channels.some((matches) => matches(room)),
      publishNeedsKey: await isRefused("publish", room),
      clientsMayPublish: await clientsMayPublish(room),
      historyNeedsKey: await isRefused("history", room, atThisPort, cookie),
    };
    return c.json(settings);
  };
}
