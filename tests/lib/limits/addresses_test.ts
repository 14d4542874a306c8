import assert from "node:assert/strict";
import {
  addressGroup,
  clientAddresses,
  isAddressRange,
} from "../../../lib/limits/addresses.ts";

/** Returns the address that is found for a request of `peer` with this header. */
function find(
  trusted: readonly string[],
  peer: string | undefined,
  forwarded?: string,
): string {
  return clientAddresses(trusted)({
    headers: forwarded === undefined ? {} : { "x-forwarded-for": forwarded },
    socket: { remoteAddress: peer },
  });
}

const PROXIES = ["10.0.0.0/8", "192.0.2.7", "fd00::/8"];

Deno.test("clientAddresses() ignores X-Forwarded-For unless the peer is a trusted proxy", () => {
  assert.equal(find([], "198.51.100.1", "203.0.113.9"), "198.51.100.1");
  assert.equal(find(PROXIES, "198.51.100.1", "203.0.113.9"), "198.51.100.1");
  assert.equal(find(PROXIES, "192.0.2.8", "203.0.113.9"), "192.0.2.8");
  assert.equal(find(PROXIES, "192.0.2.7", "203.0.113.9"), "203.0.113.9");
  assert.equal(find(PROXIES, "10.1.2.3", "203.0.113.9"), "203.0.113.9");
  assert.equal(find(PROXIES, "fd12::1", "2001:db8::1"), "2001:db8::1");
});

Deno.test("clientAddresses() names a peer that sends X-Forwarded-For and is no trusted proxy, if there are any", () => {
  const named = (trusted: readonly string[], peer: string, header: boolean) => {
    const untrusted: string[] = [];
    clientAddresses(trusted, (address) => void untrusted.push(address))({
      headers: header ? { "x-forwarded-for": "203.0.113.9" } : {},
      socket: { remoteAddress: peer },
    });
    return untrusted;
  };
  assert.deepEqual(named(PROXIES, "::ffff:192.0.2.8", true), ["192.0.2.8"]);
  assert.deepEqual(named(PROXIES, "192.0.2.7", true), []);
  assert.deepEqual(named(PROXIES, "192.0.2.8", false), []);
  assert.deepEqual(named([], "192.0.2.8", true), []);
});

Deno.test("clientAddresses() reads X-Forwarded-For from its end and skips trusted proxies", () => {
  for (
    const [forwarded, expected] of [
      ["203.0.113.9", "203.0.113.9"],
      ["6.6.6.6, 203.0.113.9", "203.0.113.9"],
      ["6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9"],
      ["6.6.6.6,203.0.113.9,10.0.0.2,fd00::2", "203.0.113.9"],
      ["10.0.0.3, 10.0.0.2", "10.0.0.3"],
      ["203.0.113.9:4711, 10.0.0.2:80", "203.0.113.9"],
      ["[2001:db8::1]:4711", "2001:db8::1"],
      ["2001:DB8:0:0::1", "2001:db8::1"],
      ["::ffff:203.0.113.9", "203.0.113.9"],
      ["::ffff:10.0.0.9", "10.0.0.9"],
      ["6.6.6.6, ::ffff:10.0.0.9", "6.6.6.6"],
    ] as const
  ) {
    assert.equal(find(PROXIES, "10.0.0.1", forwarded), expected, forwarded);
  }
});

Deno.test("clientAddresses() trusts nothing that precedes an entry that is not an address", () => {
  for (
    const garbage of [
      "",
      ",",
      "unknown",
      "203.0.113.9, unknown",
      "203.0.113.9, ",
      "203.0.113.9, 10.0.0.2.",
      "203.0.113.9, _hidden",
      "203.0.113.9, 10.0.0",
      "203.0.113.9, 010.0.0.2",
      "203.0.113.9, <script>",
      "203.0.113.9, ::1::",
    ]
  ) {
    assert.equal(find(PROXIES, "10.0.0.1", garbage), "10.0.0.1", garbage);
  }
  assert.equal(find(PROXIES, "10.0.0.1", "unknown, 10.0.0.2"), "10.0.0.2");
});

Deno.test("clientAddresses() reads at most 32 entries of X-Forwarded-For", () => {
  const forwarded = ["203.0.113.9", ...Array(5000).fill("10.0.0.2")].join(", ");
  assert.equal(find(PROXIES, "10.0.0.1", forwarded), "10.0.0.2");
});

Deno.test("clientAddresses() normalizes the address of the peer", () => {
  assert.equal(find([], "::ffff:127.0.0.1"), "127.0.0.1");
  assert.equal(find([], "::ffff:7f00:1"), "127.0.0.1");
  assert.equal(find([], "fe80::1%eth0"), "fe80::1");
  assert.equal(find([], undefined), "");
  assert.equal(find(PROXIES, "::ffff:10.0.0.1", "203.0.113.9"), "203.0.113.9");
  assert.equal(
    find(["::ffff:10.0.0.0/104"], "10.0.0.1", "203.0.113.9"),
    "203.0.113.9",
  );
});

Deno.test("isAddressRange() accepts addresses and ranges of both families, and nothing else", () => {
  for (
    const range of [
      "10.0.0.1",
      "10.0.0.0/8",
      "0.0.0.0/0",
      "192.0.2.1/32",
      "::1",
      "fd00::/8",
      "2001:db8::/128",
    ]
  ) assert.equal(isAddressRange(range), true, range);
  for (
    const range of [
      "",
      "proxy.example.com",
      "10.0.0",
      "10.0.0.0/33",
      "10.0.0.0/",
      "10.0.0.0/-1",
      "10.0.0.0/8/8",
      "fd00::/129",
      "[::1]",
      "fe80::1%eth0",
      "*",
    ]
  ) assert.equal(isAddressRange(range), false, range);
});

Deno.test("addressGroup() groups IPv6 addresses by their first 64 bits, and keeps IPv4 addresses apart", () => {
  assert.equal(addressGroup("192.0.2.1"), "192.0.2.1");
  assert.equal(addressGroup(""), "");
  const group = addressGroup("2001:db8:0:7::1");
  assert.equal(group, "2001:db8:0:7::/64");
  for (const other of ["2001:db8:0:7:ffff:1:2:3", "2001:db8:0:7::"]) {
    assert.equal(addressGroup(other), group);
  }
  assert.notEqual(addressGroup("2001:db8:0:8::1"), group);
  assert.equal(addressGroup("::1"), "0:0:0:0::/64");
  assert.equal(addressGroup("1::2:3:4:5"), "1:0:0:0::/64");
});
