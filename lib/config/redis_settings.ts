/**
 * Checks the settings of Redis.
 *
 * @module
 */
import type { EnvReader } from "./env_reader.ts";
import { maskUrl } from "./mask.ts";

/** The settings of Redis. */
interface RedisSettings {
  readonly redisUrl: string | undefined;
  readonly keyPrefix: string;
  readonly ackReplicas: number;
}

/** Records a problem for each setting of Redis that is not valid, or has no effect without Redis. */
export function checkRedis(
  reader: EnvReader,
  { redisUrl, keyPrefix, ackReplicas }: RedisSettings,
): void {
  reader.refuseEmpty(["ACK_REPLICAS"]);
  if (redisUrl !== undefined && !isRedisUrl(redisUrl)) {
    const [scheme] = /^redis\+(sentinel|cluster):/i.exec(redisUrl) ?? [];
    const expected =
      "a URL such as redis://localhost:6379 or rediss://example.com:6379/0";
    if (scheme === undefined) {
      const advice = redisUrl.includes("@")
        ? "; percent-encode special characters of the password, such as # as %23"
        : "";
      reader.reject("REDIS_URL", maskUrl(redisUrl), `${expected}${advice}`);
    } else {
      reader.fail(
        "REDIS_URL",
        `begins with ${scheme}, which is not supported by this version; set ${expected}`,
      );
    }
  }
  if (!/^[\w.:-]{1,64}$/.test(keyPrefix)) {
    reader.reject(
      "KEY_PREFIX",
      keyPrefix,
      "1 to 64 letters, digits, dots, colons, dashes or underscores",
    );
  }
  if (ackReplicas > 0 && redisUrl === undefined) {
    reader.fail(
      "ACK_REPLICAS",
      `is ${ackReplicas} and needs REDIS_URL, because an embedded log has no replicas; set REDIS_URL or unset ACK_REPLICAS`,
    );
  }
}

/** Returns a sentence if Redis is probably meant to be used, and `REDIS_URL` is empty, which counts as unset, or unset. */
export function redisWarnings(reader: EnvReader): string[] {
  const effect =
    "so messages are kept only in this process and are lost when it stops";
  if (reader.isEmpty("REDIS_URL")) {
    return [
      `REDIS_URL is set and empty, ${effect}; set a value, or unset it`,
    ];
  }
  return reader.isSet("KEY_PREFIX") && !reader.isSet("REDIS_URL")
    ? [
      `KEY_PREFIX has no effect without REDIS_URL, ${effect}; set REDIS_URL, or unset KEY_PREFIX`,
    ]
    : [];
}

function isRedisUrl(value: string): boolean {
  try {
    const url = new URL(value);
    const { protocol, hostname, pathname, username, password } = url;
    decodeURIComponent(username + password);
    return /^rediss?:$/.test(protocol) && hostname !== "" &&
      /^\/?\d*$/.test(pathname) && url.search + url.hash === "";
  } catch {
    return false;
  }
}
