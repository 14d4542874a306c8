/** Checks that what clients receive is as the schemas of the events describe it. */
import assert from "node:assert/strict";
import * as v from "valibot";
import { TO_CLIENT, TO_SERVER } from "../../lib/socket_events/events.ts";

/**
 * Checks the arguments of an event that a client has received. Messages may have any other event name than those of
 * Roomcast's own events, so an unknown name is checked as a message.
 */
export function checkEvent(event: string, args: readonly unknown[]): void {
  const { args: schema } = own(TO_CLIENT, event) ?? TO_CLIENT.msgReceived;
  check(event, schema, args);
}

/** Checks the arguments of the acknowledgement of an event that a client has sent. */
export function checkAnswer(event: string, args: readonly unknown[]): void {
  // Any other event is refused, as this one can be.
  const { answer } = own(TO_SERVER, event) ?? TO_SERVER.leave;
  check(`the answer to ${event}`, v.strictTuple([answer]), args);
}

/** Returns a member of an object; undefined for names such as `constructor`, which every object inherits. */
function own<T extends object>(
  object: T,
  name: string,
): T[keyof T] | undefined {
  return Object.hasOwn(object, name) ? object[name as keyof T] : undefined;
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
