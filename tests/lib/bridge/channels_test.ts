import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { BridgedChannels } from "../../../lib/bridge/channels.ts";
import type { RedisClient } from "../../../lib/redis/connection.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

function create(channels: readonly string[]): BridgedChannels {
  return new BridgedChannels({
    channels,
    keyPrefix: "roomcast",
    messageBytesMax: 20,
  });
}

Deno.test("toItem() turns a payload into a message of the room with the channel's name", () => {
  const item = create(["chat"]).toItem(bytes("chat"), bytes('say "hi"'));
  assert.ok(item.kind === "message");
  assert.deepEqual([item.room, item.json], ["chat", '"say \\"hi\\""']);
});

Deno.test("toItem() turns an invalid payload into a refused item with the reason", () => {
  const channels = create(["*"]);
  const cases: [channel: string, payload: Uint8Array, reason: string][] = [
    ["chat", bytes(""), "empty"],
    ["chat", Uint8Array.of(0x68, 0xff), "not_utf8"],
    ["chat", bytes("x".repeat(19)), "message_too_large"],
    ["\u0001", bytes("hello"), "invalid_room"],
    [".", bytes("hello"), "invalid_room"],
    ["..", bytes("hello"), "invalid_room"],
  ];
  for (const [channel, payload, reason] of cases) {
    const item = channels.toItem(bytes(channel), payload);
    assert.equal(item.kind === "refused" && item.reason, reason);
  }
});

Deno.test("BridgedChannels.group is different for different channels, and the same for the same channels in another order", () => {
  const { group } = create(["chat", "news.*"]);
  assert.equal(create(["news.*", "chat"]).group, group);
  assert.notEqual(create(["chat"]).group, group);
  // Nodes of all versions must compute the same group, so the expected value must never change.
  assert.equal(create(["chat"]).group, "2bceebb15f182fa8");
});

/** Subscribes, and returns a function that delivers a message as Redis does: once for each matching subscription. */
async function subscribe(
  channels: BridgedChannels,
  received: string[],
  isCurrent: () => boolean = () => true,
): Promise<(subscription: string, channel: string) => void> {
  type Listener = (payload: Uint8Array, channel: Uint8Array) => void;
  const listeners = new Map<string, Listener>();
  const add = (name: string, listener: Listener): Promise<void> => {
    listeners.set(name, listener);
    return Promise.resolve();
  };
  const client = { subscribe: add, pSubscribe: add } as unknown as RedisClient;
  await channels.subscribe(client, {
    isCurrent,
    control: () => received.push("control"),
    message: (channel) => received.push(String(channel)),
  });
  return (subscription, channel) =>
    listeners.get(subscription)?.(bytes("1"), Buffer.from(channel));
}

Deno.test("subscribe() delivers a message once if several subscriptions match the message's channel", async () => {
  const received: string[] = [];
  const deliver = await subscribe(create(["chat", "c*", "ch*"]), received);
  for (const name of ["chat", "c*", "ch*"]) deliver(name, "chat");
  for (const name of ["c*", "ch*"]) deliver(name, "chess");
  deliver("c*", "cat");
  assert.deepEqual(received, ["chat", "chess", "cat"]);
});

Deno.test("subscribe() ignores messages of Roomcast's own channels, and Redis' keyspace notifications", async () => {
  const received: string[] = [];
  const deliver = await subscribe(create(["*"]), received);
  for (
    const channel of [
      "roomcast:bridge",
      "roomcast#/#",
      "other:roomcast:bridge",
      "__keyspace@0__:chat",
      "__keyevent@15__:set",
    ]
  ) deliver("*", channel);
  deliver("roomcast:roomcast:bridge", "roomcast:roomcast:bridge");
  deliver("*", "roomcasting");
  assert.deepEqual(received, ["control", "roomcasting"]);
});

Deno.test("subscribe() ignores messages that a Redis client receives while it is not the connection's current Redis client", async () => {
  const received: string[] = [];
  const channels = create(["chat", "c*"]);
  const deliver = await subscribe(channels, received, () => false);
  for (const name of [channels.controlChannel, "chat", "c*"]) {
    deliver(name, name === "c*" ? "cat" : name);
  }
  assert.deepEqual(received, []);
});
