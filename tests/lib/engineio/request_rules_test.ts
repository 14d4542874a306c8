import assert from "node:assert/strict";
import { Server } from "engine.io";
import type { EngineRequest } from "../../../lib/engineio/internals.ts";
import type { EngineErrorCode } from "../../../lib/engineio/refusal.ts";
import {
  isReported,
  refusalFor,
  type RequestRules,
} from "../../../lib/engineio/request_rules.ts";
import { ApiError } from "../../../lib/errors.ts";

const { BAD_REQUEST, FORBIDDEN, UNKNOWN_SID, UNSUPPORTED_PROTOCOL_VERSION } =
  Server.errors;

/** Returns a request with this query: an upgrade, or a poll with `method` if it is given. */
function requestOf(
  _query: Record<string, string>,
  method?: string,
): EngineRequest {
  const res = method === undefined ? {} : { res: {} };
  return { method: method ?? "GET", _query, ...res } as EngineRequest;
}

/** Rules of a server that serves everybody. */
const OPEN = { stopping: false, refusalOf: () => undefined };
const STOPPING = { ...OPEN, stopping: true };

/** Returns the code of Roomcast and of Engine.IO with which a request is refused; undefined if it is served. */
function codesOf(
  request: EngineRequest,
  rules: RequestRules = OPEN,
  found: EngineErrorCode | undefined = undefined,
): readonly [string, EngineErrorCode | undefined] | undefined {
  const refusal = refusalFor(request, rules, found, undefined);
  return refusal && [refusal.error.code, refusal.engine?.code];
}

Deno.test("refusalFor() refuses a new client with another protocol, with JSONP or with another method, and no connected one for its query", () => {
  const served = [
    requestOf({ EIO: "4" }),
    requestOf({ EIO: "4" }, "GET"),
    requestOf({ EIO: "4", sid: "x" }, "POST"),
    requestOf({ EIO: "3", sid: "x" }, "GET"),
    requestOf({ EIO: "4", sid: "x", j: "1" }, "GET"),
  ];
  for (const request of served) assert.equal(codesOf(request), undefined);
  for (const query of [{ EIO: "3" }, {}]) {
    assert.deepEqual(codesOf(requestOf(query)), [
      "invalid_parameter",
      UNSUPPORTED_PROTOCOL_VERSION,
    ]);
  }
  assert.deepEqual(codesOf(requestOf({ EIO: "4", j: "" }, "GET")), [
    "invalid_parameter",
    BAD_REQUEST,
  ]);
  for (const query of [{ EIO: "4" }, { EIO: "4", sid: "x" }]) {
    assert.deepEqual(codesOf(requestOf(query, "PUT")), [
      "method_not_allowed",
      undefined,
    ]);
  }
});

Deno.test("refusalFor() refuses what Engine.IO refuses, with the error of Roomcast", () => {
  const request = requestOf({ EIO: "4", sid: "x" });
  assert.deepEqual(codesOf(request, OPEN, UNKNOWN_SID), [
    "invalid_parameter",
    UNKNOWN_SID,
  ]);
});

Deno.test("refusalFor() refuses every client with an error of refusalOf, also a connected one", () => {
  const error = new ApiError("origin_not_allowed", "Cannot connect: no");
  for (const query of [{ EIO: "4" }, { EIO: "4", sid: "x" }]) {
    const refusal = refusalFor(
      requestOf(query),
      { ...OPEN, refusalOf: () => error },
      undefined,
      undefined,
    );
    assert.deepEqual(refusal, {
      error,
      engine: { code: FORBIDDEN, message: error.message },
    });
  }
});

Deno.test("refusalFor() refuses on a stopping node all clients that are not connected to it", () => {
  const draining = ["draining", undefined];
  const fresh = requestOf({ EIO: "4" });
  const known = requestOf({ EIO: "4", sid: "x" });
  assert.deepEqual(codesOf(fresh, STOPPING), draining);
  assert.deepEqual(codesOf(known, STOPPING, UNKNOWN_SID), draining);
  assert.equal(codesOf(known, STOPPING), undefined);
});

Deno.test("isReported() leaves out a stopping node's refusals and those of connected clients, except of a foreign page", () => {
  const error = new ApiError("origin_not_allowed", "Cannot connect: no");
  const fresh = requestOf({ EIO: "3" });
  const known = requestOf({ EIO: "4", sid: "x" });
  const isReportedWith = (
    request: EngineRequest,
    rules: RequestRules,
    found?: EngineErrorCode,
  ): boolean => {
    const refusal = refusalFor(request, rules, found, undefined);
    assert.ok(refusal);
    return isReported(request, refusal);
  };
  assert.equal(isReportedWith(fresh, OPEN), true);
  assert.equal(isReportedWith(fresh, STOPPING), false);
  assert.equal(isReportedWith(known, OPEN, UNKNOWN_SID), false);
  assert.equal(
    isReportedWith(known, { ...OPEN, refusalOf: () => error }),
    true,
  );
});
