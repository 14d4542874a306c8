/**
 * The form of cluster commands in the log and on Redis channels: an event of the adapter's `serverSideEmit`, with its
 * arguments. It must not change, because nodes of other versions read it.
 *
 * @module
 */
import type { ClusterCommand, CommandOf } from "../cluster/cluster.ts";

type Kind = ClusterCommand["kind"];

/** The form of the commands of one kind. */
interface WireForm<K extends Kind> {
  /** The name of the event. */
  readonly event: string;
  /** Returns the arguments of the event. */
  format(command: CommandOf<K>): readonly unknown[];
  /** Reads the arguments of the event. Returns undefined if they are not those of a command. */
  parse(args: readonly unknown[]): CommandOf<K> | undefined;
}

const WIRE_FORMS: { readonly [K in Kind]: WireForm<K> } = {
  session_resumed: {
    event: "taken_over",
    format: ({ digest, generation }) => [digest, generation],
    parse: ([digest, generation]) =>
      typeof digest === "string" && typeof generation === "number"
        ? { kind: "session_resumed", digest, generation }
        : undefined,
  },
  revoked: {
    event: "revoked",
    format: () => [],
    parse: () => ({ kind: "revoked" }),
  },
  directed: {
    event: "directed",
    format: () => [],
    parse: () => ({ kind: "directed" }),
  },
};

/** The events that a node of Roomcast accepts from other nodes. */
export const CLUSTER_EVENTS: readonly string[] = Object.values(WIRE_FORMS).map(
  ({ event }) => event,
);

/** Returns the event of a command and its arguments. */
export function formatCommand(
  command: ClusterCommand,
): readonly [event: string, ...args: unknown[]] {
  const { event, format } = WIRE_FORMS[command.kind] as WireForm<Kind>;
  return [event, ...format(command)];
}

/** Reads a command from its event. Returns undefined if the event is not a command, or has other arguments. */
export function parseCommand(
  event: string,
  args: readonly unknown[],
): ClusterCommand | undefined {
  return Object.values(WIRE_FORMS).find((form) => form.event === event)
    ?.parse(args);
}
