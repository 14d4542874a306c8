import assert from "node:assert/strict";
import { ApiError } from "../../../lib/errors.ts";
import {
  rawErrorResponse,
  rawResponse,
} from "../../../lib/http/raw_response.ts";

Deno.test("rawResponse() returns a complete response with the length of its body in bytes", () => {
  assert.equal(
    rawResponse("426 Upgrade Required", '"–"', "x-extra: 1\r\n"),
    "HTTP/1.1 426 Upgrade Required\r\nconnection: close\r\nvary: Origin\r\n" +
      "x-content-type-options: nosniff\r\ncontent-type: application/json\r\n" +
      'x-extra: 1\r\ncontent-length: 5\r\n\r\n"–"',
  );
});

Deno.test("rawErrorResponse() has the status of the error, and retry-after only if a retry may succeed", () => {
  const refused = new ApiError("not_found", "Cannot find it: gone; look");
  assert.match(
    rawErrorResponse(refused),
    /^HTTP\/1\.1 404 Not Found\r\n(?![^]*retry-after)[^]*\r\n\r\n\{"error":\{"code":"not_found","message":"Cannot find it: gone; look"\}\}$/,
  );
  const busy = new ApiError("overloaded", "Cannot do it: busy; wait", 7);
  assert.match(
    rawErrorResponse(busy, "{}"),
    /^HTTP\/1\.1 503 Service Unavailable\r\n[^]*\r\nretry-after: 7\r\n[^]*\r\n\r\n\{\}$/,
  );
});
