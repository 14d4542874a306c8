/** Asks a running node for every action with every kind of credential, for the table test of access. */
import { Buffer } from "node:buffer";
import { createPublicKey } from "node:crypto";
import { SignJWT } from "jose";
import { Subscriber } from "./client.ts";
import { EventStream } from "./event_stream.ts";
import type { Reply, TestNode } from "./node.ts";
import {
  forgeToken,
  inSeconds,
  makeToken,
  SECRET,
  type SigningKey,
} from "./tokens.ts";
import { soon, until } from "./wait.ts";

/** The kinds of rooms: each credential has a room of each kind. */
export const KINDS = ["in", "out", "lookAlike", "proto", "star"] as const;
export type Kind = (typeof KINDS)[number];

/** What is asked for. `http` is the port for clients, `internal` the one for backends. */
export const VERBS = [
  "connect",
  "join",
  "replay at connect",
  "resume",
  "publish by socket",
  "stream",
  "stream, internal",
  "history",
  "history, internal",
  "publish, http",
  "publish, internal",
  "batch, internal",
  "delete history, http",
  "delete history, internal",
  "metrics, http",
  "metrics, internal",
  "room, http",
  "room, internal",
  "join from the server, http",
  "join from the server, internal",
  "leave from the server, internal",
  "disconnect, http",
  "disconnect, internal",
  "nodes, internal",
] as const;
export type Verb = (typeof VERBS)[number];

/** A credential, and what it stands for. */
export interface Credential {
  readonly name: string;
  /** `auth.token` of a client, and the bearer of a request; undefined if nothing is sent. */
  readonly secret: string | undefined;
  /** A room token, which the client sends with each room. */
  readonly roomToken?: string;
  /**
   * `none`: nothing is sent. `bad`: not accepted as a token. `client`: a valid token. `key`: a publish key.
   */
  readonly is: "none" | "bad" | "client" | "key";
  /** The user of the token. */
  readonly user?: string;
  /** A room in which the credential has its rights, and one whose name is almost the same. */
  readonly in: string;
  readonly lookAlike: string;
  /** What it may do in the room `in`. */
  readonly may: readonly ("sub" | "history" | "pub")[];
  /** Whether it may do this in all rooms. */
  readonly everywhere?: boolean;
}

export const ISSUER = "https://issuer.example/";
export const AUDIENCE = "chat";
export const KEY_SECRET = "correct-horse-battery";
export const LIMITED_SECRET = "staple-of-one-room";
const VALID = { iss: ISSUER, aud: AUDIENCE, sub: "ann", team: "*" };
const ALLOW = ["sub", "history", "pub"] as const;
const NEWS = { in: "news.a", lookAlike: "newsx" };

/** The settings of the node that is asked. */
export function settingsFor(jwksUrl: string): Record<string, string> {
  return {
    INTERNAL_PORT: "0",
    PUBLISH_KEYS: `all:${KEY_SECRET},some:${LIMITED_SECRET}`,
    PUBLISH_KEY_ROOMS: "some=news.*|chat",
    TOKEN_SECRET: SECRET,
    TOKEN_JWKS_URL: jwksUrl,
    TOKEN_ISSUER: ISSUER,
    TOKEN_AUDIENCE: AUDIENCE,
    TOKEN_ROOMS: "user.{sub}=sub+history+pub, group.{team}=sub+history",
    PUBLIC_ROOMS: "lobby",
  };
}

/** Returns the room of a kind for a credential. The claim `team` of all tokens is `*`. */
export function roomOf(credential: Credential, kind: Kind): string {
  switch (kind) {
    case "in":
    case "lookAlike":
      return credential[kind];
    case "out":
      return "secret";
    case "proto":
      return "__proto__";
    case "star":
      return "group.x";
  }
}

/** The claims that allow everything in the rooms of {@linkcode NEWS}. */
function caps(
  rooms: readonly string[] = ["news.*", "chat"],
  allow: readonly string[] = ALLOW,
): { caps: unknown[] } {
  return { caps: [{ rooms, allow }] };
}

