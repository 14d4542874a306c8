/** Which credentials each operation of the HTTP API asks for, at each port, also if `HEAD` replaces `GET`. */
import assert from "node:assert/strict";
import {
  type Audience,
  isServed,
  type Methods,
} from "../../routes/api/operation.ts";
import { OPERATIONS } from "../../routes/api/operations.ts";
import { TestApp } from "../support/app.ts";
import { GUARDED, KEY, LIMITED } from "../support/keys.ts";
import { makeToken } from "../support/tokens.ts";
import { soon } from "../support/wait.ts";

/** A request that concerns the room `chat`, or all rooms, by method and path. */
const REQUESTS: Readonly<
  Record<string, readonly [url: string, body?: string]>
> = {
  "POST /publish": ["/publish?room=chat", '{"message":1}'],
  "POST /publish/batch": [
    "/publish/batch",
    '{"messages":[{"room":"chat","message":1}]}',
  ],
  "GET /rooms/{room}/history": ["/rooms/chat/history"],
  "DELETE /rooms/{room}/history": ["/rooms/chat/history"],
  "GET /rooms/{room}/events": ["/rooms/chat/events"],
  "GET /events": ["/events"],
  "GET /rooms": ["/rooms"],
  "GET /rooms/{room}": ["/rooms/chat"],
  "POST /rooms/{room}/join": ["/rooms/chat/join", '{"user":"ann"}'],
  "POST /rooms/{room}/leave": ["/rooms/chat/leave", '{"user":"ann"}'],
  "POST /disconnect": ["/disconnect", '{"user":"ann"}'],
  "GET /nodes": ["/nodes"],
  "POST /revoke": ["/revoke", '{"user":"ann"}'],
};
/** The operations that need no right. None has messages, clients, or names of rooms except the default ones. */
const FOR_EVERYBODY = [
  "GET /livez",
  "GET /readyz",
  "GET /metrics",
  "GET /",
  "GET /roomcast.js",
  "GET /roomcast_publish.js",
  "GET /roomcast_state.js",
  "GET /roomcast.d.ts",
  "GET /static/{name}",
  "GET /socket.io/{name}",
  "GET /page.json",
  "GET /openapi.json",
  "GET /asyncapi.json",
  "GET /docs",
  "GET /docs/{name}",
];

/** All operations, each as its method and path. */
const ALL = Object.entries<Methods>(OPERATIONS).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({
    method,
    name: `${method} ${path}`,
    operation,
  }))
);

/** Sends a request, and resolves to the status of the response. The body may be a stream, so it is not read. */
async function statusOf(url: string, init: RequestInit): Promise<number> {
  const response = await soon(fetch(url, init), `the response to ${url}`);
  await response.body?.cancel();
  return response.status;
}

/** Returns the status for each sender that is not allowed. */
function refusals(
  audience: Audience,
  name: string,
  token: Record<string, string>,
): readonly (readonly [headers: Record<string, string>, status: number])[] {
  const isForClients = audience === "clients";
  return [
    [{}, 401],
    [{ authorization: "Bearer wrong" }, 401],
    [token, 403],
    // A key that is limited to other rooms gets a list of its own rooms.
    [LIMITED, isForClients ? 401 : name === "GET /rooms" ? 200 : 403],
    ...isForClients ? [[KEY, 401] as const] : [],
  ];
}

Deno.test("every operation that concerns rooms needs a right", () => {
  const names = (needsRight: boolean): string[] =>
    ALL.filter(({ operation }) =>
      (operation.needs !== undefined) === needsRight
    )
      .map(({ name }) => name).sort();
  assert.deepEqual(names(true), Object.keys(REQUESTS).sort());
  assert.deepEqual(names(false), FOR_EVERYBODY.toSorted());
});

for (const audience of ["clients", "backends", "everyone"] as const) {
  Deno.test(`a port for ${audience} refuses every request without the right to its room, with GET and with HEAD`, async () => {
    await using app = new TestApp(GUARDED, { audience });
    const origin = `http://127.0.0.1:${await app.serve()}`;
    const caps = [{
      rooms: ["news.*"],
      allow: ["sub", "pub", "history", "presence"],
    }];
    const token = { authorization: `Bearer ${await makeToken({ caps })}` };
    for (const { method, name, operation } of ALL) {
      const request = REQUESTS[name];
      if (request === undefined || !isServed(operation, audience)) continue;
      const [path, body = null] = request;
      for (const actual of method === "GET" ? ["GET", "HEAD"] : [method]) {
        const status = (headers: Record<string, string>): Promise<number> =>
          statusOf(origin + path, {
            method: actual,
            headers: {
              ...headers,
              ...body !== null && { "content-type": "application/json" },
            },
            body,
          });
        const what = `${actual} ${path} ${audience}`;
        for (const [headers, refused] of refusals(audience, name, token)) {
          assert.equal(
            await status(headers),
            refused,
            `${what} ${headers.authorization}`,
          );
        }
        if (audience === "clients") continue;
        assert.ok(await status(KEY) < 300, what);
      }
    }
  });
}
