import assert from "node:assert/strict";
import {
  hashSessionSecret,
  newOwner,
  newSessionSecret,
  type Session,
} from "../../../lib/sessions/session.ts";
import { MemorySessionStore } from "../../../lib/sessions/store.ts";
import { until } from "../../support/wait.ts";

const SESSION: Session = {
  rooms: [["chat", { since: "1-0" }]],
  epoch: "e",
  lineage: "l",
  generation: 1,
  owner: "one",
};

Deno.test("MemorySessionStore deletes a session when it expires", async () => {
  const store = new MemorySessionStore();
  await store.save(
    [{ digest: "x", session: SESSION, resumedVersion: undefined }],
    0.1,
  );
  assert.deepEqual((await store.load("x"))?.session, SESSION);
  await until("it is gone", async () => await store.load("x") === undefined);
});

Deno.test("MemorySessionStore keeps a session that is saved again for the full time of the new save", async () => {
  const store = new MemorySessionStore();
  const save = (digest: string, seconds: number) =>
    store.save(
      [{ digest, session: SESSION, resumedVersion: undefined }],
      seconds,
    );
  await save("x", 0.1);
  await save("y", 0.1);
  await save("x", 60);
  await until("one is gone", async () => await store.load("y") === undefined);
  assert.deepEqual((await store.load("x"))?.session, SESSION);
});

Deno.test("MemorySessionStore keeps at most 100,000 sessions and deletes those saved longest ago first", async () => {
  const store = new MemorySessionStore();
  const digests = Array.from({ length: 100_003 }, (_, i) => String(i));
  await store.save(
    digests.map((digest) => ({
      digest,
      session: SESSION,
      resumedVersion: undefined,
    })),
    60,
  );
  assert.equal(await store.load("2"), undefined);
  assert.notEqual(await store.load("3"), undefined);
  assert.notEqual(await store.load("100002"), undefined);
});

Deno.test("MemorySessionStore gives a session a different version each time it is saved", async () => {
  const store = new MemorySessionStore();
  const versions = new Set<string | undefined>();
  for (let i = 0; i < 3; i++) {
    await store.save(
      [{ digest: "x", session: SESSION, resumedVersion: undefined }],
      60,
    );
    versions.add((await store.load("x"))?.version);
  }
  assert.equal(versions.size, 3);
});

Deno.test("newSessionSecret() and newOwner() return random texts, and hashSessionSecret() does not reveal the secret", () => {
  const secrets = new Set(Array.from({ length: 1000 }, newSessionSecret));
  assert.equal(secrets.size, 1000);
  for (const secret of secrets) {
    // Nodes accept only secrets of at most 64 characters.
    assert.match(secret, /^[\w-]{24}$/);
    assert.match(hashSessionSecret(secret), /^[\w-]{43}$/);
    assert.ok(!hashSessionSecret(secret).includes(secret));
  }
  assert.equal(new Set(Array.from({ length: 1000 }, newOwner)).size, 1000);
});