/** Makes all credentials. `key` is in the key set of the node, and `unknown` is not. */
export async function makeCredentials(
  key: SigningKey,
  unknown: SigningKey,
): Promise<Credential[]> {
  const right = { ...VALID, ...caps() };
  const valid = await key.sign(right);
  const pem = createPublicKey({ key: key.jwk as never, format: "jwk" })
    .export({ type: "spki", format: "pem" });
  const withPublicKey = (secret: string) =>
    new SignJWT({ ...right, exp: inSeconds(3600) })
      .setProtectedHeader({ alg: "HS256", kid: "k1" })
      .sign(Buffer.from(secret));
  const bad = (name: string, secret: string): Credential => ({
    name,
    secret,
    is: "bad",
    ...NEWS,
    may: [],
  });
  const client = (
    name: string,
    secret: string,
    facts: Partial<Credential> = {},
  ): Credential => ({
    name,
    secret,
    is: "client",
    user: "ann",
    ...NEWS,
    may: ALLOW,
    ...facts,
  });
  const flipped = valid.slice(0, -2) + (valid.endsWith("AA") ? "BB" : "AA");
  return [
    { name: "none", secret: undefined, is: "none", ...NEWS, may: [] },
    {
      name: "by public room",
      secret: undefined,
      is: "none",
      in: "lobby",
      lookAlike: "lobby2",
      may: ["sub"],
    },
    bad("wrong: no token", "no-token-at-all"),
    bad("wrong: three parts", "no.token.here"),
    bad("wrong: another signature", flipped),
    bad(
      "wrong: another secret",
      await makeToken(right, { secret: "x".repeat(32) }),
    ),
    bad("expired", await key.sign({ ...right, exp: inSeconds(-60) })),
    bad("not valid yet", await key.sign({ ...right, nbf: inSeconds(60) })),
    bad(
      "other issuer",
      await key.sign({ ...right, iss: "https://x.example/" }),
    ),
    bad("other audience", await key.sign({ ...right, aud: "shop" })),
    bad(
      "alg: none",
      forgeToken({ alg: "none" }, { ...right, exp: inSeconds(3600) }, ""),
    ),
    bad("alg: none, with a signature", forgeToken({ alg: "none" }, right)),
    bad("HS with the public key", await withPublicKey(String(pem))),
    bad(
      "HS with the key of the set",
      await withPublicKey(JSON.stringify(key.jwk)),
    ),
    bad("unknown kid", await unknown.sign(right)),
    bad("revoked by its id", await key.sign({ ...right, jti: "revoked" })),
    bad(
      "revoked by its user",
      await key.sign({ ...right, sub: "eve", iat: inSeconds(-60) }),
    ),
    client(
      "right without the capability",
      await key.sign({ ...VALID, ...caps(["news.*"], ["presence"]) }),
      { may: [] },
    ),
    client(
      "right to the history only",
      await key.sign({ ...VALID, ...caps(["news.*"], ["history"]) }),
      { may: ["history"] },
    ),
    client(
      "right to join only",
      await makeToken({ ...VALID, ...caps(["news.*"], ["sub"]) }),
      { may: ["sub"] },
    ),
    client("right, by a pattern", valid),
    client("right, by a name", valid, { in: "chat", lookAlike: "chat2" }),
    client("right, by a shared secret", await makeToken(right)),
    client("right, of another user", await key.sign({ ...right, sub: "bob" }), {
      user: "bob",
    }),
    client("right, everywhere", await key.sign({ ...VALID, ...caps(["*"]) }), {
      everywhere: true,
    }),
    client("by template", await key.sign(VALID), {
      in: "user.ann",
      lookAlike: "user.anna",
    }),
    client("by room token", await key.sign(VALID), {
      in: "order.7",
      lookAlike: "order.77",
      roomToken: await key.sign({ ...VALID, ...caps(["order.7"], ["sub"]) }),
      may: ["sub"],
    }),
    client("by room token, to publish", await key.sign(VALID), {
      in: "order.8",
      lookAlike: "order.88",
      roomToken: await key.sign({
        ...VALID,
        ...caps(["order.8"], ["sub", "pub"]),
      }),
      may: ["sub", "pub"],
    }),
    client(
      "right to publish only",
      await makeToken({ ...VALID, ...caps(["news.*"], ["pub"]) }),
      { may: ["pub"] },
    ),
    {
      name: "publish key",
      secret: KEY_SECRET,
      is: "key",
      ...NEWS,
      may: ALLOW,
      everywhere: true,
    },
    {
      name: "publish key of some rooms",
      secret: LIMITED_SECRET,
      is: "key",
      ...NEWS,
      may: ALLOW,
    },
  ];
}

/** Returns the answers of the node by `<verb> <kind>`, each `ok` or a code. */
export type Answers = Map<string, string>;

/** A client, and the rooms of which the server has said `left`. */
interface Connected {
  readonly client: Subscriber;
  readonly left: string[];
}

