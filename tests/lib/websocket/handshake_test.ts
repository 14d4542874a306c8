import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import {
  handshakeResponse,
  validateHandshake,
} from "../../../lib/websocket/handshake.ts";

Deno.test("validateHandshake() returns undefined for a valid request and a refusal for any other request", () => {
  const good = {
    upgrade: "WebSocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  };
  const errorOf = (
    headers: Record<string, string | undefined>,
    method = "GET",
  ) =>
    validateHandshake(
      { method, headers: { ...good, ...headers } } as IncomingMessage,
    );
  assert.equal(errorOf({}), undefined);
  assert.match(errorOf({}, "POST")?.status ?? "", /^400 /);
  assert.match(errorOf({ upgrade: "h2c" })?.status ?? "", /^400 /);
  for (const key of [undefined, "", "c2hvcnQ=", "dGhlIHNhbXBsZSBub25jZSE="]) {
    assert.match(
      errorOf({ "sec-websocket-key": key })?.status ?? "",
      /^400 /,
      `${key}`,
    );
  }
  for (const version of [undefined, "8", "14", "13, 8"]) {
    const refusal = errorOf({ "sec-websocket-version": version });
    assert.match(refusal?.status ?? "", /^426 /);
    assert.equal(refusal?.headers, "Sec-WebSocket-Version: 13\r\n");
  }
});

Deno.test("handshakeResponse() computes the accept key as in RFC 6455's example, and selects the first offered subprotocol", () => {
  const response = (protocol?: string) =>
    handshakeResponse({
      headers: {
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-protocol": protocol,
      },
    } as unknown as IncomingMessage);
  assert.match(
    response(),
    /\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n\r\n$/,
  );
  assert.match(
    response("chat, other"),
    /\r\nSec-WebSocket-Protocol: chat\r\n\r\n$/,
  );
  assert.doesNotMatch(response("a b"), /Sec-WebSocket-Protocol/);
});
