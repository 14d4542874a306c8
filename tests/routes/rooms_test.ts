import assert from "node:assert/strict";
import { connect } from "node:net";
import type { Occupancy } from "../../lib/occupancy/occupancy.ts";
import { TestApp } from "../support/app.ts";
import { Subscriber } from "../support/client.ts";
import { GUARDED, KEY, LIMITED } from "../support/keys.ts";
import { makeToken } from "../support/tokens.ts";
import { until } from "../support/wait.ts";

/** The occupancy of a cluster in which each room has a client of a user. */
function occupied(rooms: readonly string[]): Occupancy & { reads: number } {
  return {
    reads: 0,
    names({ prefix, after = "", limit }) {
      this.reads++;
      return Promise.resolve(
        rooms.filter((room) => room.startsWith(prefix) && room > after)
          .slice(0, limit),
      );
    },
    count: (names) =>
      Promise.resolve(names.map((room) => ({ room, clients: 1, users: 1 }))),
    nodes: () => Promise.resolve([]),
  };
}

/** Reads all pages of the rooms. Resolves to the rooms of each page. */
async function pages(
  app: TestApp,
  query: string,
  headers: Record<string, string> = KEY,
): Promise<string[]> {
  const found: string[] = [];
  let cursor: string | null = "";
  while (cursor !== null) {
    const next: string = cursor === "" ? "" : `&cursor=${cursor}`;
    const path = `/rooms?${query}${next}`;
    const { status, body, text } = await app.request(path, { headers });
    assert.equal(status, 200, text);
    found.push(body.rooms.map(({ room }: { room: string }) => room).join(" "));
    cursor = body.cursor;
  }
  return found;
}

Deno.test("GET /rooms lists rooms in pages, and a limited key gets only its rooms", async () => {
  const names = ["a", "b", "news.1", "news.2", "news.3", "z"];
  await using app = new TestApp(GUARDED, { occupancy: occupied(names) });
  assert.deepEqual(await pages(app, "limit=100"), [names.join(" ")]);
  assert.deepEqual(await pages(app, "limit=3"), [
    "a b news.1",
    "news.2 news.3 z",
  ]);
  assert.deepEqual(await pages(app, "limit=4"), [
    "a b news.1 news.2",
    "news.3 z",
  ]);
  assert.deepEqual(await pages(app, "prefix=news.&limit=2"), [
    "news.1 news.2",
    "news.3",
  ]);
  assert.deepEqual(await pages(app, "prefix=nobody"), [""]);
  assert.deepEqual(await pages(app, "limit=2", LIMITED), [
    "news.1 news.2",
    "news.3",
  ]);
});

Deno.test("GET /rooms reads and shows a limited key no names of other rooms, not even in a cursor", async () => {
  const others = Array.from({ length: 25_000 }, (_, i) => `a${i}`).sort();
  const occupancy = occupied([...others, "news.1", "news.2", "z"]);
  await using app = new TestApp(GUARDED, { occupancy });
  const found: string[] = [];
  for (let cursor: string | null = ""; cursor !== null;) {
    const query = cursor === "" ? "" : `&cursor=${cursor}`;
    const { body } = await app.request(`/rooms?limit=1${query}`, {
      headers: LIMITED,
    });
    found.push(...body.rooms.map(({ room }: { room: string }) => room));
    cursor = body.cursor;
    if (cursor !== null) assert.match(atob(cursor), /^news\./);
  }
  assert.deepEqual(found, ["news.1", "news.2"]);
  assert.equal(occupancy.reads, 2);
  for (const prefix of ["", "n", "news.", "news.1", "a", "newt"]) {
    const rooms = found.filter((room) => room.startsWith(prefix));
    assert.deepEqual(await pages(app, `prefix=${prefix}`, LIMITED), [
      rooms.join(" "),
    ]);
  }
});

