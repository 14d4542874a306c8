import assert from "node:assert/strict";
import { ApiError, type ErrorCode } from "../../../lib/errors.ts";
import { clientAddresses } from "../../../lib/limits/addresses.ts";
import {
  ConnectionLimits,
  type ConnectionLimitsOptions,
  type Entry,
} from "../../../lib/limits/connection_limits.ts";

function limitsOf(
  options: Partial<ConnectionLimitsOptions>,
): { limits: ConnectionLimits; enter: (address?: string) => Entry } {
  const limits = new ConnectionLimits({
    clientsMax: 0,
    clientsPerAddressMax: 0,
    connectsPerSecondMax: 0,
    clientAddress: clientAddresses([]),
    ...options,
  });
  return {
    limits,
    enter: (remoteAddress = "192.0.2.1") =>
      limits.enter({ headers: {}, socket: { remoteAddress } }),
  };
}

function assertRefused(enter: () => unknown, code: ErrorCode): void {
  assert.throws(
    enter,
    (error: unknown) =>
      error instanceof ApiError && error.code === code && error.retryable &&
      error.retrySeconds >= 1,
  );
}

Deno.test("ConnectionLimits refuses connections beyond CLIENTS_MAX until one has left", () => {
  const { limits, enter } = limitsOf({ clientsMax: 2 });
  const first = enter();
  enter("192.0.2.2");
  assertRefused(() => enter("192.0.2.3"), "too_many_clients");
  assert.equal(limits.count, 2);
  limits.leave(first);
  enter("192.0.2.3");
  assertRefused(() => enter(), "too_many_clients");
});

Deno.test("ConnectionLimits counts connections by IPv4 address and by the first 64 bits of an IPv6 address", () => {
  const { limits, enter } = limitsOf({ clientsPerAddressMax: 2 });
  const entries = [enter("192.0.2.1"), enter("::ffff:192.0.2.1")];
  assertRefused(() => enter("192.0.2.1"), "too_many_connections");
  entries.push(enter("192.0.2.2"));
  entries.push(enter("2001:db8::1"), enter("2001:db8::ffff:1:2:3"));
  assertRefused(() => enter("2001:db8::2"), "too_many_connections");
  entries.push(enter("2001:db8:0:1::2"));
  assert.equal(limits.groups, 4);
  for (const entry of entries) limits.leave(entry);
  assert.equal(limits.groups, 0);
  assert.equal(limits.count, 0);
});

Deno.test("ConnectionLimits refuses connections beyond CONNECTS_PER_SECOND_MAX, which refused connections do not use up", () => {
  const { enter } = limitsOf({
    connectsPerSecondMax: 3,
    clientsPerAddressMax: 2,
  });
  enter();
  enter();
  for (let i = 0; i < 10; i++) {
    assertRefused(() => enter(), "too_many_connections");
  }
  enter("192.0.2.2");
  assertRefused(() => enter("192.0.2.3"), "too_many_connects");
});

Deno.test("ConnectionLimits without limits refuses no connection and stores no addresses", () => {
  const { limits, enter } = limitsOf({});
  for (let i = 0; i < 1000; i++) enter();
  assert.equal(limits.count, 1000);
  assert.equal(limits.groups, 0);
  assert.equal(enter(), enter());
});