/** Asks a node for everything with one credential at a time. */
export class Asker implements AsyncDisposable {
  readonly #node: TestNode;
  /** The token of the user `ann` that allows everything. */
  readonly #owner: string;
  /** The id of a message that was published before all others. */
  readonly #since: string;
  readonly #clients: Subscriber[] = [];
  /** The connected clients by their credentials. They are in the rooms that they may join. */
  readonly joined = new Map<Credential, Subscriber>();

  constructor(node: TestNode, owner: string, since: string) {
    this.#node = node;
    this.#owner = owner;
    this.#since = since;
  }

  /** Asks for every verb and every kind of room, and puts the answers into `answers`. */
  async ask(credential: Credential, answers: Answers): Promise<void> {
    await Promise.all([
      this.#askSocket(credential, answers),
      this.#askResume(credential, answers),
      ...KINDS.flatMap((kind) => [
        this.#askReplay(credential, kind, answers),
        this.#askHttp(credential, kind, answers),
      ]),
    ]);
  }

  /** Asks to delete histories, which has to come last. */
  async askDelete(credential: Credential, answers: Answers): Promise<void> {
    for (const kind of KINDS) {
      const path = pathOf(roomOf(credential, kind));
      for (const port of ["http", "internal"] as const) {
        const reply = await this.#request(credential, port, path, "DELETE");
        answers.set(`delete history, ${port} ${kind}`, codeOf(reply));
      }
    }
  }

