/**
 * Asks the publish hook, with which a backend checks or replaces what clients publish.
 *
 * @module
 */
import { WrongForm } from "../access/forms.ts";
import { readFields } from "../access/verdict.ts";
import { ApiError } from "../errors.ts";
import { encodeMessage } from "../log/message.ts";
import type { PublishQuestion } from "../publish/publish_hook.ts";
import { quoted } from "../util/nearest.ts";
import type { HookCaller } from "./caller.ts";

/**
 * Resolves to the message to publish, as JSON text.
 *
 * @throws {ApiError} the refusal of the backend, with its own code and message; `hook_unavailable`
 */
export function askPublish(
  caller: HookCaller,
  { client, room, event, json, headers, isWanted, ...question }:
    PublishQuestion,
  messageBytesMax: number,
): Promise<string> {
  const user = question.user ?? null;
  const verb = `publish into ${quoted(room)}`;
  const facts = JSON.stringify({ client, user, room, event });
  return caller.call({
    verb,
    caller: client,
    // The message is JSON already.
    body: `${facts.slice(0, -1)},"message":${json}}`,
    headers,
    isWanted,
    read: (result) => {
      const { message } = readFields(result, ["message"]);
      return message === undefined ? json : encode(message, messageBytesMax);
    },
  });
}

/** Returns a message of the backend as JSON text. @throws {WrongForm} if no publisher could send the message */
function encode(message: unknown, messageBytesMax: number): string {
  try {
    return encodeMessage(message, messageBytesMax);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    throw new WrongForm(
      `"message" cannot be published (${error.code}): it has more than ${messageBytesMax} bytes or too many levels`,
    );
  }
}
