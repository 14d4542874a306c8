/** Every credential, for every action, in every kind of room: nobody gets more than intended, and nobody less. */
import assert from "node:assert/strict";
import {
  type Answers,
  Asker,
  AUDIENCE,
  type Credential,
  ISSUER,
  KEY_SECRET,
  type Kind,
  KINDS,
  makeCredentials,
  roomOf,
  settingsFor,
  type Verb,
  VERBS,
} from "../support/access_matrix.ts";
import {
  answerHook,
  HOOK_CREDENTIALS,
} from "../support/access_matrix_hooks.ts";
import { HookBackend } from "../support/hook_backend.ts";
import { TestNode } from "../support/node.ts";
import { KeyServer, makeSigningKey } from "../support/tokens.ts";

/** Returns whether the credential has a right in the room: those that it has in its own room, or everywhere. */
function has(
  { may, everywhere = false }: Credential,
  right: Credential["may"][number],
  kind: Kind,
): boolean {
  return may.includes(right) && (everywhere || kind === "in");
}

/** The intended answer of each cell. */
function intended(credential: Credential, verb: Verb, kind: Kind): string {
  const { is } = credential;
  // A publish key is for backends. Clients and readers with one are refused like those with a wrong token.
  const connects = is === "none" || is === "client";
  switch (verb) {
    case "connect":
      return connects ? "ok" : "unauthorized";
    case "join":
    case "replay at connect":
      if (!connects) return "unauthorized";
      if (has(credential, "sub", kind)) return "ok";
      return is === "none" ? "unauthorized" : "forbidden";
    case "resume":
      if (!connects) return "unauthorized";
      // The session belongs to ann. For everyone else it does not exist.
      if (credential.user !== "ann") return "none";
      return has(credential, "sub", kind) ? "ok" : "left";
    case "publish by socket":
      if (is !== "client") return "unauthorized";
      return has(credential, "pub", kind) ? "ok" : "forbidden";
    case "stream":
    case "stream, internal": {
      const byRoomToken = credential.roomToken !== undefined;
      const isKey = is === "key" && verb === "stream, internal";
      if (!connects && !isKey) return "unauthorized";
      if (has(credential, "sub", kind) && !byRoomToken) return "ok";
      return is === "none" ? "unauthorized" : "forbidden";
    }
    case "history":
      if (is !== "client") return "unauthorized";
      return has(credential, "history", kind) ? "ok" : "forbidden";
    case "history, internal":
      if (is !== "client" && is !== "key") return "unauthorized";
      return has(credential, "history", kind) ? "ok" : "forbidden";
    case "publish, internal":
    case "batch, internal":
    case "delete history, internal":
    case "room, internal":
    case "join from the server, internal":
    case "leave from the server, internal":
      // Over HTTP, a token only reads.
      if (is === "client") return "forbidden";
      if (is !== "key") return "unauthorized";
      return has(credential, "pub", kind) ? "ok" : "forbidden";
    case "disconnect, internal":
    case "nodes, internal":
      // These concern all rooms.
      if (is === "client") return "forbidden";
      if (is !== "key") return "unauthorized";
      return credential.everywhere ? "ok" : "forbidden";
    case "publish, http":
    case "delete history, http":
    case "metrics, http":
    case "room, http":
    case "join from the server, http":
    case "disconnect, http":
      return "not_found";
    case "metrics, internal":
      return "ok";
  }
}

/** The intended answer of each cell for clients about which hooks decide. Roomcast does not verify their tokens. */
function intendedByHook(
  credential: Credential,
  verb: Verb,
  kind: Kind,
): string {
  switch (verb) {
    case "connect":
      return credential.is === "client" ? "ok" : "forbidden";
    case "join":
    case "replay at connect":
      return has(credential, "sub", kind) ? "ok" : "forbidden";
    case "resume":
      // The session has kept what the hook has said about ann, so the hook is not asked.
      return "ok";
    case "publish by socket":
      return has(credential, "pub", kind) ? "ok" : "forbidden";
    case "stream":
    case "stream, internal": {
      // A stream has no room tokens, and the join hook allows the room only with one.
      const byJoinHook = credential.roomToken !== undefined;
      return has(credential, "sub", kind) && !byJoinHook ? "ok" : "forbidden";
    }
    case "history":
    case "history, internal":
    case "publish, internal":
    case "batch, internal":
    case "delete history, internal":
    case "room, internal":
    case "join from the server, internal":
    case "leave from the server, internal":
    case "disconnect, internal":
    case "nodes, internal":
      return "unauthorized";
    case "publish, http":
    case "delete history, http":
    case "metrics, http":
    case "room, http":
    case "join from the server, http":
    case "disconnect, http":
      return "not_found";
    case "metrics, internal":
      return "ok";
  }
}

