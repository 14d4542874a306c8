/** A subscriber without a connection that records the calls of fan-out. */
import {
  type Encoder,
  type GapNotice,
  Subscriber,
} from "../../lib/delivery/subscriber.ts";
import type { Entry } from "../../lib/log/log.ts";

/** A frame that names its content: the ids of messages, or `gap`. */
export interface RecordedFrame {
  readonly encoder: Encoder;
  readonly ids: readonly string[];
  readonly gap?: GapNotice;
}

/** An encoder that counts the frames it makes. */
export class RecordingEncoder implements Encoder {
  frames = 0;
  /** Thrown instead of making a frame of messages. */
  error: Error | undefined;

  messages(entries: readonly Entry[]): RecordedFrame {
    if (this.error !== undefined) throw this.error;
    this.frames++;
    return { encoder: this, ids: entries.map(({ id }) => id) };
  }

  gap(gap: GapNotice): RecordedFrame {
    this.frames++;
    return { encoder: this, ids: ["gap"], gap };
  }
}

/** Records frames. Tests say whether it is idle and how much is buffered. */
export class RecordingSubscriber extends Subscriber {
  override idle = true;
  override bufferedBytes = 0;
  override requestedBytes = 0;
  /** The frames that were written, in order. */
  readonly frames: RecordedFrame[] = [];
  /** Messages that `writeLatest` was called with. */
  readonly latest: string[] = [];
  readonly replayed: string[] = [];
  disconnects = 0;
  /** Called at each write. */
  onWrite: () => void = () => {};

  constructor(override readonly encoder: RecordingEncoder) {
    super();
  }

  /** The ids that were written, one string for each write. */
  get writes(): string[] {
    return this.frames.map(({ ids }) => ids.join(" "));
  }

  override write(frame: RecordedFrame): void {
    this.frames.push(frame);
    this.onWrite();
  }

  override writeLatest({ id }: Entry): number {
    this.latest.push(id);
    return this.latest.length > 1 ? 1 : 0;
  }

  override replay(entries: readonly Entry[]): void {
    this.onWrite();
    this.replayed.push(...entries.map(({ id }) => id));
  }

  override respond(write: () => void): void {
    write();
  }

  override disconnect(): void {
    this.disconnects++;
  }
}
