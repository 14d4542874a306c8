/**
 * What the publish hook is asked, with which a backend decides about the publishes of clients.
 *
 * @module
 */
import type { Asker } from "../access/hooks.ts";

/** What the publish hook is told about a publish of a client. */
export interface PublishQuestion extends Asker {
  /** The user; undefined if the client has none. */
  readonly user: string | undefined;
  readonly room: string;
  /** The name of the event with which clients receive the message. */
  readonly event: string;
  /** The message as JSON text. */
  readonly json: string;
}

/** The hook that decides about publishes of clients (`PUBLISH_HOOK_URL`). */
export interface PublishHook {
  /** Returns whether the hook is asked about publishes into a room (`HOOK_ROOMS`). */
  concerns(room: string): boolean;
  /**
   * Resolves to the message to publish, as JSON text: the one that the client has sent, or another one.
   *
   * @throws {ApiError} the backend's refusal; `hook_unavailable`, which is retryable, if it gives no usable answer
   */
  ask(question: PublishQuestion): Promise<string>;
}
