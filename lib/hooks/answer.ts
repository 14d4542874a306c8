/**
 * Reads the responses of backends to hooks.
 *
 * @module
 */
import { WrongForm } from "../access/forms.ts";
import { ApiError } from "../errors.ts";
import { type BoundedResponse, statusProblem } from "../util/bounded_fetch.ts";
import { isFields } from "../util/fields.ts";

/** The statuses of a refusal. Their body may contain a message for the client. */
export const REFUSALS = [401, 403];
/** Maximum length of a backend's message that is passed on to a client, in characters. */
const MESSAGE_LENGTH_MAX = 200;

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
    throw new OtherStatus(statusProblem(status));
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
 * Creates the error for a client that a backend has refused.
 *
 * @param verb What the client wants to do, as in "connect" or 'join "chat"'.
 */
export function refusedBy({ code, message }: Refusal, verb: string): ApiError {
  const said = message === undefined
    ? "the application does not allow it"
    : `the application does not allow it and says ${JSON.stringify(message)}`;
  const advice = code === "unauthorized"
    ? "sign in to the application, and try again"
    : "ask the application who may do it";
  return new ApiError(code, `Cannot ${verb}: ${said}; ${advice}`);
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