Deno.test("GET /rooms and GET /rooms/{room} count the clients of an embedded node", async () => {
  await using app = new TestApp(GUARDED);
  const port = await app.serve();
  const url = `http://127.0.0.1:${port}`;
  const caps = [{ rooms: ["*"], allow: ["sub"] }];
  const connect = async (sub: string, rooms: string[]) =>
    await Subscriber.connect(url, {
      auth: { token: await makeToken({ sub, caps }), rooms },
      transports: ["websocket"],
    });
  await using ann = await connect("ann", ["x", "a b/c"]);
  await using again = await connect("ann", ["x"]);
  await using bob = await connect("bob", ["x"]);
  const get = async (path: string) =>
    (await app.request(path, { headers: KEY })).body;
  assert.deepEqual(await get("/rooms"), {
    rooms: [
      { room: "a b/c", clients: 1, users: 1 },
      { room: "x", clients: 3, users: 2 },
    ],
    cursor: null,
  });
  const { position, ...one } = await get("/rooms/a%20b%2Fc/");
  assert.deepEqual(one, { room: "a b/c", clients: 1, users: 1 });
  const { head } = app.node.log;
  assert.equal(position, `${head.epoch}.${head.id}`);
  await again.ask("leave", { room: "x" });
  assert.equal((await get("/rooms/x")).clients, 2);
  assert.equal((await get("/rooms/nobody")).clients, 0);
  const { nodes: [{ id, started, memoryBytes, ...node }] } = await get(
    "/nodes",
  );
  assert.deepEqual(node, { clients: 3, rooms: 2, draining: false, ageMs: 0 });
  assert.match(id, /^[\w-]{36}$/);
  assert.ok(Math.abs(Date.now() - started) < 60_000 && memoryBytes > 1e6);
  for (const client of [ann, bob]) assert.ok(client.socket.connected);
});

Deno.test("rooms and nodes are shown only to keys that may manage them", async () => {
  await using app = new TestApp(GUARDED);
  const token = await makeToken({
    sub: "ann",
    caps: [{ rooms: ["*"], allow: ["sub", "pub", "history", "presence"] }],
  });
  const status = async (path: string, headers: Record<string, string> = {}) =>
    (await app.request(path, { headers })).status;
  const ann = { authorization: `Bearer ${token}` };
  for (
    const [path, limited] of [
      ["/rooms", 200],
      ["/rooms/news.1", 200],
      ["/rooms/chat", 403],
      ["/nodes", 403],
    ] as const
  ) {
    assert.equal(await status(path, KEY), 200, path);
    assert.equal(await status(path, LIMITED), limited, path);
    assert.equal(await status(path, ann), 403, path);
    assert.equal(await status(path), 401, path);
  }
});

Deno.test("GET /rooms refuses wrong parameters, and names the right ones", async () => {
  await using app = new TestApp();
  const cursor = (name: string) => btoa(name).replaceAll("=", "");
  for (
    const [query, code, message] of [
      ["limit=0", "invalid_parameter", /"limit" is not a whole number from 1/],
      ["limit=1001", "invalid_parameter", /"limit"/],
      ["limit=1e2", "invalid_parameter", /"limit"/],
      ["cursor=", "invalid_parameter", /"cursor" does not belong/],
      ["cursor=%2F", "invalid_parameter", /"cursor"/],
      [`prefix=b&cursor=${cursor("a")}`, "invalid_parameter", /same prefix/],
      ["after=x", "unknown_field", /did you mean "cursor"\?$/],
      ["prefx=x", "unknown_field", /did you mean "prefix"\?$/],
      ["room=x", "unknown_field", /use GET \/rooms\/\{room\} for one room$/],
      ["limit=1&limit=2", "invalid_parameter", /twice/],
    ] as const
  ) {
    const { status, body } = await app.request(`/rooms?${query}`);
    assert.deepEqual([status, body.error.code], [400, code], query);
    assert.match(body.error.message, message);
  }
  const { status } = await app.request(`/rooms?cursor=${cursor("a")}`);
  assert.equal(status, 200);
  const long = await app.request(`/rooms/${"x".repeat(256)}`);
  assert.deepEqual([long.status, long.body.error.code], [400, "invalid_room"]);
});

Deno.test("a client that asks for the rooms many times on one connection and reads none holds only some of the lists", async () => {
  const room = "x".repeat(2 << 20);
  let made = 0;
  await using app = new TestApp({}, {
    occupancy: {
      ...occupied(["a"]),
      count: () => {
        made++;
        return Promise.resolve([{ room, clients: 1, users: 1 }]);
      },
    },
  });
  const port = await app.serve();
  const hog = connect(port, "127.0.0.1");
  hog.on("error", () => {});
  hog.pause();
  hog.write("GET /rooms HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(90));
  await until(
    "the requests are handled",
    () => made >= 90 || app.limited("overloaded") > 60,
  );
  // The system takes a few of the lists, and the node holds 32 MiB.
  assert.ok(app.limited("overloaded") > 60, `${made} lists`);
  hog.destroy();
  await until("others read them again", async () => {
    const response = await fetch(`http://127.0.0.1:${port}/rooms`);
    return (await response.text()).includes(room);
  });
});
