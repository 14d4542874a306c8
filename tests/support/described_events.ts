/** Checks that what clients receive is as the schemas of the events describe it. */
import assert from "node:assert/strict";
import * as v from "valibot";
import { TO_CLIENT, TO_SERVER } from "../../lib/socket_events/events.ts";

/** Checks the arguments of an event that a client has received. A name that is not Roomcast's is that of a message. */
export function checkEvent(event: string, args: readonly unknown[]): void {
  const { args: schema } = event in TO_CLIENT
    ? TO_CLIENT[event as keyof typeof TO_CLIENT]
    : TO_CLIENT.msgReceived;
  check(event, schema, args);
}

/** Checks the arguments of the acknowledgement of an event that a client has sent. */
export function checkAnswer(event: string, args: readonly unknown[]): void {
  // Any other event is refused, as this one can be.
  const { answer } = TO_SERVER[event as keyof typeof TO_SERVER] ??
    TO_SERVER.leave;
  check(`the answer to ${event}`, v.strictTuple([answer]), args);
}

function check(
  what: string,
  schema: v.GenericSchema,
  args: readonly unknown[],
): void {
  const { issues = [] } = v.safeParse(schema, args);
  assert.deepEqual(
    issues.map((issue) => `${v.getDotPath(issue)}: ${issue.message}`),
    [],
    `${what} is not as lib/socket_events/events.ts describes it: ${
      JSON.stringify(args)
    }`,
  );
}
