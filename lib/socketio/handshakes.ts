/**
 * The handshakes of Socket.IO's clients: admits or rejects a client that has sent a CONNECT packet, before Socket.IO
 * connects its socket.
 *
 * @module
 */
import type { Socket } from "socket.io";
import type { Access } from "../access/access.ts";
import type { ReadTokenCookie } from "../access/token_cookie.ts";
import type { Admission } from "../clients/admission.ts";
import type { Clients } from "../clients/clients.ts";
import type { Hello } from "../clients/hello.ts";
import { cork, identify } from "../engineio/internals.ts";
import type { ClientAddress } from "../limits/addresses.ts";
import { HandshakeMemory } from "../limits/handshake_memory.ts";
import { parsedBytes } from "../util/parsed_bytes.ts";
import { checkHandshake, credentialsOf, helloOf } from "./hello.ts";
import { introductionOf } from "./introduction.ts";
import type { Refusals } from "./refusals.ts";

/** Options of {@linkcode Handshakes}. */
export interface HandshakesOptions {
  readonly clients: Pick<Clients, "admit" | "abandon">;
  readonly access: Pick<Access, "asksHook" | "authenticate">;
  /** Reads a token from a cookie of the handshake; it counts if the client sends no `auth.token`. */
  readonly tokenCookie: ReadTokenCookie;
  readonly clientAddress: ClientAddress;
  /** The names of the headers that Roomcast sends to hooks; undefined if there are no hooks. */
  readonly hookHeaders?: readonly string[] | undefined;
}

/** The state of a socket whose client is admitted and not connected yet. */
export interface Entering {
  readonly admission: Admission;
  /** Sends the packets that were queued for the client since the client was admitted. */
  readonly uncork: () => void;
}

/** Admits clients. Stores the admission of each client until Socket.IO has connected the client's socket. */
export class Handshakes {
  readonly #options: HandshakesOptions;
  readonly #refusals: Pick<Refusals, "reject">;
  readonly #memory = new HandshakeMemory();
  /**
   * The Engine.IO connections whose client has already sent a CONNECT packet that was not refused. They stay in this set
   * after the client has sent DISCONNECT, because the headers of the handshake are needed to admit a client, and were
   * dropped by `forgetRequest()`.
   */
  readonly #taken = new WeakSet<object>();
  readonly #entering = new WeakMap<Socket, Entering>();

  /** Starts without handshakes. `refusals` rejects clients. */
  constructor(
    options: HandshakesOptions,
    refusals: Pick<Refusals, "reject">,
  ) {
    this.#options = options;
    this.#refusals = refusals;
  }

  /**
   * Admits or rejects a client before Socket.IO connects its socket, and then calls `next`. The promise never rejects.
   */
  async admit(socket: Socket, next: (error?: Error) => void): Promise<void> {
    const { conn } = socket;
    // Socket.IO accepts several CONNECT packets on one connection until it has answered the first one, and again after a
    // DISCONNECT packet. Only one may be handled.
    if (this.#taken.has(conn)) {
      conn.close();
      return next();
    }
    this.#taken.add(conn);
    try {
      checkHandshake(socket);
      const { clients, access, tokenCookie, hookHeaders } = this.#options;
      const { auth } = socket.handshake;
      using _ = this.#memory.enter(parsedBytes(auth));
      const { secret, place } = credentialsOf(socket, tokenCookie);
      const authenticate: Hello["authenticate"] = access.asksHook(secret)
        ? undefined
        : (readSeal) =>
          access.authenticate({ from: "client", secret, place }, readSeal);
      const introduction = hookHeaders &&
        introductionOf(socket, { ...this.#options, hookHeaders });
      const admission = await clients.admit({
        ...helloOf(socket),
        principal: undefined,
        authenticate,
        introduction,
      });
      if (conn.readyState !== "open") {
        clients.abandon(admission);
        return next();
      }
      const { client: { id }, secret: pid, recovered } = admission;
      identify(socket, { id, pid, recovered });
      // CONNECT and the events after it are sent in one write. A polling client does not need that, because it fetches
      // them with its next request.
      const uncork = conn.transport.name === "websocket"
        ? cork(socket)
        : () => {};
      this.#entering.set(socket, { admission, uncork });
      next();
    } catch (error) {
      this.#reject(socket, error, next);
    }
  }

  /** Returns the admitted client of a socket that Socket.IO has just connected, once; undefined if there is none. */
  take(socket: Socket): Entering | undefined {
    const entering = this.#entering.get(socket);
    this.#entering.delete(socket);
    return entering;
  }

  /** Rejects a client, and then calls `next`, because Socket.IO keeps the socket in memory until then. */
  #reject(socket: Socket, error: unknown, next: (error?: Error) => void): void {
    this.#refusals.reject(socket, error, (shown) => {
      // The client may send another CONNECT packet after `connect_error`.
      if (shown !== undefined) this.#taken.delete(socket.conn);
      next(shown);
    });
  }
}
