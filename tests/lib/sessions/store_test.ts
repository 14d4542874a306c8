/** Tests of the interface `SessionStore`, which the stores in memory and on Redis must pass. */
import assert from "node:assert/strict";
import { RedisSessionStore } from "../../../lib/sessions/redis_store.ts";
import type { Session } from "../../../lib/sessions/session.ts";
import {
  MemorySessionStore,
  type SessionStore,
  type SessionToSave,
} from "../../../lib/sessions/store.ts";
import { TestLogServer } from "../../support/log_server.ts";

const STORES: Readonly<
  Record<string, (stack: AsyncDisposableStack) => Promise<SessionStore>>
> = {
  MemorySessionStore: () => Promise.resolve(new MemorySessionStore()),
  RedisSessionStore: async (stack) => {
    const server = stack.use(await TestLogServer.start());
    return new RedisSessionStore(server.of("node"));
  },
};

/** Returns a session to save, whose client has reconnected with the stored version `resumedVersion`. */
function save(
  digest: string,
  session: Session,
  resumedVersion?: string,
): SessionToSave {
  return { digest, session, resumedVersion };
}

for (const [name, open] of Object.entries(STORES)) {
  Deno.test(
    `${name}.save() ignores a save of an older generation, and forget() deletes a session only for its owner`,
    async () => {
      await using stack = new AsyncDisposableStack();
      const sessions = await open(stack);
      const old: Session = {
        rooms: [['{"generation":9,"', { since: "1-1" }]],
        epoch: "e",
        lineage: "l",
        generation: 2,
        owner: "one",
        overloaded: false,
      };
      const taken: Session = {
        ...old,
        rooms: [
          ["a", { since: "1-1" }],
          ["b", { since: "1-2", notice: { at: "1-3", number: 4 } }],
        ],
        generation: 3,
      };
      const next: Session = { ...taken, overloaded: true };
      for (
        const [saved, kept] of [
          [old, old],
          [taken, taken],
          [old, taken],
          [next, next],
        ] as const
      ) {
        await sessions.save([save("x", saved), save("y", old)], 10);
        assert.deepEqual((await sessions.load("x"))?.session, kept);
      }
      assert.deepEqual((await sessions.load("y"))?.session, old);
      // Another connection has resumed the session.
      await sessions.forget("x", "two");
      assert.deepEqual((await sessions.load("x"))?.session, next);
      await sessions.forget("x", "one");
      assert.equal(await sessions.load("x"), undefined);
      await sessions.forget("x", "one");
    },
  );

  Deno.test(
    `${name}.save() saves a resumed session only if the stored session has not changed since it was loaded`,
    async () => {
      await using stack = new AsyncDisposableStack();
      const sessions = await open(stack);
      const first: Session = {
        rooms: [["a", { since: "1-1" }]],
        epoch: "e",
        lineage: "l",
        generation: 1,
        owner: "one",
        overloaded: false,
      };
      const of = (owner: string, ...rooms: string[]): Session => ({
        ...first,
        rooms: rooms.map((room) => [room, { since: "1-1" }]),
        generation: 2,
        owner,
      });
      const displaced = async (session: Session, resumedVersion?: string) => {
        const other = save("other", first);
        return [
          ...await sessions.save(
            [other, save("x", session, resumedVersion)],
            10,
          ),
        ];
      };
      assert.deepEqual(await displaced(first), []);
      const { version = "" } = await sessions.load("x") ?? {};
      // Two connections have loaded the session.
      assert.deepEqual(await displaced(of("two", "a"), version), []);
      assert.deepEqual(await displaced(of("two", "a", "b")), []);
      assert.deepEqual(await displaced(of("three", "a"), version), ["x"]);
      assert.deepEqual(await displaced(of("three", "a")), ["x"]);
      assert.deepEqual(await displaced(first), ["x"]);
      // One connection has loaded the session before the other one joined a room.
      const before = await sessions.load("x");
      assert.deepEqual(await displaced(of("two", "a", "b", "c")), []);
      const late = { ...of("four", "a", "b"), generation: 3 };
      assert.deepEqual(await displaced(late, before?.version), ["x"]);
      // Repeat a save as if its reply was lost.
      const loaded = await sessions.load("x");
      assert.deepEqual(await displaced(late, loaded?.version), []);
      assert.deepEqual(await displaced(late, loaded?.version), []);
      // The session is deleted.
      await sessions.forget("x", "four");
      assert.deepEqual(await displaced(late, loaded?.version), ["x"]);
    },
  );
}
