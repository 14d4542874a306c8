/** A subscriber without a connection, which records the calls that fan-out makes. */
import {
  type Encoder,
  type GapNotice,
  Subscriber,
} from "../../lib/delivery/subscriber.ts";
import type { Entry } from "../../lib/log/log.ts";

/** A frame with a list of what it contains: the ids of its messages, or `gap`. */
export interface RecordedFrame {
  readonly encoder: Encoder;
  readonly ids: readonly string[];
  readonly gap?: GapNotice;
}

/** An encoder that counts the frames that it makes. */
export class RecordingEncoder implements Encoder {
  frames = 0;
  /** If set, `messages()` throws this error. */
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

  event(name: string): RecordedFrame {
    this.frames++;
    return { encoder: this, ids: [name] };
  }
}

/** A subscriber that records frames. Tests set whether it is idle and how many bytes are buffered for it. */
export class RecordingSubscriber extends Subscriber {
  override closed = false;
  override idle = true;
  override bufferedBytes = 0;
  override requestedBytes = 0;
  /** The frames that were written, in order. */
  readonly frames: RecordedFrame[] = [];
  /** The ids of the messages with which `writeLatest()` was called. */
  readonly latest: string[] = [];
  readonly replayed: string[] = [];
  disconnects = 0;
  /** Called at each call of `write()` and `replay()`. */
  onWrite: () => void = () => {};

  constructor(override readonly encoder: RecordingEncoder) {
    super();
  }

  /** The ids in the written frames, one string for each frame. */
  get writes(): string[] {
    return this.frames.map(({ ids }) => ids.join(" "));
  }

  override write(frame: RecordedFrame): void {
    this.frames.push(frame);
    this.onWrite();
  }

  override writeLatest(_room: string, { ids }: RecordedFrame): number {
    this.latest.push(...ids);
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
