/**
 * Finds variables that are settings of other servers and mean nothing to Roomcast.
 *
 * They may belong to another program that has the same environment, so they are not refused. But if Roomcast's own
 * setting is unset, the operator may believe that they count: a server with `JWT_SECRET` instead of `TOKEN_SECRET` asks
 * no client for a token.
 *
 * @module
 */

/** What variables of other servers may stand for. */
interface Meaning {
  /** The setting that was probably meant. */
  readonly meant: string;
  /** The settings that do the same in another way. If one of them is set, the operator knows what to set. */
  readonly others?: readonly string[];
  readonly names: readonly string[];
}

const MEANINGS: readonly Meaning[] = [
  {
    meant: "REDIS_URL",
    // Without `REDIS_PORT`, `REDIS_NAME` and the like, which Kubernetes and Docker set for a service `redis`.
    names: [
      "REDIS_HOST",
      "REDIS_HOSTS",
      "REDISHOST",
      "REDIS_ADDR",
      "REDIS_ADDRESS",
      "REDIS_SERVER",
      "REDIS_DSN",
      "REDIS_TLS_URL",
      "REDIS_CLUSTER",
      "REDIS_SENTINELS",
    ],
  },
  {
    meant: "TOKEN_SECRET",
    others: ["TOKEN_JWKS_URL", "CONNECT_HOOK_URL"],
    names: ["JWT_SECRET", "JWT_SECRET_KEY", "JWT_KEY"],
  },
  {
    meant: "TOKEN_COOKIE",
    // Docker sets a variable of this form for each link, so it is not refused as a misspelled setting.
    names: ["TOKEN_COOKIE_NAME"],
  },
  {
    meant: "ALLOWED_ORIGINS",
    names: [
      "CORS_ORIGIN",
      "CORS_ORIGINS",
      "CORS_ALLOWED_ORIGINS",
      "CORS_ALLOW_ORIGIN",
    ],
  },
];

/**
 * Returns a sentence for each of the variables `names`, which are set, that is a setting of other servers, if Roomcast's
 * setting for the same purpose is not among them.
 */
export function foreignWarnings(names: readonly string[]): string[] {
  return MEANINGS
    .filter(({ meant, others = [] }) =>
      ![meant, ...others].some((own) => names.includes(own))
    )
    .flatMap(({ meant, names: foreign }) =>
      foreign.filter((name) => names.includes(name))
        .map((name) =>
          `${name} is set and is not a setting of Roomcast, and ${meant} is unset; set ${meant} if that is what you mean`
        )
    );
}
