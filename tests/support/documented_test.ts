import assert from "node:assert/strict";
import { assertDocumented, type Exchange } from "./documented.ts";

const JSON_TYPE = { "content-type": "application/json" };

/** Returns an exchange of `POST /publish` with another response. */
function exchange(
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
  others: Partial<Exchange> = {},
): Exchange {
  return {
    method: "POST",
    path: "/publish",
    status,
    headers: new Headers({ ...JSON_TYPE, ...headers }),
    text: JSON.stringify(body),
    ...others,
  };
}

const PUBLISHED = { id: "1-0", room: "chat", duplicate: false };

function error(code: string): unknown {
  return { error: { code, message: "Cannot publish: …; …" } };
}

Deno.test("assertDocumented() accepts responses that the document describes", () => {
  for (
    const described of [
      exchange(200, PUBLISHED),
      exchange(200, {
        results: [PUBLISHED, { room: "a", ...error("internal") as object }],
      }),
      exchange(400, error("invalid_room")),
      exchange(503, error("log_full"), { "retry-after": "1" }),
      exchange(405, error("method_not_allowed"), { allow: "POST, OPTIONS" }, {
        method: "PUT",
      }),
      exchange(404, error("not_found"), {}, { path: "/none" }),
      exchange(403, error("origin_not_allowed"), {}, { path: "/none" }),
    ]
  ) assertDocumented("everyone", described);
});

Deno.test("assertDocumented() refuses responses that the document does not describe", () => {
  const cases: readonly (readonly [Exchange, RegExp])[] = [
    [exchange(201, PUBLISHED), /the status is not in the document/],
    [exchange(200, { ...PUBLISHED, at: 1 }), /not as documented/],
    [exchange(200, { ...PUBLISHED, id: 1 }), /not as documented/],
    [exchange(200, { id: "1-0" }), /not as documented/],
    [exchange(400, error("log_full")), /not as documented/],
    [exchange(400, error("made_up")), /not as documented/],
    [exchange(400, { error: { code: "invalid_room" } }), /not as documented/],
    [exchange(503, error("log_full")), /has no Retry-After/],
    [exchange(503, error("log_full"), { "retry-after": "soon" }), /documented/],
    [
      exchange(200, PUBLISHED, { "content-type": "text/html" }),
      /text\/html is not in the document/,
    ],
    [
      exchange(405, error("method_not_allowed"), {}, { method: "PUT" }),
      /has no Allow/,
    ],
    [exchange(200, {}, {}, { path: "/none" }), /the status is not in/],
    [
      exchange(204, "", {}, { method: "DELETE", path: "/rooms/a/history" }),
      /DELETE \/rooms\/a\/history 204/,
    ],
  ];
  for (const [other, message] of cases) {
    assert.throws(() => assertDocumented("everyone", other), message);
  }
  const { path, ...rest } = exchange(200, PUBLISHED);
  assert.throws(
    () => assertDocumented("clients", { path, ...rest }),
    /the status is not in the document/,
  );
});
