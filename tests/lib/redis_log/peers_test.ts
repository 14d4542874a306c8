import assert from "node:assert/strict";
import { Peers } from "../../../lib/redis_log/peers.ts";

/**
 * Returns registrations as a check returns them: for each node, the time of its last check and the id up to which it
 * has read.
 */
function registered(
  nodes: Record<string, readonly [time: number, id: string]>,
) {
  return new Map(
    Object.entries(nodes).map(([node, [time, offset]]) => [
      node,
      { offset, beat: `${time} ${offset} server` },
    ]),
  );
}

Deno.test("Peers.known contains the registered and the newly announced nodes, but not this node itself", () => {
  const peers = new Peers("me");
  peers.update(registered({ me: [1, "1-1"], a: [1, "1-1"] }), "1-1", 0);
  peers.announced("b");
  assert.deepEqual(peers.known.sort(), ["a", "b"]);
  peers.update(registered({ me: [2, "1-1"], b: [2, "1-1"] }), "1-1", 10);
  assert.deepEqual(peers.known, ["b"]);
});

Deno.test("Peers.known contains at most 1,000 nodes that were announced since the last check", () => {
  const peers = new Peers("me");
  for (let i = 0; i < 3000; i++) peers.announced(`node ${i}`);
  assert.equal(peers.known.length, 1000);
});

Deno.test("Peers.silent() returns a node without a check for 10 s, once this node has read all that the silent node may have acknowledged", () => {
  const peers = new Peers("me");
  const silent = (now: number, last: string) => {
    peers.update(
      registered({ me: [now, "9-9"], a: [5, "1-1"] }),
      last,
      now,
    );
    return [peers.silent("3-0", now), peers.silent("4-0", now)];
  };
  assert.deepEqual(silent(0, "2-0"), [[], []]);
  assert.deepEqual(silent(5000, "4-0"), [[], []]);
  assert.deepEqual(silent(9999, "7-0"), [[], []]);
  // The log's last id was 4-0 when the node had been silent for 5 s.
  assert.deepEqual(silent(10_000, "9-0"), [[], ["a@5"]]);
});

Deno.test("Peers.silent() returns no node while Redis does not even record this node's own checks", () => {
  const peers = new Peers("me");
  for (let now = 0; now <= 60_000; now += 1000) {
    peers.update(registered({ me: [1, "1-1"], a: [1, "1-1"] }), "1-1", now);
    assert.deepEqual(peers.silent("9-9", now), []);
  }
});

Deno.test("Peers.haveRead() is true once every node, except nodes that have left or no longer check, has read the entry", () => {
  const peers = new Peers("me");
  const haveRead = (
    a: readonly [number, string],
    now: number,
    left = false,
  ): boolean => {
    const nodes = registered({ me: [now, "5-0"], a });
    if (left) nodes.set("a", { offset: a[1], beat: `${a[0]} ${a[1]} left` });
    peers.update(nodes, "5-0", now);
    return peers.haveRead("5-0", now, now);
  };
  assert.equal(haveRead([1000, "4-9"], 1000), false);
  assert.equal(haveRead([2000, "5-0"], 2000), true);
  assert.equal(haveRead([3000, "4-9"], 3000), false);
  assert.equal(haveRead([3000, "4-9"], 4499), false);
  assert.equal(haveRead([3000, "4-9"], 4500), true);
  assert.equal(haveRead([5000, "4-9"], 5000, true), true);
});
