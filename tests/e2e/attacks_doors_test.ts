/**
 * Takes rights away from clients at the moment at which a hook is asked about them, or at which they change nodes.
 * Whatever the hook then answers, nothing may be published, joined or received. `SEED` repeats a run, and `DOORS` is the
 * number of rounds of each test.
 */
import assert from "node:assert/strict";
import { type Attacker, Doors } from "../support/doors.ts";
import { sendRequest } from "../support/hostile_requests.ts";
import { KEY } from "../support/token_nodes.ts";
import { pauseFor, soon, until } from "../support/wait.ts";

const SEED = Number(Deno.env.get("SEED") ?? 1);
const ROUNDS = Number(Deno.env.get("DOORS") ?? 1);

/** What ends the right of a client to publish, for a right of a token and for one that the join hook has granted. */
const ENDS = {
  withToken: [
    "nothing",
    "revoke the user",
    "revoke the token",
    "disconnect the user",
    "disconnect the client",
    "refresh with less",
    "move, and disconnect the user",
  ],
  withGrant: [
    "nothing",
    "revoke the user",
    "disconnect the user",
    "disconnect the client",
    "take the user out",
    "take the client out",
    "leave",
    "move, and take the user out",
  ],
} as const;

/** What ends the right of a client that is joining a room. */
const JOIN_ENDS = [
  "nothing",
  "revoke the user",
  "revoke the token",
  "disconnect the user",
  "take the user out",
] as const;

Deno.test("a publish is not stored if the hook answers after the right, the client or its user is gone", async () => {
  await using doors = await Doors.start(SEED);
  const { hooks, random } = doors;
  for (let round = 0; round < ROUNDS; round++) {
    for (const right of ["withToken", "withGrant"] as const) {
      for (const end of ENDS[right]) {
        const attacker = right === "withToken"
          ? await doors.withToken(["sub", "pub"])
          : await doors.withGrant();
        const { client, node, room } = attacker;
        const held = hooks.next(`publish ${room}`);
        // The second one waits until the first one is published.
        for (const message of ["first", "second"]) {
          client.socket.emit("publish", { room, message });
        }
        const { release } = await held;
        await doors.take[end](attacker);
        release(random.chance(0.5) ? {} : { message: "first" });
        await doors.settled(node);
        assert.deepEqual(
          await doors.stored(room),
          end === "nothing" ? ["first", "second"] : [],
          `${right}: ${end}, seed ${SEED}`,
        );
        client.socket.disconnect();
      }
    }
  }
});

Deno.test("a client does not join a room if the hook answers after the client or its user is gone, or was taken out", async () => {
  await using doors = await Doors.start(SEED);
  const { hooks } = doors;
  for (let round = 0; round < ROUNDS; round++) {
    for (const end of JOIN_ENDS) {
      const attacker = await doors.withToken([]);
      const { client, room, user, node } = attacker;
      const held = hooks.next(`join ${room}`);
      const joined = new Promise<boolean>((resolve) =>
        client.socket.emit(
          "join",
          { room },
          ({ ok }: { ok: boolean }) => resolve(ok),
        )
      );
      const { release } = await held;
      if (end === "take the user out") {
        doors.refused.add(user);
        await doors.post(node, `/rooms/${room}/leave`, { user });
      } else await doors.take[end](attacker);
      release({ allow: ["sub", "pub"] });
      if (client.socket.connected) {
        const ok = await soon(joined, "the join is answered");
        assert.equal(ok, end === "nothing", end);
      }
      await doors.a.publish("secret", room, KEY);
      await doors.a.publish(room, "lobby", KEY);
      if (client.socket.connected) await client.receives(room);
      assert.equal(
        client.messages.items.some(({ message }) => message === "secret"),
        end === "nothing",
        `${end}, seed ${SEED}`,
      );
      client.socket.disconnect();
      await until("nobody is in the room", async () => {
        const { body } = await node.request(`/rooms/${room}`, { headers: KEY });
        return body.clients === 0;
      });
    }
  }
});

