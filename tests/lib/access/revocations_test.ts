import assert from "node:assert/strict";
import {
  type Revocation,
  Revocations,
  REVOCATIONS_MAX,
} from "../../../lib/access/revocations.ts";
import { ApiError } from "../../../lib/errors.ts";

function ofUser(name: string, at: number): Revocation {
  return { kind: "user", name, at };
}

Deno.test("isRevoked() is true for older tokens of a revoked user and for those of unknown age", () => {
  const revocations = new Revocations();
  revocations.add([ofUser("ann", 1000)]);
  for (
    const [issuedAt, expected] of [
      [999, true],
      [1000, false],
      [1001, false],
      [undefined, true],
    ] as const
  ) {
    const issued = { user: "ann", tokenId: "t", issuedAt };
    assert.equal(revocations.isRevoked(issued), expected, String(issuedAt));
  }
  for (const user of ["bob", "Ann", "", "__proto__", undefined]) {
    assert.equal(revocations.isRevoked({ user, issuedAt: 1 }), false);
  }
});

Deno.test("isRevoked() is true for the token with a revoked id, whoever has it", () => {
  const revocations = new Revocations();
  revocations.add([{ kind: "jti", name: "t1", at: 5 }]);
  assert.ok(revocations.isRevoked({ tokenId: "t1", issuedAt: 9 }));
  assert.ok(revocations.isRevoked({ user: "ann", tokenId: "t1" }));
  for (const tokenId of ["t2", undefined]) {
    assert.ok(!revocations.isRevoked({ user: "t1", tokenId }));
  }
});

Deno.test("add() replaces a revocation of a user by a later one, and never by an earlier one", () => {
  let changes = 0;
  const revocations = new Revocations(() => changes++);
  for (const at of [1000, 500, 1000, 2000]) {
    revocations.add([ofUser("ann", at)]);
  }
  assert.deepEqual([...revocations], [ofUser("ann", 2000)]);
  assert.equal(changes, 2);
});

Deno.test("add() returns false if there are too many revocations", () => {
  const revocations = new Revocations();
  const many = Array.from(
    { length: 2 * REVOCATIONS_MAX },
    (_, i) => ofUser(`u${i}`, 1),
  );
  assert.equal(revocations.add(many), true);
  assert.equal(revocations.add([ofUser("u1", 2)]), true);
  assert.equal(revocations.add([ofUser("new", 1)]), false);
  assert.equal(revocations.size, 2 * REVOCATIONS_MAX);
});

Deno.test("deleteBefore() deletes only what is older", () => {
  const revocations = new Revocations();
  revocations.add([
    ofUser("ann", 1000),
    ofUser("bob", 999),
    { kind: "jti", name: "t1", at: 1 },
  ]);
  revocations.deleteBefore(1000);
  assert.deepEqual([...revocations], [ofUser("ann", 1000)]);
});

Deno.test("whenLoaded() waits until the revocations are loaded, and fails as retryable after its time", async () => {
  const revocations = new Revocations();
  await assert.rejects(
    revocations.whenLoaded(1),
    (error) => error instanceof ApiError && error.retryable,
  );
  let isLoaded = false;
  const loaded = revocations.whenLoaded().then(() => isLoaded = true);
  await Promise.resolve();
  assert.equal(isLoaded, false);
  revocations.loaded();
  await loaded;
  await revocations.whenLoaded(0);
});
