/**
 * Revocations: the users and tokens that no longer count, although their tokens have not expired.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import { Loadable } from "../util/loadable.ts";
import { TokenRefused } from "./claims.ts";

/** The revocation of the older tokens of a user, or of one token. */
export interface Revocation {
  /** `user`: all tokens of a user that were issued before a time. `jti`: the token with this id. */
  readonly kind: "user" | "jti";
  /** The user, or the id of the token. */
  readonly name: string;
  /**
   * In ms since 1970. For a user, the time before which a token must have been issued to be revoked; for a token, the
   * time of its revocation.
   */
  readonly at: number;
}

/** The properties of a token, a principal or a grant by which it can be revoked. */
export interface Issued {
  /** The user to whom it was issued; undefined if it was issued to no user. */
  readonly user?: string | undefined;
  /** The id of the token (`jti`); undefined if it has none. */
  readonly tokenId?: string | undefined;
  /** Time at which it was issued, in ms since 1970; undefined if that is not known. */
  readonly issuedAt?: number | undefined;
}

/**
 * How long a revocation is kept after its time `at`, in ms: 400 days. If a revoked token is valid for longer than that,
 * it is accepted again afterwards.
 */
export const RETENTION_MS = 400 * 86_400_000;
/** Maximum number of revocations. If there are more, the key that signs the tokens has to be changed instead. */
export const REVOCATIONS_MAX = 100_000;
/**
 * Maximum number of revocations that a node keeps in memory. It is larger than {@linkcode REVOCATIONS_MAX}, because a
 * node must never ignore a revocation that another node has stored. Only a program that writes to Redis itself can
 * cause more.
 */
export const KEPT_MAX = 2 * REVOCATIONS_MAX;

/**
 * Keeps all revocations in memory, so that a check of a token need not wait.
 *
 * If a user is revoked twice, only the later revocation counts. Nodes may therefore learn of revocations in any order.
 * Revocations are deleted {@linkcode RETENTION_MS} after their time. No token may be accepted before they are loaded.
 */
export class Revocations extends Loadable {
  readonly #changed: () => void;
  readonly #byKind: Readonly<Record<Revocation["kind"], Map<string, number>>> =
    { user: new Map(), jti: new Map() };

  /** Starts without revocations. `changed` is called after one or more revocations were added. */
  constructor(changed: () => void = () => {}) {
    super(() =>
      new ApiError(
        "log_unreachable",
        "Cannot verify the token: this node has not read yet which tokens are revoked; try again later",
      )
    );
    this.#changed = changed;
  }

  /** Number of revocations. */
  get size(): number {
    return this.#byKind.user.size + this.#byKind.jti.size;
  }

  /** Iterates over all revocations. */
  *[Symbol.iterator](): Generator<Revocation> {
    for (const kind of ["user", "jti"] as const) {
      for (const [name, at] of this.#byKind[kind]) yield { kind, name, at };
    }
  }

  /** Returns whether a token has been revoked. A user's token whose age is not known counts as issued before. */
  isRevoked({ user, tokenId, issuedAt }: Issued): boolean {
    const { user: users, jti } = this.#byKind;
    if (tokenId !== undefined && jti.has(tokenId)) return true;
    const before = user === undefined ? undefined : users.get(user);
    return before !== undefined && (issuedAt ?? -Infinity) < before;
  }

  /** Returns the revocation that is in force for a user or a token; undefined if there is none. */
  find({ kind, name }: Pick<Revocation, "kind" | "name">):
    | Revocation
    | undefined {
    const at = this.#byKind[kind].get(name);
    return at === undefined ? undefined : { kind, name, at };
  }

  /**
   * Adds revocations. One of a user with an earlier time than the one in force is ignored.
   *
   * @returns `false` if there are too many, and some could not be added
   */
  add(revocations: Iterable<Revocation>): boolean {
    let [hasChanged, hasAll] = [false, true];
    for (const { kind, name, at } of revocations) {
      const times = this.#byKind[kind];
      const known = times.get(name);
      if (known !== undefined && known >= at) continue;
      if (known === undefined && this.size >= KEPT_MAX) {
        hasAll = false;
        continue;
      }
      times.set(name, at);
      hasChanged = true;
    }
    if (hasChanged) this.#changed();
    return hasAll;
  }

  /** Deletes the revocations with a time before `before`, in ms since 1970. */
  deleteBefore(before: number): void {
    for (const times of Object.values(this.#byKind)) {
      for (const [name, at] of times) if (at < before) times.delete(name);
    }
  }
}

/** Creates the error for a token that has been revoked. */
export function tokenRevoked(): ApiError {
  return new TokenRefused("revoked", "it has been revoked", "get a new one");
}
