/**
 * What a client sends when it connects, independent of its protocol.
 *
 * @module
 */
import type { Principal } from "../access/principal.ts";
import type { Shown } from "./missed.ts";

/** What a client sends when it connects, and the client's principal. */
export interface Hello {
  readonly principal: Principal;
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
  /** Returns whether the client's connection is still open. */
  readonly isOpen: () => boolean;
}
