import assert from "node:assert/strict";
import { introductionOf } from "../../../lib/socketio/introduction.ts";

/** Returns what hooks are told about a client with these headers and this `auth`. */
function introduce(
  headers: Record<string, string | string[]>,
  auth: Record<string, unknown> = {},
): ReturnType<typeof introductionOf> {
  const conn = { request: { headers }, transport: { name: "websocket" } };
  return introductionOf({ conn, handshake: { auth } } as never, {
    clientAddress: () => "192.0.2.1",
    hookHeaders: ["cookie", "authorization", "x-tenant"],
  });
}

Deno.test("introductionOf() passes on the named headers that a request can send again", () => {
  const { headers } = introduce({
    cookie: "a=1",
    "x-tenant": "caf\u00e9",
    authorization: "Bearer \u2603",
    host: "example.com",
    "user-agent": "x",
  });
  assert.deepEqual(headers, { cookie: "a=1", "x-tenant": "caf\u00e9" });
});

Deno.test("introductionOf() does not pass on cookies of a request that another site has caused", () => {
  const cookie = "a=1";
  const own = [
    { cookie },
    { cookie, "sec-fetch-site": "same-origin" },
    { cookie, "sec-fetch-site": "none" },
    // Origins are checked before a client connects.
    { cookie, "sec-fetch-site": "cross-site", origin: "https://example.com" },
  ];
  for (const headers of own) {
    assert.equal(introduce(headers).headers.cookie, cookie);
  }
  for (const site of ["cross-site", "same-site"]) {
    const headers = { cookie, "sec-fetch-site": site };
    assert.equal(introduce(headers).headers.cookie, undefined);
  }
});

Deno.test("introductionOf() leaves out of data what Roomcast uses itself, and limits the rest", () => {
  const { data, token } = introduce({}, {
    token: "t",
    rooms: ["a"],
    pid: "p",
    offset: "1-0",
    lang: "de",
    ["__proto__"]: 1,
  });
  assert.deepEqual(Object.keys(data), ["lang", "__proto__"]);
  assert.equal(token, "t");
  introduce({}, { rooms: ["x".repeat(100_000)] });
  assert.throws(() => introduce({}, { x: "x".repeat(8190) }), /8192 bytes/);
});