/** What backends do while a hook is asked about a stream: the path of the request, and the field that names the user. */
const STREAM_ENDS = [
  ["", "user"],
  ["/revoke", "user"],
  ["/revoke", "jti"],
  ["/disconnect", "user"],
] as const;

Deno.test("a stream does not stay open if a hook answers after the user was revoked or disconnected", async () => {
  await using doors = await Doors.start(SEED);
  const { hooks } = doors;
  for (let round = 0; round < ROUNDS; round++) {
    for (const by of ["token", "hook"] as const) {
      for (const [path, field] of STREAM_ENDS) {
        if (by === "hook" && field === "jti") continue;
        const { user, room } = doors.names();
        const name = by === "token" ? `join ${room}` : `connect ${user}`;
        const held = hooks.next(name);
        const token = await doors.token(user, "none", []);
        const node = doors.any();
        const credential = by === "token"
          ? `authorization: Bearer ${token}`
          : `x-user: ${user}`;
        const head = [
          `GET /rooms/${room}/events HTTP/1.1`,
          "host: 127.0.0.1",
          "connection: close",
          credential,
        ].join("\r\n");
        const response = sendRequest(node.port, {
          head: `${head}\r\n\r\n`,
          body: "",
        });
        const { release } = await held;
        if (path !== "") await doors.post(node, path, { [field]: user });
        release(by === "token" ? { allow: ["sub"] } : { user });
        // After a disconnect the connection is closed without a response.
        const status = (await response).slice(9, 12);
        const expected = { "": "200", "/revoke": "401", "/disconnect": "" };
        assert.equal(status, expected[path], `${by} ${path} ${field}`);
      }
    }
  }
});

Deno.test("a client that was offline when its user was disconnected is let in by the hook again, and gets nothing of its session", async () => {
  await using doors = await Doors.start(SEED);
  const { hooks } = doors;
  for (let round = 0; round < ROUNDS; round++) {
    const { client, user, room, node } = await doors.withGrant();
    await doors.a.publish("before", room, KEY);
    await client.messages.have(1);
    client.socket.io.reconnection(false);
    client.socket.io.engine.close();
    await client.disconnects.have(1);
    const next = doors.any();
    await doors.post(next, "/disconnect", { user });
    await node.publish("secret", room, KEY);
    const held = hooks.next(`connect ${user}`);
    Object.assign(client.socket.io, { uri: next.url });
    client.socket.connect();
    (await held).release({ user });
    await client.disconnects.have(2);
    assert.equal(client.disconnects.items[1], "io server disconnect");
    assert.deepEqual(client.connects.items, [false, false]);
    assert.equal(client.messages.items.length, 1);
  }
});

/**
 * Puts a client into a room and takes it out, from both nodes, while the client joins, leaves and changes nodes, with
 * its offset or with a wrong one. Backends name the client as one of `targets`.
 */
async function disturb(
  doors: Doors,
  { client, room }: Attacker,
  targets: readonly unknown[],
): Promise<void> {
  const { random } = doors;
  const sent: Promise<unknown>[] = [];
  for (let i = 0; i < 20; i++) {
    const act = random.between(0, 4);
    if (act < 2) {
      const path = `/rooms/${room}/${act === 0 ? "join" : "leave"}`;
      sent.push(doors.post(doors.any(), path, random.oneOf(targets)));
    } else if (act < 4) {
      const event = random.oneOf(["join", "leave"]);
      client.socket.emit(event, { room }, () => {});
    } else if (client.socket.connected) {
      if (random.chance(0.5)) {
        Object.assign(client.socket, { _lastOffset: "wrong" });
      }
      doors.move({ client, node: doors.any() });
    }
    if (random.chance(0.3)) await sent.at(-1);
  }
  await Promise.all(sent);
}

