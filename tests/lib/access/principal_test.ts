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

Deno.test("afterExpiry() returns the grant of the backend that has put the client into the room, for a room token before or after it", () => {
  const ofServer = grantOfServer(5, undefined);
  for (const before of [ofServer, { ...TOKEN, putAt: 5 }]) {
    const renewed = renewedGrant(TOKEN, before);
    assert.deepEqual(renewed, { ...TOKEN, putAt: 5 });
    assert.deepEqual(afterExpiry(renewed), ofServer);
  }
  assert.deepEqual(afterExpiry(grantOfServer(5, TOKEN)), ofServer);
});

Deno.test("afterExpiry() returns undefined for a room token of a client that no backend has put into the room", () => {
  assert.equal(renewedGrant(TOKEN, undefined), TOKEN);
  assert.equal(renewedGrant(TOKEN, TOKEN), TOKEN);
  assert.equal(afterExpiry(TOKEN), undefined);
});
