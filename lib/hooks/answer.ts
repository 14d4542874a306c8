/**
 * Reads the responses of backends to hooks.
 *
 * @module
 */
import { WrongForm } from "../access/forms.ts";
import { ApiError, ERROR_STATUS, type ErrorCode } from "../errors.ts";
import { type BoundedResponse, statusProblem } from "../util/bounded_fetch.ts";
import { isFields } from "../util/fields.ts";

/** Ends the reason for a 400, with which the documents tell backends to refuse a wrong signature. */
const SIGNATURE_ADVICE =
  ", as after a wrong signature; compare HOOK_SECRET with the secret of the backend";

/** The statuses of a refusal. Their body may contain a message for the client. */
export const REFUSALS = [401, 403];
/** Maximum length of a backend's message that is passed on to a client, in characters. */
const MESSAGE_LENGTH_MAX = 200;
/** Matches the codes of a backend that are passed on to clients. */
const CODE = /^[a-z][a-z0-9_]{0,63}$/;

/** What a backend has answered: a result whose form is not checked yet, or a refusal. */
export type HookAnswer =
  | { readonly kind: "result"; readonly result: unknown }
  | { readonly kind: "refused"; readonly refusal: Refusal };

/** The error of a response whose status says nothing about the client. */
export class OtherStatus extends Error {
  override name = "OtherStatus";
}

/** Why a backend does not allow what a client wants. */
export interface Refusal {
  readonly code: "unauthorized" | "forbidden";
  /** The code that the backend has given itself; undefined if it has given none. */
  readonly ownCode?: string | undefined;
  /** The backend's message for the client; undefined if there is none, or if it is not a short printable text. */
  readonly message: string | undefined;
}

/**
 * Reads the response to a hook. Only the status 200 with `{"result":…}` or `{"error":{"code","message"}}` counts, and
 * 401 and 403 with any body.
 *
 * @throws {OtherStatus} if the response has another status
 * @throws {WrongForm} if the response has the status 200 and another body
 */
export function readAnswer({ status, text = "" }: BoundedResponse): HookAnswer {
  if (REFUSALS.includes(status)) {
    const code = status === 401 ? "unauthorized" : "forbidden";
    return { kind: "refused", refusal: { code, message: messageIn(text) } };
  }
  if (status !== 200) {
    throw new OtherStatus(
      `${statusProblem(status)}${status === 400 ? SIGNATURE_ADVICE : ""}`,
    );
  }
  const body = parse(text);
  if (!isFields(body)) throw new WrongForm("the body is not a JSON object");
  const { result, error } = body;
  if ((result === undefined) === (error === undefined)) {
    throw new WrongForm('the body has not exactly one of "result" and "error"');
  }
  if (error === undefined) return { kind: "result", result };
  if (
    !isFields(error) || typeof error.code !== "string" ||
    typeof error.message !== "string"
  ) throw new WrongForm('"error" is not like {"code":"…","message":"…"}');
  const code = error.code === "unauthorized" ? "unauthorized" : "forbidden";
  return {
    kind: "refused",
    refusal: { code, ownCode: error.code, message: printable(error.message) },
  };
}

/**
 * The error of a client that a backend has refused. Over Socket.IO, the client receives the code and the message of the
 * backend. Over HTTP, in log lines and in metrics, the error has one of Roomcast's own codes and a sentence of the usual
 * form, which contains the backend's message.
 */
class HookRefusal extends ApiError {
  readonly #own: { readonly code: string; readonly message: string };

  constructor(
    code: ErrorCode,
    message: string,
    own: { readonly code: string; readonly message: string },
  ) {
    super(code, message);
    this.#own = own;
  }

  override get isOfBackend(): boolean {
    return true;
  }

  override toJSON(): { code: string; message: string } {
    return { ...this.#own };
  }

  override inFull(): ApiError {
    const { code, message } = this;
    return new HookRefusal(code, message, { ...this.#own, message });
  }
}

/**
 * Creates the error for a client that a backend has refused.
 *
 * @param verb What the client wants to do, as in "connect" or 'join "chat"'.
 */
export function refusedBy(
  { code, ownCode, message }: Refusal,
  verb: string,
): ApiError {
  const said = message === undefined
    ? "the application does not allow it"
    : `the application does not allow it and says ${JSON.stringify(message)}`;
  const advice = code === "unauthorized"
    ? "sign in to the application, and try again"
    : "ask the application who may do it";
  const sentence = `Cannot ${verb}: ${said}; ${advice}`;
  return new HookRefusal(code, sentence, {
    code: ownCode !== undefined && mayPassOn(ownCode) ? ownCode : code,
    message: message ?? sentence,
  });
}

/**
 * Returns whether a backend's code is passed on. A code by which Roomcast says that it cannot serve a request at the
 * moment is not, because clients would try again.
 */
function mayPassOn(code: string): boolean {
  const status = Object.hasOwn(ERROR_STATUS, code)
    ? ERROR_STATUS[code as ErrorCode]
    : 400;
  return CODE.test(code) && status < 429;
}

/** Returns the message in the body of a 401 or 403, if the body has the form of an error. */
function messageIn(text: string): string | undefined {
  try {
    const body = parse(text);
    return isFields(body) && isFields(body.error)
      ? printable(body.error.message)
      : undefined;
  } catch {
    return undefined;
  }
}

function printable(message: unknown): string | undefined {
  const isShort = typeof message === "string" && message !== "" &&
    message.length <= MESSAGE_LENGTH_MAX && message.isWellFormed();
  return isShort && !/[\p{C}\p{Zl}\p{Zp}]/u.test(message) ? message : undefined;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new WrongForm("the body is not JSON");
  }
}
