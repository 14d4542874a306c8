import assert from "node:assert/strict";
import {
  ApiError,
  ERROR_STATUS,
  type ErrorCode,
  toApiError,
} from "../../lib/errors.ts";

const CODES = Object.keys(ERROR_STATUS) as ErrorCode[];

Deno.test("every code is snake_case and has a status that says error", () => {
  for (const code of CODES) {
    const fault = new ApiError(code, "Cannot test: so it is; go on");
    assert.match(code, /^[a-z]+(_[a-z]+)*$/);
    assert.ok(Number.isInteger(fault.status));
    assert.ok(fault.status >= 400 && fault.status <= 599, code);
    assert.equal(fault.retryable, fault.status === 503);
  }
});

Deno.test("codes of the log are temporary, so that publishers try again", () => {
  const codes = CODES.filter((code) => code.startsWith("log_"));
  assert.ok(codes.length > 0);
  for (const code of codes) assert.equal(ERROR_STATUS[code], 503);
});

Deno.test("a refusal is shown as its code and its message, and nothing else", () => {
  const fault = new ApiError(
    "invalid_room",
    "Cannot use the room: no; use one",
  );
  const shown = {
    code: "invalid_room",
    message: "Cannot use the room: no; use one",
  };
  assert.deepEqual(fault.toJSON(), shown);
  assert.deepEqual(JSON.parse(JSON.stringify({ error: fault })), {
    error: shown,
  });
  assert.ok(fault instanceof Error);
  assert.equal(fault.name, "Fault");
});

Deno.test("toFault() leaves a refusal as it is", () => {
  const fault = new ApiError("overloaded", "Cannot publish: full; wait");
  assert.equal(toApiError(fault), fault);
});

Deno.test("toFault() hides what a foreign error says", () => {
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
    const fault = toApiError(error);
    assert.equal(fault.code, "internal");
    assert.equal(fault.status, 500);
    assert.ok(!JSON.stringify(fault).includes("hunter2"));
    assert.equal(fault.cause, undefined);
  }
});
