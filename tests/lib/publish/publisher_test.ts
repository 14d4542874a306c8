import assert from "node:assert/strict";
import type { Access } from "../../../lib/access/access.ts";
import { makePrincipal } from "../../../lib/access/principal.ts";
import { Rights } from "../../../lib/access/rights.ts";
import { ApiError } from "../../../lib/errors.ts";
import { MemoryLog } from "../../../lib/log/memory_log.ts";
import type { PublishRequest } from "../../../lib/log/message.ts";
import type { Observation } from "../../../lib/observer.ts";
import { Publisher } from "../../../lib/publish/publisher.ts";
import { silentReader } from "../../support/silent_reader.ts";

const ANN = makePrincipal({
  kind: "key",
  key: "ann",
  rights: new Rights([{ rooms: ["*"], actions: ["publish"] }]),
});
const FORBIDDEN = new ApiError("unauthorized", "Cannot publish: no; ask");

/** A publisher with an embedded log. No principal may publish into rooms whose names begin with "no". */
class Stage {
  readonly observations: Observation[] = [];
  /** Every publish that the publisher has appended to the log. */
  readonly appended: PublishRequest[] = [];
  readonly log = new MemoryLog({
    historySize: 100,
    historySeconds: 3600,
    idempotencySeconds: 600,
    reader: silentReader,
  });
  readonly publisher: Publisher;

  constructor() {
    const access: Pick<Access, "refusal"> = {
      refusal: (principal, action, room) => {
        assert.equal(principal, ANN);
        assert.equal(action, "publish");
        return room?.startsWith("no") ? FORBIDDEN : undefined;
      },
    };
    this.publisher = new Publisher({
      log: {
        append: (publishes) => {
          this.appended.push(...publishes);
          return this.log.append(publishes);
        },
      },
      access,
      observe: (observation) => this.observations.push(observation),
    });
  }

  /** Publishes, and returns a list for each publish: its rooms, each with the code of its error if there is one. */
  async publish(...publishes: PublishRequest[]): Promise<string[][]> {
    const results = await this.publisher.publish(ANN, publishes);
    return results.map((list) =>
      list.map((result) =>
        "error" in result ? `${result.room}: ${result.error.code}` : result.room
      )
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.publisher.close();
    await this.log.close();
  }
}

Deno.test("Publisher.publish() returns a list of results for each publish, in order", async () => {
  await using stage = new Stage();
  assert.deepEqual(
    await stage.publish({ rooms: ["b", "a"], json: "1" }, {
      rooms: ["c"],
      json: "2",
    }),
    [["b", "a"], ["c"]],
  );
  assert.deepEqual(await stage.publish(), []);
});

Deno.test("Publisher.publish() appends only to rooms into which the principal may publish, and returns errors for the others", async () => {
  await using stage = new Stage();
  assert.deepEqual(
    await stage.publish(
      { rooms: ["a", "no-1", "b", "no-2"], json: "1" },
      { rooms: ["no-3"], json: "2" },
      { rooms: ["c"], json: "3" },
    ),
    [
      ["a", "no-1: unauthorized", "b", "no-2: unauthorized"],
      ["no-3: unauthorized"],
      ["c"],
    ],
  );
  assert.deepEqual(stage.appended, [
    { rooms: ["a", "b"], json: "1" },
    { rooms: ["c"], json: "3" },
  ]);
});

Deno.test("Publisher.publish() reports the number of published messages, and each failed message", async () => {
  await using stage = new Stage();
  await stage.publish(
    { rooms: ["a", "no"], json: "1", key: "k" },
    { rooms: ["b"], json: "2", key: "k" },
  );
  await stage.publish({ rooms: ["c"], json: "3", key: "l" });
  // A duplicate counts neither as published nor as failed.
  await stage.publish({ rooms: ["c"], json: "3", key: "l" });
  const key = "ann";
  assert.deepEqual(stage.observations, [
    { kind: "publish_failed", code: "unauthorized", key },
    { kind: "publishes_refused", key, code: "unauthorized", count: 1 },
    { kind: "publish_failed", code: "key_reused", key },
    { kind: "publishes_refused", key, code: "key_reused", count: 1 },
    { kind: "published", count: 1, key },
    { kind: "published", count: 1, key },
  ]);
});

Deno.test("Publisher.failed() reports refusals of a key rarely, and neither outages nor senders without a key", async () => {
  await using stage = new Stage();
  const log = new ApiError("log_timeout", "Cannot publish: late; try again");
  for (let i = 0; i < 3; i++) stage.publisher.failed(ANN, FORBIDDEN);
  stage.publisher.failed(ANN, log);
  const anonymous = makePrincipal({
    kind: "anonymous",
    rights: new Rights([{ rooms: ["*"], actions: ["publish"] }]),
  });
  stage.publisher.failed(anonymous, FORBIDDEN);
  const { observations } = stage;
  assert.equal(
    observations.filter(({ kind }) => kind === "publishes_refused").length,
    1,
  );
  assert.deepEqual(observations.slice(-2), [
    { kind: "publish_failed", code: "log_timeout", key: "ann" },
    { kind: "publish_failed", code: "unauthorized" },
  ]);
});

Deno.test("Publisher.inFlight counts the calls that wait for the log", async () => {
  const appended = Promise.withResolvers<[]>();
  const publisher = new Publisher({
    log: { append: () => appended.promise },
    access: {
      refusal: () => undefined,
    },
    observe: () => {},
  });
  const calls = [publisher.publish(ANN, []), publisher.publish(ANN, [])];
  assert.equal(publisher.inFlight, 2);
  appended.resolve([]);
  await Promise.all(calls);
  assert.equal(publisher.inFlight, 0);
});
