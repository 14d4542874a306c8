import assert from "node:assert/strict";
import { CountingSubscriber } from "../../../lib/delivery/counting_subscriber.ts";
import { RecordingEncoder } from "../../support/recording_subscriber.ts";

/** A subscriber whose buffered bytes a test sets. */
class TestSubscriber extends CountingSubscriber {
  override readonly encoder = new RecordingEncoder();
  override readonly closed = false;
  override readonly idle = false;
  override allBytes = 0;

  override write(): void {}
  override writeLatest(): number {
    return 0;
  }
  override replay(): void {}
  override disconnect(): void {}

  /** Writes an answer of so many bytes. */
  answer(bytes: number): void {
    this.respond(() => void (this.allBytes += bytes));
  }

  /** The buffered bytes of messages, and those of answers. */
  get counts(): readonly [buffered: number, requested: number] {
    return [this.bufferedBytes, this.requestedBytes];
  }
}

Deno.test("CountingSubscriber counts answers apart from messages, which count as the first to be read", () => {
  const subscriber = new TestSubscriber();
  subscriber.allBytes = 100;
  assert.deepEqual(subscriber.counts, [100, 0]);
  subscriber.answer(50);
  subscriber.answer(20);
  subscriber.allBytes += 30;
  assert.deepEqual(subscriber.counts, [130, 70]);
  subscriber.allBytes = 90;
  assert.deepEqual(subscriber.counts, [20, 70]);
  subscriber.allBytes = 40;
  assert.deepEqual(subscriber.counts, [0, 40]);
  // The answers were read partly. New messages do not count as their remaining bytes.
  subscriber.allBytes = 240;
  assert.deepEqual(subscriber.counts, [200, 40]);
});

Deno.test("CountingSubscriber counts what an answer has written before an error", () => {
  const subscriber = new TestSubscriber();
  assert.throws(
    () =>
      subscriber.respond(() => {
        subscriber.allBytes += 10;
        throw new Error("the connection is broken");
      }),
    /broken/,
  );
  assert.deepEqual(subscriber.counts, [0, 10]);
});
