/**
 * What a client sends when it connects, independent of its protocol.
 *
 * @module
 */
import type { Asker, Introduction } from "../access/hooks.ts";
import type { Principal } from "../access/principal.ts";
import type { ReadSeal } from "../access/seals.ts";
import type { Position } from "../recovery/join_request.ts";
import type { Shown } from "./missed.ts";

/** What a client sends when it connects. */
export interface Hello {
  /** The client's principal; undefined if `authenticate` resolves to it, or if the connect hook decides about it. */
  readonly principal: Principal | undefined;
  /**
   * Resolves to the client's principal; undefined if `principal` is set, or if the connect hook decides about the
   * client. `readSeal` reads the seal in the session that the client wants to resume; undefined if it may not be read.
   */
  readonly authenticate?:
    | ((readSeal: ReadSeal | undefined) => Promise<Principal>)
    | undefined;
  /** What hooks are told about the client; undefined if the server has no hooks. */
  readonly introduction?: Introduction | undefined;
  /**
   * The secret of the session that the client wants to resume; undefined if the client sent none, and null if it sent a
   * value that cannot be a secret.
   */
  readonly secret: string | null | undefined;
  /**
   * The client's offset, which shows the last event that the client has received; undefined if the client sent no
   * offset.
   */
  readonly shown: Shown | undefined;
  /**
   * The rooms that the client asks for, each as a value for `parseJoinRequest()`; undefined if the client names none
   * and gets the default rooms.
   */
  readonly rooms: readonly unknown[] | undefined;
  /** Set if the client is a stream; undefined if it has a session. */
  readonly stream?: StreamHello | undefined;
  /** Returns whether the client's connection is still open. */
  readonly isOpen: () => boolean;
}

/**
 * What only a stream sends: a client without a session, which cannot join or leave rooms while it is connected. It gets
 * exactly the rooms that it names.
 */
export interface StreamHello {
  /** The position after which the client wants all messages of each room; undefined if it names none. */
  readonly since: Position | undefined;
  /** How many of the newest messages of each room the client wants. Ignored if `since` is set. */
  readonly last: number | undefined;
  /**
   * Whether the stream was connected before. It may then have lost the right to one of its rooms meanwhile, and is told
   * that instead of being refused, because it always names the same rooms.
   */
  readonly resumes: boolean;
}

/** What a client sends when it connects, once it is known who the client is. */
export interface KnownHello extends Hello {
  readonly principal: Principal;
  /** The client, for questions to the join hook. */
  readonly asker: Asker;
}