  /** Connects, asks to join each room, and publishes over the socket. */
  async #askSocket(credential: Credential, answers: Answers): Promise<void> {
    const { connected, code } = await this.#connect(credential, []);
    for (const kind of KINDS) {
      answers.set(`connect ${kind}`, code);
      answers.set(`join ${kind}`, code);
      answers.set(`publish by socket ${kind}`, code);
    }
    if (connected === undefined) return;
    const { client } = connected;
    for (const kind of KINDS) {
      const room = roomOf(credential, kind);
      const [joined] = await client.ask("join", {
        ...request(credential, room),
        since: this.#since,
      });
      const replayed = joined.messages?.some(isOld(room)) === true;
      answers.set(
        `join ${kind}`,
        joined.ok ? (replayed ? "ok" : "empty") : joined.error.code,
      );
      const [published] = await client.ask("publish", { room, message: "x" });
      answers.set(
        `publish by socket ${kind}`,
        published.ok ? "ok" : published.error.code,
      );
    }
    this.joined.set(credential, client);
  }

  /** Connects and asks for the history of the room. */
  async #askReplay(
    credential: Credential,
    kind: Kind,
    answers: Answers,
  ): Promise<void> {
    const room = roomOf(credential, kind);
    const asked = { ...request(credential, room), since: this.#since };
    const { connected, code } = await this.#connect(credential, [asked]);
    const replayed = connected?.client.messages.items.some(isOld(room));
    answers.set(
      `replay at connect ${kind}`,
      connected === undefined ? code : replayed ? "ok" : "empty",
    );
    await connected?.client[Symbol.asyncDispose]();
  }

  /** Takes over the session of `ann`, who is in all rooms. The answer is `left` if the server says so. */
  async #askResume(credential: Credential, answers: Answers): Promise<void> {
    const owner: Credential = { ...credential, secret: this.#owner };
    const all = KINDS.map((kind) => {
      const isIn = kind === "in";
      const room = roomOf(credential, kind);
      return isIn ? request(credential, room) : { room };
    });
    const { connected: ann } = await this.#connect(owner, all);
    if (ann === undefined) throw new Error("The owner cannot connect");
    const { _pid: pid } = ann.client.socket as unknown as { _pid: string };
    ann.client.socket.io.engine.close();
    ann.client.socket.disconnect();
    const { connected, code } = await this.#connect(credential, [], { pid });
    const rooms = connected?.client.joined.items.map(({ room }) => room);
    for (const kind of KINDS) {
      const room = roomOf(credential, kind);
      answers.set(
        `resume ${kind}`,
        rooms === undefined
          ? code
          : rooms.includes(room)
          ? "ok"
          : connected?.left.includes(room)
          ? "left"
          : "none",
      );
    }
    await connected?.client[Symbol.asyncDispose]();
  }

  async #askHttp(
    credential: Credential,
    kind: Kind,
    answers: Answers,
  ): Promise<void> {
    const room = roomOf(credential, kind);
    const set = (verb: Verb, code: string) =>
      void answers.set(`${verb} ${kind}`, code);
    const ask = async (
      port: "http" | "internal",
      path: string,
      body?: unknown,
    ) =>
      codeOf(
        await this.#request(
          credential,
          port,
          path,
          body === undefined ? "GET" : "POST",
          body,
        ),
        room,
      );
    const message = `from ${credential.name}`;
    set("stream", await this.#askStream(credential, room, this.#node.url));
    set(
      "stream, internal",
      await this.#askStream(credential, room, this.#node.internalUrl),
    );
    set("history", await ask("http", pathOf(room)));
    set("history, internal", await ask("internal", pathOf(room)));
    const one = { room, message };
    set("publish, http", await ask("http", "/publish", one));
    set("publish, internal", await ask("internal", "/publish", one));
    const batch = { messages: [one, one] };
    set("batch, internal", await ask("internal", "/publish/batch", batch));
    set("metrics, http", await ask("http", "/metrics"));
    set("metrics, internal", await ask("internal", "/metrics"));
    const here = `/rooms/${encodeURIComponent(room)}`;
    set("room, http", await ask("http", here));
    set("room, internal", await ask("internal", here));
    const nobody = { client: "x".repeat(16) };
    const join = `${here}/join`;
    set("join from the server, http", await ask("http", join, nobody));
    set("join from the server, internal", await ask("internal", join, nobody));
    set(
      "leave from the server, internal",
      await ask("internal", `${here}/leave`, nobody),
    );
    set("disconnect, http", await ask("http", "/disconnect", nobody));
    set("disconnect, internal", await ask("internal", "/disconnect", nobody));
    set("nodes, internal", await ask("internal", "/nodes"));
  }

  /** Opens a stream of the room, which has to replay the room's first message. */
  async #askStream(
    { secret }: Credential,
    room: string,
    url: string,
  ): Promise<string> {
    const path = `/rooms/${encodeURIComponent(room)}/events`;
    await using stream = await EventStream.open(url + path, {
      headers: secret === undefined
        ? {}
        : { authorization: `Bearer ${secret}` },
      lastEventId: this.#since,
    });
    const { status } = stream.response;
    if (status !== 200) {
      await stream.ended();
      return stream.error === undefined ? stream.code : String(stream.error);
    }
    await until(
      "the stream has begun",
      () => stream.parser.retryMs !== undefined,
    );
    return stream.messages.includes(`old ${room}`) ? "ok" : "empty";
  }

  async #request(
    { secret }: Credential,
    port: "http" | "internal",
    path: string,
    method: string,
    body?: unknown,
  ): Promise<Reply> {
    const base = port === "http" ? this.#node.url : this.#node.internalUrl;
    return await this.#node.request(base + path, {
      method,
      headers: {
        ...secret !== undefined && { authorization: `Bearer ${secret}` },
        ...body !== undefined && { "content-type": "application/json" },
      },
      ...body !== undefined && { body: JSON.stringify(body) },
    });
  }

  /** Connects a client and waits until it has everything that it is sent at connect, or for the code of the refusal. */
  async #connect(
    { secret }: Credential,
    rooms: readonly unknown[],
    fields: Record<string, unknown> = {},
  ): Promise<{ connected?: Connected; code: string }> {
    const token = secret === undefined ? {} : { token: secret };
    const client = new Subscriber(this.#node.url, {
      transports: ["websocket"],
      reconnection: false,
      auth: { ...token, ...fields, rooms },
    });
    this.#clients.push(client);
    const left: string[] = [];
    client.socket.on("left", ({ room }) => void left.push(room));
    await client.settled();
    const [error] = client.errors.items;
    if (error !== undefined) {
      return { code: error.data?.code ?? `closed: ${error.message}` };
    }
    // All that the server sends at connect has arrived before the answer to the first request.
    await client.ask("leave", { room: "no-such-room" });
    return { connected: { client, left }, code: "ok" };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) {
      await soon(client[Symbol.asyncDispose](), "the client is closed");
    }
  }
}

function request({ roomToken }: Credential, room: string): { room: string } {
  return { room, ...roomToken !== undefined && { token: roomToken } };
}

/** Returns whether a message is the one that was published in the room before all else. */
function isOld(room: string): (received: { message: unknown }) => boolean {
  return ({ message }) => message === `old ${room}`;
}

function pathOf(room: string): string {
  return `/rooms/${encodeURIComponent(room)}/history`;
}

/** Returns the code of a response, or `ok`; `empty` if it is a history without the first message of `room`. */
function codeOf({ status, body }: Reply, room?: string): string {
  if (status >= 400) return String(body.error?.code);
  const failed = body.results?.find(({ error }: { error?: unknown }) => error);
  if (failed !== undefined) return String(failed.error.code);
  const isEmpty = room !== undefined && body.messages !== undefined &&
    !body.messages.some(isOld(room));
  return isEmpty ? "empty" : "ok";
}
