/**
 * Room tokens: a client sends a room token when it joins a room, and what the token allows counts only in this room.
 *
 * A room token is an ordinary token. Because it is verified when the client joins, a backend can let a client into a
 * room that it did not know about when it made the client's own token.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import { jsonBytes } from "../util/json_bytes.ts";
import { quoted } from "../util/nearest.ts";
import {
  type Claims,
  grantsOfClaims,
  type RoomTemplate,
} from "./claim_rooms.ts";
import { readClaims, TokenRefused } from "./claims.ts";
import type { Principal, RoomGrant } from "./principal.ts";
import { ACTION_OF_WORD, Rights } from "./rights.ts";

/** Maximum size of the claim `info` of a room token, in bytes of JSON. It is stored in the session of the client. */
const INFO_BYTES_MAX = 1024;

/**
 * Returns what a room token grants to a client: all that it allows in `room`.
 *
 * A token with `sub` counts only for a client of this user. Otherwise a client could pass its rights on to others.
 *
 * @param claims The claims of the token, whose signature and times have been verified.
 * @throws {ApiError} `forbidden` if the token is for another user, or does not allow to join the room; `unauthorized`
 * if its claims are not valid
 */
export function grantOfToken(
  claims: Claims,
  room: string,
  principal: Principal,
  tokenRooms: readonly RoomTemplate[] = [],
): RoomGrant {
  const { user, grants, expiresAt, issuedAt, tokenId, info } = readClaims(
    claims,
  );
  if (user !== undefined && user !== principal.user) {
    throw new ApiError(
      "forbidden",
      `Cannot join ${
        quoted(room)
      }: the room token is for another user; send one whose "sub" is the user of the client's own token, or that has no "sub"`,
    );
  }
  const rights = new Rights([...grants, ...grantsOfClaims(tokenRooms, claims)]);
  if (!rights.allow("subscribe", room)) {
    throw new ApiError(
      "forbidden",
      `Cannot join ${
        quoted(room)
      }: the room token does not allow it; grant "sub" for this room in its "caps"`,
    );
  }
  if (info !== undefined && jsonBytes(info) > INFO_BYTES_MAX) {
    throw new TokenRefused(
      "claims",
      `the claim "info" of the room token has more than ${INFO_BYTES_MAX} bytes`,
      "put less into it",
    );
  }
  const actions = [...ACTION_OF_WORD.values()];
  return Object.freeze({
    by: "token",
    actions: actions.filter((action) => rights.allow(action, room)),
    expiresAt,
    issuedAt,
    tokenId,
    info,
  });
}
