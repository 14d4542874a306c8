/** Publish keys for tests of who may do what, and the settings of a server that has them. */
import { SECRET } from "./tokens.ts";

/** The settings of a server with two publish keys, one of which is limited to rooms, and with client tokens. */
export const GUARDED = {
  PUBLISH_KEYS: "web:correct-horse,news:battery-staple",
  PUBLISH_KEY_ROOMS: "news=news.*",
  TOKEN_SECRET: SECRET,
};
/** The headers of a request with the key for all rooms. */
export const KEY = { authorization: "Bearer correct-horse" };
/** The headers of a request with the key that may do everything, but only in the rooms `news.*`. */
export const LIMITED = { authorization: "Bearer battery-staple" };