Deno.test("a client without a right is in a room exactly if the server has said so last, whatever it sends meanwhile", async () => {
  await using doors = await Doors.start(SEED);
  for (let round = 0; round < 6 * ROUNDS; round++) {
    const attacker = await doors.withToken([]);
    const { client, user, room } = attacker;
    const targets = [{ user }, { client: client.socket.id }];
    doors.refused.add(user);
    await disturb(doors, attacker, targets);
    for (const last of ["leave", "join", "leave"]) {
      const target = doors.random.oneOf(targets);
      await doors.post(doors.any(), `/rooms/${room}/${last}`, target);
      const message = `${room} ${last}`;
      // Also a node that learns of it last has done it when the client knows.
      await until("it is done", async () => {
        if (!client.socket.connected) return false;
        const [{ ok }] = await client.ask("join", { room });
        return ok === (last === "join");
      });
      await doors.any().publish(message, room, KEY);
      await doors.any().publish(message, "lobby", KEY);
      await until(
        "it gets the message after it",
        () =>
          client.messages.items.some((received) =>
            received.room === "lobby" && received.message === message
          ),
      );
      assert.equal(
        client.messages.items.some((received) =>
          received.room === room && received.message === message
        ),
        last === "join",
        `round ${round}, seed ${SEED}: ${last}`,
      );
    }
    client.socket.disconnect();
  }
});

Deno.test("a client that changes nodes while a backend disconnects it gets nothing of its rooms afterwards", async () => {
  await using doors = await Doors.start(SEED);
  const { random } = doors;
  for (let round = 0; round < 4 * ROUNDS; round++) {
    const attacker = await doors.withGrant();
    const { client, user, room } = attacker;
    doors.refused.add(user);
    const sent: Promise<unknown>[] = [];
    for (let i = 0; i < 3; i++) {
      await pauseFor(random.between(0, 8));
      const { connected } = client.socket;
      if (connected) doors.move({ client, node: doors.any() });
      if (i === 1) sent.push(doors.post(doors.any(), "/disconnect", { user }));
    }
    await Promise.all(sent);
    // Both nodes know of a disconnect.
    for (const node of [doors.a, doors.b]) {
      await doors.post(node, "/disconnect", { user });
    }
    await doors.any().publish("secret", room, KEY);
    client.socket.disconnect();
    let answer: { ok: boolean } | undefined;
    await until("its join is answered", async () => {
      if (!client.socket.active) client.socket.connect();
      // A backend's disconnect concerns also the client that resumes its session. The join is then not answered.
      answer = await client.socket.timeout(1000)
        .emitWithAck("join", { room, last: 10 }).catch(() => undefined);
      return answer !== undefined;
    });
    assert.equal(answer?.ok, false);
    assert.equal(client.messages.items.length, 0, `round ${round}`);
    client.socket.disconnect();
  }
});

Deno.test("a client with as many requests in flight as it may have cannot stay in a room or connected", async () => {
  await using doors = await Doors.start(SEED);
  const { hooks } = doors;
  const { client, user, room, left } = await doors.withToken([]);
  await doors.post(doors.any(), "/rooms/vip/join", { user });
  await until(
    "it is in the room",
    () => client.joined.items.some((joined) => joined.room === "vip"),
  );
  const held = hooks.next(`join ${room}`);
  for (let i = 0; i < 1500; i++) {
    client.socket.emit("join", { room }, () => {});
  }
  const { release } = await held;
  await doors.post(doors.any(), "/rooms/vip/leave", { user });
  await until("it is out", () => left.length > 0, 3000);
  // This one has to wait for the client's requests, and the disconnect must not wait for it.
  await doors.post(doors.any(), `/rooms/${room}/join`, { user });
  await doors.post(doors.any(), "/disconnect", { user });
  await client.disconnects.have(1, 3000);
  release({ allow: [] });
});
