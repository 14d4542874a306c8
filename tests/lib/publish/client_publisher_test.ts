import assert from "node:assert/strict";
import type { Access } from "../../../lib/access/access.ts";
import {
  makePrincipal,
  type Principal,
} from "../../../lib/access/principal.ts";
import { Rights } from "../../../lib/access/rights.ts";
import { ApiError } from "../../../lib/errors.ts";
import { MemoryLog } from "../../../lib/log/memory_log.ts";
import type { PublishRequest } from "../../../lib/log/message.ts";
import type { Observation } from "../../../lib/observer.ts";
import {
  ClientPublisher,
  type PublishingClient,
} from "../../../lib/publish/client_publisher.ts";
import type { PublishQuestion } from "../../../lib/publish/publish_hook.ts";
import { Publisher } from "../../../lib/publish/publisher.ts";
import { collectGarbage } from "../../support/collect_garbage.ts";
import { silentReader } from "../../support/silent_reader.ts";
import { Inbox, soon } from "../../support/wait.ts";

const RIGHTS = new Rights([{ rooms: ["*"], actions: ["publish"] }]);

/** Returns a connected client of a user, of a token without a user, or of a sender without credentials. */
function clientOf(
  user: string | undefined,
  kind: Principal["kind"] = "client",
  id = `client of ${user}`,
): PublishingClient {
  const by = kind === "client" ? "token" as const : undefined;
  return {
    id,
    directed: undefined,
    headers: { cookie: "c" },
    principal: makePrincipal({ kind, by, user, rights: RIGHTS }),
  };
}

const ANN = clientOf("ann");

/** A question to the hook that has not been answered yet. */
interface Asked {
  readonly question: PublishQuestion;
  readonly answer: (json: string) => void;
  readonly refuse: (error: ApiError) => void;
}

/** A publisher for clients with an embedded log, and a hook that concerns the rooms whose names begin with "h". */
class Stage implements AsyncDisposable {
  readonly observed: Observation[] = [];
  /** The limits that publishes have exceeded. */
  readonly limits: string[] = [];
  readonly appended: PublishRequest[] = [];
  readonly asked = new Inbox<Asked>();
  /** Whether clients may publish. */
  isAllowed = true;
  /** Whether a backend has disconnected the clients. */
  isEnded = false;
  readonly log = new MemoryLog({
    historySize: 1000,
    historySeconds: 3600,
    idempotencySeconds: 600,
    reader: silentReader,
  });
  readonly #publisher: Publisher;
  readonly clients: ClientPublisher;

  constructor(publishesPerSecondMax = 0) {
    const access: Pick<Access, "refusal"> = {
      refusal: ({ rights }, action, room) =>
        this.isAllowed && rights.allow(action, room)
          ? undefined
          : new ApiError("forbidden", "Cannot: no"),
    };
    const observe = (observation: Observation): void =>
      void this.observed.push(observation);
    this.#publisher = new Publisher({
      log: {
        append: (publishes) => {
          this.appended.push(...publishes);
          return this.log.append(publishes);
        },
      },
      access,
      publishesPerSecondMax,
      observe,
    });
    this.clients = new ClientPublisher({
      publisher: this.#publisher,
      access,
      principalOf: ({ principal }) => {
        if (!this.isEnded) return principal;
        throw new ApiError("unauthorized", "Cannot: it is disconnected");
      },
      hook: {
        concerns: (room) => room.startsWith("h"),
        ask: (question) =>
          new Promise((answer, refuse) =>
            this.asked.push({ question, answer, refuse })
          ),
      },
      messageBytesMax: 1 << 20,
    });
  }

  /** Publishes. Resolves to the id, with `again` if it is a duplicate, or to the code of the error. */
  async publish(
    fields: Record<string, unknown>,
    client: PublishingClient = ANN,
  ): Promise<string> {
    try {
      const { id, duplicate } = await this.clients.publish(client, fields);
      return duplicate ? `${id} again` : id;
    } catch (error) {
      assert.ok(error instanceof ApiError, String(error));
      if (error.limit !== undefined) this.limits.push(error.limit);
      return error.code;
    }
  }

  /** Waits for a question to the hook, and returns it. */
  async question(index: number): Promise<Asked> {
    const asked = (await this.asked.have(index + 1))[index];
    assert.ok(asked);
    return asked;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#publisher.close();
    await this.log.close();
  }
}

Deno.test("ClientPublisher appends a message with the verified user, the event and a key of this user", async () => {
  await using stage = new Stage();
  const guest = clientOf(undefined, "anonymous");
  await stage.publish({ room: "a", message: 1 });
  await stage.publish({ room: "a", message: 2, event: "moved", key: "k" });
  await stage.publish({ room: "a", message: 3 }, guest);
  assert.deepEqual(stage.appended, [
    { rooms: ["a"], json: "1", key: undefined, meta: { from: "ann" } },
    {
      rooms: ["a"],
      json: "2",
      key: "\0ann\0k",
      meta: { event: "moved", from: "ann" },
    },
    { rooms: ["a"], json: "3", key: undefined, meta: undefined },
  ]);
  assert.equal(stage.clients.inFlight, 0);
  assert.deepEqual(
    stage.observed,
    Array(3).fill({ kind: "published", count: 1 }),
  );
});

