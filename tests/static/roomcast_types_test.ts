/**
 * Compares the types in `static/roomcast.d.ts` and the tables in `docs/socket-events.md` with the schemas of the events.
 * Most of it happens when this file is type-checked.
 */
import assert from "node:assert/strict";
import { io, type Socket } from "socket.io-client";
import * as v from "valibot";
import {
  type Answers,
  type Auth as AuthOfSchema,
  type Requests,
  TO_CLIENT,
  TO_SERVER,
  type ToClient,
} from "../../lib/socket_events/events.ts";
import { roomcast } from "../../static/roomcast.js";
import type {
  Auth,
  ClientToServerEvents,
  MessageListener,
  ServerToClientEvents,
} from "../../static/roomcast.d.ts";

/** `true` if the types are the same, otherwise `false`. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends
  (<T>() => T extends B ? 1 : 2) ? true : false;
/** Makes a type plain, so that an intersection is the same as the object that it describes. */
type Plain<T> = T extends (infer Item)[] ? Plain<Item>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> }
  : T;
/** `any` in the types is `unknown` in the schemas, because a schema cannot say more. */
type Known<T> = 0 extends 1 & T ? unknown
  : T extends (infer Item)[] ? Known<Item>[]
  : T extends object ? { [K in keyof T]: Known<T[K]> }
  : T;

type TypedArgs = {
  [E in keyof ServerToClientEvents]: Known<
    [...Parameters<ServerToClientEvents[E]>]
  >;
};
type SchemaArgs = { [E in keyof ToClient]: Plain<[...ToClient[E]]> };
type TypedRequests = {
  [E in keyof ClientToServerEvents]: Plain<
    Known<Parameters<ClientToServerEvents[E]>[0]>
  >;
};
type TypedAnswers = {
  [E in keyof ClientToServerEvents]: Plain<
    Known<Parameters<Parameters<ClientToServerEvents[E]>[1]>[0]>
  >;
};

const same: {
  events: Same<keyof TypedArgs, keyof SchemaArgs>;
  args: { [E in keyof TypedArgs]: Same<TypedArgs[E], SchemaArgs[E]> };
  requests: {
    [E in keyof TypedRequests]: Same<TypedRequests[E], Plain<Requests[E]>>;
  };
  answers: {
    [E in keyof TypedAnswers]: Same<TypedAnswers[E], Plain<Answers[E]>>;
  };
  auth: Same<Plain<Auth>, Plain<AuthOfSchema>>;
} = {
  events: true,
  args: {
    msgReceived: true,
    joined: true,
    gap: true,
    position: true,
    left: true,
    token_expiring: true,
  },
  requests: { join: true, leave: true, publish: true, refresh: true },
  answers: { join: true, leave: true, publish: true, refresh: true },
  auth: true,
};

Deno.test("the types of the client module have the events of the schemas, and no others", () => {
  assert.deepEqual(
    Object.keys(same.args).sort(),
    Object.keys(TO_CLIENT).sort(),
  );
  for (const part of [same.requests, same.answers]) {
    assert.deepEqual(Object.keys(part).sort(), Object.keys(TO_SERVER).sort());
  }
});

Deno.test("a plain socket can be typed with the events of Roomcast and of the application", () => {
  interface Order {
    readonly id: number;
  }
  interface Events extends ServerToClientEvents {
    "order.paid": MessageListener<Order>;
  }
  const auth: Auth = { rooms: ["a", { room: "b", last: 20 }] };
  const socket: Socket<Events, ClientToServerEvents> = io("http://localhost", {
    autoConnect: false,
    auth,
  });
  socket.on("order.paid", ({ id }, { room, at, from }) => {
    const facts: [number, string, number, string | undefined] = [
      id,
      room,
      at,
      from,
    ];
    return facts;
  });
  socket.on("gap", ({ since }, id) => since ?? id);
  // @ts-expect-error There is no such event.
  socket.on("message", () => {});
  const join = async (): Promise<string> => {
    const answer = await socket.emitWithAck("join", { room: "a" });
    if (!answer.ok) return answer.error.code;
    const [first] = answer.messages;
    return first?.event ?? answer.position;
  };
  // @ts-expect-error There is no such field.
  const misspelled = () => socket.emitWithAck("join", { channel: "a" });
  assert.deepEqual([typeof join, typeof misspelled], ["function", "function"]);
  assert.equal(socket.connected, false);
});

