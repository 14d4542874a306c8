import assert from "node:assert/strict";
import {
  ApiError,
  ERROR_STATUS,
  type ErrorCode,
  LimitExceeded,
  toApiError,
} from "../../lib/errors.ts";

const CODES = Object.keys(ERROR_STATUS) as ErrorCode[];

Deno.test("ERROR_STATUS has only codes in snake_case, each with a status of 400 or higher", () => {
  for (const code of CODES) {
    const error = new ApiError(code, "Cannot test: so it is; go on");
    assert.match(code, /^[a-z]+(_[a-z]+)*$/);
    assert.ok(Number.isInteger(error.status));
    assert.ok(error.status >= 400 && error.status <= 599, code);
    assert.equal(error.retryable, [429, 503].includes(error.status));
  }
});

Deno.test("every error code that begins with log_ has the status 503, which makes the error retryable", () => {
  const codes = CODES.filter((code) => code.startsWith("log_"));
  assert.ok(codes.length > 0);
  for (const code of codes) assert.equal(ERROR_STATUS[code], 503);
});

Deno.test("ApiError.limit is the code for all codes that begin with too_many_ or end with _too_large or _too_slow", () => {
  for (const code of CODES) {
    const { limit } = new ApiError(code, "Cannot test: so it is; go on");
    const isLimit = /^too_many_|_too_(large|slow)$|^overloaded$/.test(code);
    assert.equal(limit, isLimit ? code : undefined, code);
  }
});

Deno.test("LimitExceeded.limit is the name of the limit, whatever the code", () => {
  const error = new LimitExceeded("levels", "invalid_message", "Cannot: no");
  assert.equal(error.limit, "levels");
  assert.equal(error.status, 400);
  assert.deepEqual(error.toJSON(), {
    code: "invalid_message",
    message: "Cannot: no",
  });
});

Deno.test("ApiError.toJSON() returns only the code and the message", () => {
  const error = new ApiError(
    "invalid_room",
    "Cannot use the room: no; use one",
  );
  const shown = {
    code: "invalid_room",
    message: "Cannot use the room: no; use one",
  };
  assert.deepEqual(error.toJSON(), shown);
  assert.deepEqual(JSON.parse(JSON.stringify({ error: error })), {
    error: shown,
  });
  assert.ok(error instanceof Error);
  assert.equal(error.name, "ApiError");
});

Deno.test("toApiError() returns an ApiError unchanged", () => {
  const error = new ApiError("overloaded", "Cannot publish: full; wait");
  assert.equal(toApiError(error), error);
});

Deno.test("toApiError() converts any other error to `internal` without the error's text", () => {
  const secret = "redis://user:hunter2@10.0.0.1";
  for (
    const error of [
      new Error(secret),
      new TypeError(secret, { cause: new Error(secret) }),
      Object.assign(new Error(secret), { code: "not_found", status: 200 }),
      { code: "not_found", message: secret },
      secret,
      null,
      undefined,
      42,
      Symbol(secret),
    ]
  ) {
    const shown = toApiError(error);
    assert.equal(shown.code, "internal");
    assert.equal(shown.status, 500);
    assert.ok(!JSON.stringify(shown).includes("hunter2"));
    assert.equal(shown.cause, undefined);
  }
});