Deno.test("a key belongs to one user: others with the same key publish messages of their own", async () => {
  await using stage = new Stage();
  const senders = [
    ANN,
    clientOf("bob"),
    clientOf(undefined),
    clientOf(undefined, "anonymous"),
  ];
  const ids = new Set<string>();
  for (const sender of senders) {
    const id = await stage.publish({ room: "a", message: 1, key: "k" }, sender);
    assert.match(id, /^\d+-\d+$/);
    ids.add(id);
    const again = { ...sender, id: "after a reconnect" };
    assert.equal(
      await stage.publish({ room: "a", message: 1, key: "k" }, again),
      `${id} again`,
    );
    assert.equal(
      await stage.publish({ room: "a", message: 2, key: "k" }, again),
      "key_reused",
    );
  }
  // A backend has keys of its own, too.
  const [[backend] = []] = await stage.log.append([
    { rooms: ["a"], json: "1", key: "k" },
  ]);
  assert.ok(backend && "id" in backend && !backend.duplicate);
  assert.equal(ids.size, senders.length);
});

Deno.test("the hook is asked about its rooms only, with the client, its user and the message", async () => {
  await using stage = new Stage();
  assert.match(await stage.publish({ room: "a", message: 1 }), /-/);
  const publishing = stage.publish({ room: "h", message: { a: 1 } });
  const { question, answer } = await stage.question(0);
  const { isWanted, ...facts } = question;
  assert.deepEqual(facts, {
    client: "client of ann",
    user: "ann",
    room: "h",
    event: "msgReceived",
    json: '{"a":1}',
    headers: { cookie: "c" },
  });
  assert.equal(isWanted(), true);
  assert.equal(stage.clients.inFlight, 1);
  answer('"other"');
  await publishing;
  assert.equal(stage.appended.at(-1)?.json, '"other"');
  const refused = stage.publish({ room: "h", message: 1, event: "e" });
  const second = await stage.question(1);
  assert.equal(second.question.event, "e");
  second.refuse(new ApiError("forbidden", "Cannot: no"));
  assert.equal(await refused, "forbidden");
  assert.equal(stage.appended.length, 2);
  assert.deepEqual(stage.observed.at(-1), {
    kind: "publish_failed",
    code: "forbidden",
  });
});

Deno.test("a repeated publish is a duplicate also if the hook replaces its message by another one each time", async () => {
  await using stage = new Stage();
  const publish = async (message: unknown, json: string): Promise<string> => {
    const index = stage.asked.items.length;
    const publishing = stage.publish({ room: "h", message, key: "k" });
    (await stage.question(index)).answer(json);
    return await publishing;
  };
  const id = await publish("hello", '"hello at 10:00"');
  assert.equal(await publish("hello", '"hello at 10:01"'), `${id} again`);
  assert.equal(await publish("hello", '"hello"'), `${id} again`);
  assert.equal(await publish("other", '"hello at 10:00"'), "key_reused");
  // The hook may also begin to replace a message that it has passed on before.
  const passed = stage.publish({ room: "h", message: 1, key: "l" });
  (await stage.question(4)).answer("1");
  const first = await passed;
  const replaced = stage.publish({ room: "h", message: 1, key: "l" });
  (await stage.question(5)).answer("2");
  assert.equal(await replaced, `${first} again`);
});

Deno.test("publishes of one client into one room keep their order while the hook is slow, and delay nothing else", async () => {
  await using stage = new Stage();
  const first = stage.publish({ room: "h", message: 1 });
  const second = stage.publish({ room: "h", message: 2 });
  const third = stage.publish({ room: "h", message: 3 });
  await stage.question(0);
  // Other rooms, and other clients, do not wait.
  assert.match(await stage.publish({ room: "a", message: "a" }), /-/);
  const ofBob = stage.publish({ room: "h", message: "b" }, clientOf("bob"));
  (await stage.question(1)).answer('"b"');
  assert.match(await ofBob, /-/);
  assert.equal(stage.asked.items.length, 2);
  stage.asked.items[0]?.answer("1");
  (await stage.question(2)).refuse(new ApiError("forbidden", "Cannot: no"));
  (await stage.question(3)).answer("3");
  const ids = await Promise.all([first, second, third]);
  assert.equal(ids[1], "forbidden");
  assert.deepEqual(
    stage.appended.map(({ json }) => json),
    ['"a"', '"b"', "1", "3"],
  );
});

