/** What one case of the fuzzer does. */

/**
 * One step of a case: it sends bytes, or waits until the bytes received contain a text. A wait ends early if the
 * connection is closed or the node refuses, and after a second.
 */
export type Step =
  | {
    /** Bytes, see `values.ts`. `{sid}` is replaced with the Engine.IO id that the node has sent. */
    readonly send: string;
    /** The TCP connection of the case on which to send; the first one by default. */
    readonly on?: number;
  }
  | { readonly until: string };

/** One case: a client that connects, does some steps, and ends. */
export interface Case {
  readonly steps: readonly Step[];
  /**
   * How the client ends: it closes its half and reads the rest (`end`), closes the connection at once (`destroy`), or
   * waits a moment for an answer before (`wait`).
   */
  readonly ending: "end" | "destroy" | "wait";
  /** Whether the node must refuse: nothing that it sends may match {@linkcode ACCEPTED}. */
  readonly refused?: boolean;
}

/** A response or packet by which a node accepts something. */
export const ACCEPTED = /HTTP\/1\.1 2\d\d|40\{"sid"/;
