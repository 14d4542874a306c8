/**
 * The messages of the bridge's control channel. `scripts.ts` publishes them.
 *
 * @module
 */
import type { BridgePosition } from "./received_window.ts";

/** A message of the control channel. */
export type ControlMessage =
  /** `sign <node> <number>`: a heartbeat of a node. */
  | {
    readonly kind: "heartbeat";
    readonly node: string;
    readonly number: number;
  }
  /** `marker <name>`: a marker, as in {@linkcode BridgePosition}. */
  | { readonly kind: "marker"; readonly marker: string }
  /** `at <marker> <number> <channel group> <node>`: the log now has all items up to this position; `writer` moved it. */
  | {
    readonly kind: "position";
    readonly position: BridgePosition;
    readonly writer: string;
  };

/** Reads a message of the control channel. Returns undefined if it has another form. */
export function parseControl(payload: string): ControlMessage | undefined {
  const [kind, first = "", second = "", third = "", fourth = ""] = payload
    .split(" ");
  const number = Number(second);
  switch (kind) {
    case "sign":
      return { kind: "heartbeat", node: first, number };
    case "marker":
      return { kind: "marker", marker: first };
    case "at":
      return Number.isSafeInteger(number)
        ? {
          kind: "position",
          position: { marker: first, number, channelGroup: third },
          writer: fourth,
        }
        : undefined;
  }
}
