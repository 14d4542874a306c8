/** Client tokens for tests, and a server that gives out the public keys of an issuer. */
import { createServer, type Server, type ServerResponse } from "node:http";
import {
  exportJWK,
  generateKeyPair,
  type JWK,
  type JWTPayload,
  SignJWT,
} from "jose";
import { listen } from "./net.ts";

/** A secret of `TOKEN_SECRET` that is long enough. */
export const SECRET = "0123456789abcdef0123456789abcdef";

/** Returns the time that is `seconds` from now, in s since 1970. */
export function inSeconds(seconds: number): number {
  return Math.floor(Date.now() / 1000) + seconds;
}

/** Options of {@linkcode makeToken}. */
export interface TokenOptions {
  readonly secret?: string;
  readonly alg?: string;
  readonly header?: Readonly<Record<string, unknown>>;
}

/** Makes a token with these claims. `exp` is in an hour unless the claims have one. */
export function makeToken(
  claims: JWTPayload = {},
  { secret = SECRET, alg = "HS256", header = {} }: TokenOptions = {},
): Promise<string> {
  return new SignJWT({ exp: inSeconds(3600), ...claims })
    .setProtectedHeader({ alg, ...header })
    .sign(new TextEncoder().encode(secret));
}

/** Makes a text of three parts from any header and claims, with a signature that is not valid. */
export function forgeToken(
  header: unknown,
  claims: unknown,
  signature = "AAAA",
): string {
  const part = (value: unknown) =>
    btoa(JSON.stringify(value)).replaceAll("=", "").replaceAll("+", "-")
      .replaceAll("/", "_");
  return `${part(header)}.${part(claims)}.${signature}`;
}

/** A pair of keys of an issuer. */
export interface SigningKey {
  /** The public key, as a key set has it. */
  readonly jwk: JWK;
  /** Makes a token that names this key. `header` replaces fields of its header. */
  sign(
    claims?: JWTPayload,
    header?: Readonly<Record<string, unknown>>,
  ): Promise<string>;
}

/** Makes a pair of keys with the name `kid`. */
export async function makeSigningKey(
  kid: string,
  alg = "ES256",
): Promise<SigningKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg, {
    extractable: true,
  });
  return {
    jwk: { ...await exportJWK(publicKey), kid, alg, use: "sig" },
    sign: (claims = {}, header = {}) =>
      new SignJWT({ exp: inSeconds(3600), ...claims })
        .setProtectedHeader({ alg, kid, ...header })
        .sign(privateKey),
  };
}

/** A server on 127.0.0.1 that gives out a key set and counts how often; `await using` closes it. */
export class KeyServer {
  /** The keys that it gives out. */
  keys: readonly JWK[] = [];
  /** Replaces the normal response. */
  respond: ((response: ServerResponse) => void) | undefined;
  /** The times of `performance.now()` at which the key set was fetched. */
  readonly times: number[] = [];
  readonly #server: Server;
  #port = 0;

  private constructor() {
    this.#server = createServer((_, response) => {
      this.times.push(performance.now());
      if (this.respond !== undefined) return this.respond(response);
      response.setHeader("content-type", "application/json");
      response.setHeader("connection", "close");
      response.end(JSON.stringify({ keys: this.keys }));
    });
  }

  /** Starts a server that gives out these keys. */
  static async start(keys: readonly JWK[] = []): Promise<KeyServer> {
    const server = new KeyServer();
    server.keys = keys;
    server.#port = await listen(server.#server);
    return server;
  }

  /** How often the key set was fetched. */
  get fetches(): number {
    return this.times.length;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/jwks.json?secret=hunter2`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
