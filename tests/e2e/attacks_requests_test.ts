/**
 * Sends requests at random to both ports of a node, with credentials that are good for something else, or for nothing.
 * `SEED` repeats a run, and `REQUESTS` is the number of requests.
 */
import assert from "node:assert/strict";
import {
  type Credentials,
  makeRequest,
  sendRequest,
} from "../support/hostile_requests.ts";
import { Random } from "../support/random.ts";
import { KEY, TokenNodes } from "../support/token_nodes.ts";
import { inSeconds, makeToken } from "../support/tokens.ts";

const SEED = Number(Deno.env.get("SEED") ?? 1);
const REQUESTS = Number(Deno.env.get("REQUESTS") ?? 8000);
/** Number of requests in flight. */
const LANES = 16;
const ROOM = "vault-7f3a", USER = "victim-7f3a", SECRET = "secret-7f3a";

/** Returns everything in a text that may be a name in any encoding. */
function decoded(text: string): string {
  const once = text.replaceAll(
    /%([\da-f]{2})/gi,
    (_, hex) => String.fromCharCode(parseInt(hex, 16)),
  );
  return once === text ? text : `${text}${decoded(once)}`;
}

/** What a sender has: nothing of worth, rights to the rooms `own.*`, or a browser with the victim's cookie. */
async function credentials(): Promise<Credentials> {
  const allow = ["sub", "history", "pub"];
  const iat = inSeconds(-10);
  const tokenFor = (sub: string, rooms: string[], claims = {}) =>
    makeToken({ sub, iat, caps: [{ rooms, allow }], ...claims });
  const eve = await tokenFor("eve", ["own.*", `${ROOM}.*`, ROOM.slice(0, -1)]);
  const expired = await tokenFor(USER, [ROOM], { exp: inSeconds(-60) });
  const victim = await tokenFor(USER, [ROOM]);
  const bearer = (secret: string) => `authorization: Bearer ${secret}`;
  const cookie = (token: string) => `cookie: __Host-t=${token}`;
  const page = "sec-fetch-site: cross-site";
  return {
    own: [
      [],
      [bearer("wrong")],
      [bearer("staple-battery")],
      [bearer("staple-battery"), bearer("wrong")],
      [bearer("wrong"), bearer("staple-battery")],
      [bearer(eve)],
      [bearer(eve), bearer("staple-battery")],
      [bearer(`${eve}, staple-battery`)],
      [bearer(expired)],
      [bearer(`${victim.slice(0, -2)}AA`)],
      [cookie(eve), "origin: https://good.example"],
      [cookie(eve), bearer("staple-battery"), "sec-fetch-site: same-origin"],
      [cookie("staple-battery"), "sec-fetch-site: same-origin"],
      [`authorization: Basic ${btoa("some:staple-battery")}`],
    ],
    foreign: [
      [cookie(victim), "origin: https://evil.example"],
      [cookie(victim), "origin: null", page],
      [cookie(victim), page],
      [cookie(victim), "sec-fetch-site: same-site"],
      [cookie(victim), "origin: https://GOOD.example"],
      [cookie(victim), cookie(eve), "origin: https://good.example"],
      [`${cookie(victim)}; __Host-t=${eve}`, "origin: https://good.example"],
      [cookie(victim), bearer(eve), "origin: https://evil.example"],
    ],
  };
}

Deno.test(`${REQUESTS} requests in any form, with rights to other rooms or another site's cookie, read, change and learn nothing`, async () => {
  await using nodes = await TokenNodes.start({
    INTERNAL_PORT: "0",
    PUBLISH_KEYS: "web:correct-horse,some:staple-battery",
    PUBLISH_KEY_ROOMS: "some=own.*",
    TOKEN_COOKIE: "__Host-t",
    ALLOWED_ORIGINS: "https://good.example",
  });
  const node = await nodes.node();
  const caps = [{ rooms: [ROOM], allow: ["sub"] }];
  const victim = nodes.client(node, {
    token: await makeToken({ sub: USER, iat: inSeconds(-10), caps }),
    rooms: [ROOM],
  });
  await victim.connects.have(1);
  const internal = node.internalUrl;
  const publish = async (message: string): Promise<void> => {
    const body = { room: ROOM, message };
    const reply = await node.post(`${internal}/publish`, body, KEY);
    assert.equal(reply.status, 200, reply.text);
  };
  await publish(SECRET);
  await victim.messages.have(1);
  const [{ position = "" } = {}] = victim.joined.items;
  const target = {
    room: ROOM,
    user: USER,
    client: String(victim.socket.id),
  };
  const sent = await credentials();
  let count = 0;
  const statuses = new Map<string, number>();
  const lane = async (): Promise<void> => {
    while (count < REQUESTS) {
      // Each request depends on its number alone, and not on how fast the others are answered.
      const random = new Random(SEED * 1_000_003 + count++);
      const request = makeRequest(random, target, sent, position);
      const isInternal = random.chance(0.5);
      const port = new URL(isInternal ? internal : node.url).port;
      const response = await sendRequest(Number(port), request);
      const where = `${request.head}${request.body}\n\n${response}`;
      const status = response.slice(9, 12);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      assert.ok(!response.includes(SECRET), where);
      assert.ok(!/^set-cookie/im.test(response), where);
      assert.ok(!/"memoryBytes":\d/.test(response), where);
      assert.notEqual(status, "500", where);
      const asked = decoded(request.head + request.body);
      for (const name of [ROOM, USER]) {
        if (!asked.includes(name)) assert.ok(!response.includes(name), where);
      }
      // How many clients the room has.
      assert.ok(!response.includes(`"room":"${ROOM}","clients"`), where);
      assert.ok(isInternal || !response.includes("roomcast_clients{"), where);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  // Requests of every kind have arrived, also allowed ones; otherwise this has shown little.
  for (const status of ["200", "204", "400", "401", "403", "404", "405"]) {
    assert.ok((statuses.get(status) ?? 0) > 10, JSON.stringify([...statuses]));
  }
  await publish("end");
  await victim.receives("end");
  const received = victim.messages.items.filter(({ room }) => room === ROOM);
  assert.deepEqual(received.map(({ message }) => message), [SECRET, "end"]);
  assert.deepEqual(victim.disconnects.items, []);
  const { body } = await node.request(`${internal}/rooms/${ROOM}/history`, {
    headers: KEY,
  });
  assert.deepEqual(
    body.messages.map(({ message }: { message: unknown }) => message),
    [SECRET, "end"],
  );
  victim.socket.io.engine.close();
  await victim.connects.have(2);
  assert.equal(victim.socket.recovered, true, "its session has not ended");
  assert.ok(!node.output.includes("injected"));
  assert.ok(node.log.items.length > 0);
});
