import assert from "node:assert/strict";
import type { Setting } from "../../../lib/config/env_reader.ts";
import { maskSetting, maskUrl } from "../../../lib/config/mask.ts";

Deno.test("maskUrl() hides the user and the password", () => {
  for (
    const [url, masked] of [
      ["redis://redis", "redis://redis"],
      ["redis://[::1]:6379/0", "redis://[::1]:6379/0"],
      [
        "REDISS://ann:hunter2@redis.example:6380/2",
        "REDISS://****@redis.example:6380/2",
      ],
      ["redis://:hun@ter2/x@redis/", "redis://****@redis/"],
      ["redis://ann:hunter2\n@redis", "redis://****@redis"],
    ] as const
  ) assert.equal(maskUrl(url), masked);
});

Deno.test("maskUrl() hides everything after the scheme if a secret may be outside the URL's user and password", () => {
  for (
    const after of [
      "redis?password=hunter2",
      "redis#hunter2",
      "redis/hunter2",
      "redis:6379 -a hunter2",
      "redis:6379,password=hunter2",
      "ann:hunter2",
      ":hunter2",
      "ann:hunter2%40redis",
      "ann:hunter2\uff20redis",
    ]
  ) {
    assert.equal(maskUrl(`redis://${after}`), "redis://****");
    assert.equal(maskUrl(after), "****");
  }
});

Deno.test("maskSetting() leaves a REDIS_URL that is not set empty", () => {
  const setting = { name: "REDIS_URL", value: "", source: "default" };
  assert.equal(maskSetting(setting as Setting), "");
});

Deno.test("maskSetting() hides a URL of a hook that has no host", () => {
  for (const value of ["localhost:3000/x", "app/connect", "data:s3cr3t"]) {
    const setting = { name: "CONNECT_HOOK_URL", value, source: "environment" };
    assert.equal(maskSetting(setting as Setting), "****", value);
  }
});

Deno.test("maskSetting() hides each secret of PUBLISH_KEYS, and an invalid item as a whole", () => {
  for (
    const [value, masked] of [
      ["a:hunter2,b:hun:ter2", "a:****, b:****"],
      [" a:hunter2, ,hunter2,", "a:****, ****"],
      ["hunter2:,:hunter2,hunter2: x", "****, ****, ****"],
    ] as const
  ) {
    const setting = { name: "PUBLISH_KEYS", value, source: "environment" };
    assert.equal(maskSetting(setting as never), masked);
  }
});