/** Returns the fields of an object's schema as the tables write them, for example `{ room, reason? }`. */
function fieldsOf(schema: v.GenericSchema): string {
  const { entries = {} } = schema as { entries?: Record<string, unknown> };
  const names = Object.entries(entries).map(([name, field]) => {
    const { type } = field as { type: string };
    const isTrue = type === "literal" && name === "ok";
    return isTrue ? "ok: true" : name + (type === "optional" ? "?" : "");
  });
  return `{ ${names.join(", ")} }`;
}

Deno.test("the types of the client module have exactly its settings and methods, and docs/client-module.md has all settings", async () => {
  const read = (path: string): Promise<string> =>
    Deno.readTextFile(new URL(`../../${path}`, import.meta.url));
  const [code, types, document] = await Promise.all(
    ["static/roomcast.js", "static/roomcast.d.ts", "docs/client-module.md"]
      .map(read),
  );
  const namesIn = (text: string | undefined, pattern: RegExp): string[] =>
    [...text?.matchAll(pattern) ?? []].map(([, name = ""]) => name).sort();
  const [, parameters] =
    /export function roomcast\(io, \{\n(.*?)\n\}\)/s.exec(code ?? "") ?? [];
  const [, settings] = /export interface Settings \{\n(.*?)\n\}/s.exec(
    types ?? "",
  ) ?? [];
  const names = namesIn(parameters, /^ {2}(\w+)/gm);
  assert.ok(names.length > 12);
  assert.deepEqual(namesIn(settings, /^ {2}(\w+)\??:/gm), names);
  for (const name of names) {
    assert.match(document ?? "", new RegExp(`^\\| \`${name}\` `, "m"));
  }
  const [, members] = /export interface Roomcast \{\n(.*?)\n\}/s.exec(
    types ?? "",
  ) ?? [];
  const cast = roomcast(io, {
    url: "http://localhost",
    rooms: [],
    options: { autoConnect: false },
  });
  cast.close();
  assert.deepEqual(
    namesIn(members, /^ {2}(?:readonly )?(\w+)[(<:]/gm),
    Object.keys(cast).sort(),
  );
});

Deno.test("docs/socket-events.md has every event with every field", async () => {
  const text = await Deno.readTextFile(
    new URL("../../docs/socket-events.md", import.meta.url),
  );
  const rows = new Map(
    [...text.matchAll(/^\| `(\w+)` +\| (.+?) +\|/gm)].map((
      [row, name = "", args = ""],
    ) => [name, { row, args }]),
  );
  const expected: [string, string][] = [
    ...Object.entries(TO_CLIENT).map(([name, { args }]) =>
      [
        name,
        `\`${
          args.items.map((item) => {
            const { type } = item as { type: string };
            if (type === "strict_object") return fieldsOf(item);
            return type === "unknown" ? "message" : "id";
          }).join(", ")
        }\``,
      ] as [string, string]
    ),
    ...Object.entries(TO_SERVER).map(([name, { request }]) =>
      [name, `\`${fieldsOf(request)}\``] as [string, string]
    ),
  ];
  for (const [name, args] of expected) {
    assert.equal(rows.get(name)?.args, args, name);
  }
  for (const [name, { answer }] of Object.entries(TO_SERVER)) {
    const { options: [accepted] } = answer;
    const [, row = ""] = new RegExp(`^(\\| \`${name}\` .+)$`, "m").exec(text) ??
      [];
    assert.ok(row.includes(`\`${fieldsOf(accepted)}\``), row);
  }
  const items = TO_SERVER.join.answer.options[0].entries.messages.item;
  assert.ok(text.includes(`\`${fieldsOf(items)}\``), fieldsOf(items));
});
