import assert from "node:assert/strict";
import {
  afterExpiry,
  grantOfServer,
  renewedGrant,
  type RoomGrant,
} from "../../../lib/access/principal.ts";

const TOKEN: RoomGrant = {
  by: "token",
  actions: ["subscribe", "publish"],
  expiresAt: 9,
};

Deno.test("a room token of a client that a backend has put into the room leaves the word of the backend when it expires", () => {
  const ofServer = grantOfServer(5, undefined);
  for (const before of [ofServer, { ...TOKEN, putAt: 5 }]) {
    const renewed = renewedGrant(TOKEN, before);
    assert.deepEqual(renewed, { ...TOKEN, putAt: 5 });
    assert.deepEqual(afterExpiry(renewed), ofServer);
  }
  assert.deepEqual(afterExpiry(grantOfServer(5, TOKEN)), ofServer);
});

Deno.test("nothing is left of an expired room token without the word of a backend", () => {
  assert.equal(renewedGrant(TOKEN, undefined), TOKEN);
  assert.equal(renewedGrant(TOKEN, TOKEN), TOKEN);
  assert.equal(afterExpiry(TOKEN), undefined);
});