Deno.test("a right that ends while the hook is asked counts, and without the right the hook is not asked", async () => {
  await using stage = new Stage();
  const publishing = stage.publish({ room: "h", message: 1 });
  const { answer } = await stage.question(0);
  stage.isAllowed = false;
  answer("1");
  assert.equal(await publishing, "forbidden");
  assert.equal(await stage.publish({ room: "h", message: 1 }), "forbidden");
  assert.equal(stage.asked.items.length, 1);
  assert.deepEqual(stage.appended, []);
  assert.deepEqual(
    stage.observed,
    Array(2).fill({ kind: "publish_failed", code: "forbidden" }),
  );
});

Deno.test("a client that a backend disconnects while the hook is asked publishes nothing", async () => {
  await using stage = new Stage();
  const publishing = stage.publish({ room: "h", message: 1 });
  const behind = stage.publish({ room: "h", message: 2 });
  const { answer } = await stage.question(0);
  stage.isEnded = true;
  answer("1");
  assert.equal(await publishing, "unauthorized");
  // The next one may have been shown to the hook meanwhile, but is not published either.
  (await stage.question(1)).answer("2");
  assert.equal(await behind, "unauthorized");
  assert.equal(await stage.publish({ room: "a", message: 3 }), "unauthorized");
  assert.deepEqual(stage.appended, []);
});

Deno.test("a client that gets other rights while the hook is asked publishes only with those", async () => {
  await using stage = new Stage();
  const client: { principal: Principal } & PublishingClient = clientOf("ann");
  const publishing = stage.publish({ room: "h", message: 1 }, client);
  const { answer } = await stage.question(0);
  client.principal = makePrincipal({
    ...client.principal,
    rights: new Rights([]),
  });
  answer("1");
  assert.equal(await publishing, "forbidden");
  assert.deepEqual(stage.appended, []);
});

Deno.test("one client may have 1 MiB of publishes in flight; further ones are overloaded, and others are not", async () => {
  await using stage = new Stage();
  // 1 KiB and a message of one character each.
  const waiting = Array.from(
    { length: 1022 },
    () => stage.publish({ room: "h", message: 1 }),
  );
  assert.equal(await stage.publish({ room: "a", message: 1 }), "overloaded");
  assert.match(
    await stage.publish({ room: "a", message: 1 }, clientOf("bob")),
    /-/,
  );
  const large = clientOf("cat");
  const message = "x".repeat(600_000);
  waiting.push(stage.publish({ room: "h", message }, large));
  assert.equal(
    await stage.publish({ room: "a", message: 1 }, large),
    "overloaded",
  );
  assert.deepEqual(stage.limits, Array(2).fill("client_publishes"));
  for (let i = 0; i < waiting.length; i++) {
    (await stage.question(i)).answer("1");
  }
  await soon(Promise.all(waiting), "all are answered");
  assert.equal(stage.clients.inFlight, 0);
  assert.match(await stage.publish({ room: "a", message }, large), /-/);
});

Deno.test("a publish in flight does not keep the parsed message in memory", async () => {
  await using stage = new Stage();
  const start = (): [WeakRef<object>, Promise<unknown>] => {
    const message = { a: 1 };
    const publishing = stage.clients.publish(ANN, { room: "h", message });
    return [new WeakRef(message), publishing];
  };
  // The first is at the hook, and the second waits for its turn.
  const [first, second] = [start(), start()];
  const { answer } = await stage.question(0);
  await collectGarbage();
  assert.equal(first[0].deref(), undefined);
  assert.equal(second[0].deref(), undefined);
  answer("1");
  (await stage.question(1)).answer("2");
  await soon(Promise.all([first[1], second[1]]), "both are published");
});

Deno.test("PUBLISHES_PER_SECOND_MAX counts for each client alone, before the hook is asked", async () => {
  await using stage = new Stage(2);
  assert.match(await stage.publish({ room: "a", message: 1 }), /-/);
  assert.match(await stage.publish({ room: "a", message: 1 }), /-/);
  await assert.rejects(
    stage.clients.publish(ANN, { room: "h", message: 1 }),
    (error) =>
      error instanceof ApiError && error.code === "too_many_publishes" &&
      error.retrySeconds === 1,
  );
  assert.equal(stage.asked.items.length, 0);
  assert.match(
    await stage.publish({ room: "a", message: 1 }, clientOf("bob")),
    /-/,
  );
});

Deno.test("a publish that has waited for more than 10 s for earlier ones is refused when its turn comes", async () => {
  await using stage = new Stage();
  const first = stage.publish({ room: "h", message: 1 });
  const second = stage.publish({ room: "h", message: 2 });
  const { answer } = await stage.question(0);
  const now = performance.now;
  try {
    performance.now = () => now.call(performance) + 10_001;
    answer("1");
    assert.match(await soon(first, "it is published"), /-/);
    assert.equal(await soon(second, "it is refused"), "overloaded");
  } finally {
    performance.now = now;
  }
  assert.equal(stage.asked.items.length, 1);
});
