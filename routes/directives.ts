/**
 * Serves `POST /rooms/{room}/join`, `POST /rooms/{room}/leave` and `POST /disconnect`, by which backends put clients
 * into rooms, take them out, and disconnect them.
 *
 * @module
 */
import type { Context } from "hono";
import type * as v from "valibot";
import type { Director } from "../lib/directives/director.ts";
import type { DirectiveRequest, Target } from "../lib/directives/directives.ts";
import { parseRoom } from "../lib/log/message.ts";
import type { Observe } from "../lib/observer.ts";
import {
  type Disconnected,
  TARGET_FIELDS,
  type TargetBody,
} from "./api/directives.ts";
import type { BodyBudget, Expected } from "./body.ts";
import type { Env, Handler } from "./exchange.ts";
import { readJsonFields } from "./json_body.ts";

/** Options of the routes for directives. */
export interface DirectivesOptions {
  readonly director: Pick<Director, "direct">;
  readonly bodies: BodyBudget;
  readonly observe: Observe;
}

/** Maximum size of a body, in bytes. */
const BODY_BYTES_MAX = 4096;

/**
 * Creates the handler of `POST /rooms/{room}/join` or `POST /rooms/{room}/leave`. It responds with the room, the user or
 * client, and the number of clients that this node has joined to the room or removed from it. Clients of other nodes
 * follow.
 */
export function assign(
  kind: "join" | "leave",
  options: DirectivesOptions,
): Handler {
  return async function assign(c) {
    const room = parseRoom(c.req.param("room"));
    return await direct(c, { kind, room }, options);
  };
}

/**
 * Creates the handler of `POST /disconnect`. It responds with the user or client, and the number of clients that this
 * node has disconnected.
 */
export function disconnect(options: DirectivesOptions): Handler {
  return async function disconnect(c) {
    return await direct(c, { kind: "disconnect", room: "" }, options);
  };
}

/** Reads the user or client from the body, and responds once the directive is stored. */
async function direct(
  c: Context<Env>,
  { kind, room }: Omit<DirectiveRequest, "target">,
  { director, bodies, observe }: DirectivesOptions,
): Promise<Response> {
  const expected: Expected = {
    verb: kind,
    example: '{"user":"ann"} or {"client":"…"}',
  };
  return await bodies.withBody(c, BODY_BYTES_MAX, async (body) => {
    const target = toTarget(readJsonFields(c, body, expected, TARGET_FIELDS));
    const clients = await director.direct({ kind, target, room });
    const { key } = c.get("principal");
    observe({ kind: "directed", directive: kind, key });
    const done: v.InferOutput<typeof Disconnected> = {
      [target.by]: target.name,
      clients,
    };
    return c.json(kind === "disconnect" ? done : { room, ...done });
  }, expected);
}

/** Returns the clients that a request names. */
function toTarget({ user, client }: v.InferOutput<typeof TargetBody>): Target {
  // The schema refuses a body that has neither or both.
  return user === undefined
    ? { by: "client", name: client ?? "" }
    : { by: "user", name: user };
}
