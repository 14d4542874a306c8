/** The log lines about clients that are refused. */
import assert from "node:assert/strict";
import { RefusalReports } from "../../../lib/clients/refusal_reports.ts";
import { ApiError } from "../../../lib/errors.ts";
import type { Observation } from "../../../lib/observer.ts";
import { TestApp } from "../../support/app.ts";
import { Subscriber } from "../../support/client.ts";
import {
  forgeToken,
  inSeconds,
  makeToken,
  SECRET,
} from "../../support/tokens.ts";

Deno.test("RefusalReports reports refusals by code with what the last client was told, and outages as another kind", () => {
  const observed: Observation[] = [];
  const reports = new RefusalReports((observation) =>
    void observed.push(observation)
  );
  reports.report(new ApiError("unauthorized", "Cannot connect: a"));
  reports.report(new ApiError("unauthorized", "Cannot connect: b"));
  reports.report(new ApiError("invalid_room", "Cannot connect: c"));
  reports.report(new ApiError("log_full", "Cannot connect: d"));
  reports.close();
  const line = (kind: string, code: string, why: string) => ({
    kind,
    code,
    count: 1,
    why: `Cannot connect: ${why}`,
  });
  assert.deepEqual(
    observed.filter(({ kind }) => kind !== "client_refused"),
    [
      line("clients_refused", "unauthorized", "a"),
      line("clients_refused", "invalid_room", "c"),
      line("clients_turned_away", "log_full", "d"),
    ],
  );
});

Deno.test("RefusalReports counts the limits of clients and events, except those of events with the status 429", () => {
  const observed: Observation[] = [];
  const reports = new RefusalReports((observation) =>
    void observed.push(observation)
  );
  reports.report(new ApiError("too_many_clients", "Cannot connect: a"));
  reports.reportEvent(new ApiError("too_many_rooms", "Cannot join: b"));
  reports.reportEvent(new ApiError("overloaded", "Cannot join: c"));
  reports.reportEvent(new ApiError("too_many_events", "Cannot join: d"));
  reports.reportEvent(new ApiError("forbidden", "Cannot join: e"));
  reports.close();
  assert.deepEqual(
    observed.flatMap((observation) =>
      observation.kind === "limited" ? [observation.limit] : []
    ),
    ["too_many_clients", "too_many_rooms", "overloaded"],
  );
});

Deno.test("a client and a stream with a token that another secret has signed each leave a log line", async () => {
  await using app = new TestApp({ TOKEN_SECRET: SECRET });
  const url = `http://127.0.0.1:${await app.serve()}`;
  const token = forgeToken({ alg: "HS256" }, { sub: "ann", exp: 4e9 });
  for (let clients = 0; clients < 3; clients++) {
    await using client = new Subscriber(url, { auth: { token } });
    await client.errors.have(1);
  }
  const headers = { authorization: `Bearer ${token}` };
  const stream = await fetch(`${url}/rooms/chat/events`, { headers });
  assert.equal(stream.status, 401);
  await stream.body?.cancel();
  const line = {
    kind: "clients_refused",
    code: "unauthorized",
    count: 1,
    why:
      "Cannot accept the token: its signature does not match; sign it with a secret of TOKEN_SECRET as it is, not decoded from base64",
  };
  assert.deepEqual(
    app.observations.filter(({ kind }) => kind === line.kind),
    [line, line],
  );
});

Deno.test("events of a connected client that are refused leave a log line for each code, also if the client asks for no answer", async () => {
  await using app = new TestApp({ TOKEN_SECRET: SECRET });
  const url = `http://127.0.0.1:${await app.serve()}`;
  const caps = [{ rooms: ["chat"], allow: ["sub"] }];
  const token = await makeToken({ sub: "ann", exp: inSeconds(60), caps });
  await using client = new Subscriber(url, { auth: { token } });
  await client.joined.have(1);
  for (const room of ["a", "b"]) {
    client.socket.emit("publish", { room, message: "x" });
  }
  client.socket.emit("joinRoom", "chat");
  // The answers to events come in order.
  await client.ask("leave", { room: "chat" });
  assert.deepEqual(
    app.observations.filter(({ kind }) => kind === "events_refused"),
    [
      {
        kind: "events_refused",
        code: "unknown_event",
        count: 1,
        why:
          'Cannot handle the event: "joinRoom" is unknown; use only "join", "leave", "publish", "refresh"',
      },
      {
        kind: "events_refused",
        code: "forbidden",
        count: 1,
        why:
          'Cannot publish into "a": the token does not allow it; send it over HTTP with a publish key, or over Socket.IO with a token that grants "pub"',
      },
    ],
  );
});
