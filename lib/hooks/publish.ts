/**
 * Asks the publish hook, with which a backend checks or replaces what clients publish.
 *
 * @module
 */
import { WrongForm } from "../access/forms.ts";
import { readFields } from "../access/verdict.ts";
import { ApiError, ERROR_STATUS, type ErrorCode } from "../errors.ts";
import { encodeMessage } from "../log/message.ts";
import type { PublishQuestion } from "../publish/publish_hook.ts";
import { quoted } from "../util/nearest.ts";
import { type Refusal, refusedBy } from "./answer.ts";
import type { HookCaller } from "./caller.ts";

/** Matches the codes of a backend that are passed on to clients. */
const CODE = /^[a-z][a-z0-9_]{0,63}$/;

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
    refuse: (refusal) => refusalOf(refusal, verb),
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

/** The refusal of a publish, which clients receive with the code and the message of the backend. */
class PublishRefused extends ApiError {
  readonly #ownCode: string;

  constructor(code: ErrorCode, ownCode: string, message: string) {
    super(code, message);
    this.#ownCode = ownCode;
  }

  override get isOfBackend(): boolean {
    return true;
  }

  override toJSON(): { code: string; message: string } {
    return { code: this.#ownCode, message: this.message };
  }
}

function refusalOf(refusal: Refusal, verb: string): ApiError {
  const { code, ownCode, message } = refusal;
  return new PublishRefused(
    code,
    ownCode !== undefined && mayPassOn(ownCode) ? ownCode : code,
    message ?? refusedBy(refusal, verb).message,
  );
}

/**
 * Returns whether a backend's code is passed on. A code by which Roomcast says that it cannot serve a request at the
 * moment is not, because clients would send the publish again.
 */
function mayPassOn(code: string): boolean {
  const status = Object.hasOwn(ERROR_STATUS, code)
    ? ERROR_STATUS[code as ErrorCode]
    : 400;
  return CODE.test(code) && status < 429;
}
