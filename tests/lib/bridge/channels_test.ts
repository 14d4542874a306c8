import assert from "node:assert/strict";
import { BridgedChannels } from "../../../lib/bridge/channels.ts";

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
  ];
  for (const [channel, payload, reason] of cases) {
    const item = channels.toItem(bytes(channel), payload);
    assert.equal(item.kind === "refused" && item.reason, reason);
  }
});

Deno.test("BridgedChannels.group depends on the set of channels but not on their order", () => {
  const { group } = create(["chat", "news.*"]);
  assert.equal(create(["news.*", "chat"]).group, group);
  assert.notEqual(create(["chat"]).group, group);
  // Nodes of all versions must compute the same group.
  assert.equal(create(["chat"]).group, "2bceebb15f182fa8");
});
