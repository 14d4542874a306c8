/** The clients of hooks in the table test of access, and the backend that decides about them. */
import type { ServerResponse } from "node:http";
import type { Credential } from "./access_matrix.ts";
import { type HookCall, json, result } from "./hook_backend.ts";

const NEWS = { in: "news.a", lookAlike: "newsx" };

/** What the connect hook says about a client, by the text that it sends as its token. */
const VERDICTS: Readonly<Record<string, unknown>> = {
  caps: { user: "ann", caps: [{ rooms: ["news.*"], allow: ["sub"] }] },
  nothing: { user: "ann", caps: [{ rooms: ["news.*"], allow: ["presence"] }] },
  guest: { user: null },
  publisher: {
    user: "ann",
    caps: [{ rooms: ["news.*"], allow: ["sub", "pub"] }],
  },
  everywhere: { user: "ann", caps: [{ rooms: ["*"], allow: ["sub"] }] },
};

/** What the join hook allows, by the text that a client sends as its room token. */
const ORDERS: Readonly<Record<string, { room: string; allow: string[] }>> = {
  order: { room: "order.7", allow: ["sub"] },
  "order to publish": { room: "order.8", allow: ["sub", "pub"] },
};

/**
 * Decides about a call of a hook. The join hook allows one room to clients that send its word, and the publish hook
 * passes everything.
 */
export function answerHook(
  call: HookCall,
  response: ServerResponse,
): void | Promise<void> {
  const { token, room } = call.body;
  const answer = call.path === "/publish"
    ? {}
    : call.path === "/join"
    ? Object.hasOwn(ORDERS, token ?? "") && ORDERS[token]?.room === room &&
      { allow: ORDERS[token]?.allow }
    : Object.hasOwn(VERDICTS, token ?? "") && VERDICTS[token];
  const refusal = { error: { code: "forbidden", message: "members only" } };
  return (answer ? result(answer) : json(refusal))(call, response);
}

function client(
  name: string,
  secret: string,
  facts: Partial<Credential> = {},
): Credential {
  return { name, secret, is: "client", ...NEWS, may: ["sub"], ...facts };
}

/** The clients about which the hooks decide. */
export const HOOK_CREDENTIALS: readonly Credential[] = [
  client("by connect hook", "caps"),
  client("by connect hook, without the capability", "nothing", { may: [] }),
  client("by connect hook, everywhere", "everywhere", { everywhere: true }),
  client("by connect hook, by template", "caps", {
    in: "user.ann",
    lookAlike: "user.anna",
  }),
  client("by connect hook, in a public room", "guest", {
    in: "lobby",
    lookAlike: "lobby2",
  }),
  client("by join hook", "guest", {
    in: "order.7",
    lookAlike: "order.77",
    roomToken: "order",
  }),
  client("by connect hook, to publish", "publisher", { may: ["sub", "pub"] }),
  client("by join hook, to publish", "guest", {
    in: "order.8",
    lookAlike: "order.88",
    roomToken: "order to publish",
    may: ["sub", "pub"],
  }),
  { name: "refused", secret: "x", is: "bad", ...NEWS, may: [] },
  { name: "no token", secret: undefined, is: "none", ...NEWS, may: [] },
];
