import assert from "node:assert/strict";
import { roomcast } from "../../static/roomcast.js";

type Auth = (send: (fields: unknown) => void) => void;

/** Returns the fields that the module sends at connect if it is given this `auth`. */
function sent(auth: unknown): unknown[] {
  const fields: unknown[] = [];
  const socket = {
    on: () => socket,
    onAny: () => socket,
    emit: () => {},
    connect: () => {},
  };
  const io = (_url: unknown, options: { auth: Auth }) => {
    options.auth((sent) => fields.push(sent));
    return socket;
  };
  roomcast(io, {
    rooms: ["a"],
    options: { auth },
    storage: { getItem: () => null, setItem: () => {} },
    onMessage: () => {},
    onGap: () => {},
  });
  return fields;
}

Deno.test("roomcast() sends the fields of auth, an object or a function, and its own rooms", () => {
  const expected = [{ token: "t", rooms: [{ room: "a", last: undefined }] }];
  const fields = { token: "t", rooms: ["b"] };
  assert.deepEqual(sent(fields), expected);
  assert.deepEqual(
    sent((send: (f: unknown) => void) => send(fields)),
    expected,
  );
  assert.deepEqual(sent(undefined), [{ rooms: expected[0]?.rooms }]);
});