Deno.test("every credential is answered as intended, for every action, in every kind of room", async () => {
  const key = await makeSigningKey("k1");
  await using keys = await KeyServer.start([key.jwk]);
  await using node = await TestNode.start(settingsFor(keys.url));
  const credentials = await makeCredentials(key, await makeSigningKey("k2"));
  const owner = await key.sign({
    iss: ISSUER,
    aud: AUDIENCE,
    sub: "ann",
    caps: [{ rooms: ["*"], allow: ["sub"] }],
  });
  await checkTable({ node, credentials, owner, intended });
});

Deno.test("every client of hooks is answered as intended, for every action, in every kind of room", async () => {
  await using backend = await HookBackend.start(answerHook);
  await using node = await TestNode.start({
    INTERNAL_PORT: "0",
    PUBLISH_KEYS: `all:${KEY_SECRET}`,
    CONNECT_HOOK_URL: backend.url("/connect"),
    JOIN_HOOK_URL: backend.url("/join"),
    PUBLISH_HOOK_URL: backend.url("/publish"),
    HOOK_TIMEOUT_MS: "10000",
    TOKEN_ROOMS: "user.{sub}=sub",
    PUBLIC_ROOMS: "lobby",
  });
  await checkTable({
    node,
    credentials: HOOK_CREDENTIALS,
    owner: "everywhere",
    intended: intendedByHook,
  });
});

/** A node to ask, and what it should answer. */
interface Table {
  readonly node: TestNode;
  readonly credentials: readonly Credential[];
  /** The token of a client that may be in all rooms. */
  readonly owner: string;
  readonly intended: typeof intended;
}

/** Asks a node for everything with all credentials, and compares the answers with the intended ones. */
async function checkTable(
  { node, credentials, owner, intended }: Table,
): Promise<void> {
  const asBackend = { authorization: `Bearer ${KEY_SECRET}` };
  const post = async (path: string, body: unknown) => {
    const url = node.internalUrl + path;
    const reply = await node.post(url, body, asBackend);
    assert.equal(reply.status, 200, reply.text);
    return reply.body;
  };
  const rooms = new Set(
    credentials.flatMap((credential) =>
      KINDS.map((kind) => roomOf(credential, kind))
    ),
  );
  const first = await post("/publish", { room: "first", message: "first" });
  for (const room of rooms) {
    await post("/publish", { room, message: `old ${room}` });
  }
  await post("/revoke", { jti: "revoked" });
  await post("/revoke", { user: "eve" });

  await using asker = new Asker(node, owner, first.id);
  const tables = new Map<Credential, Answers>();
  for (const credential of credentials) {
    const answers: Answers = new Map();
    tables.set(credential, answers);
    await asker.ask(credential, answers);
  }
  // What is published now reaches exactly the clients that may be in the room.
  for (const room of rooms) {
    await post("/publish", { room, message: `new ${room}` });
  }
  const wrong: string[] = [];
  for (const [credential, client] of asker.joined) {
    await client.ask("leave", { room: "no-such-room" });
    for (const kind of KINDS) {
      const room = roomOf(credential, kind);
      const received = client.messages.items.some(({ message }) =>
        message === `new ${room}`
      );
      if (received === has(credential, "sub", kind)) continue;
      wrong.push(`${credential.name}, live, ${kind}: ${received}`);
    }
  }
  let cells = 0;
  for (const [credential, answers] of tables) {
    await asker.askDelete(credential, answers);
    for (const verb of VERBS) {
      for (const kind of KINDS) {
        cells++;
        const answer = answers.get(`${verb} ${kind}`) ?? "not asked";
        const right = intended(credential, verb, kind);
        if (answer === right) continue;
        wrong.push(
          `${credential.name}, ${verb}, ${kind}: ${answer}, not ${right}`,
        );
      }
    }
  }
  assert.deepEqual(wrong, []);
  assert.equal(cells, credentials.length * VERBS.length * KINDS.length);
}
