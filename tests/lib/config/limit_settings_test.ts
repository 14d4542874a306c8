import assert from "node:assert/strict";
import { inspectConfig, readConfig } from "../../../lib/config/config.ts";

Deno.test("readConfig() reads TRUSTED_PROXIES as addresses and ranges of both families", () => {
  const { trustedProxies } = readConfig({
    TRUSTED_PROXIES: "10.0.0.0/8, 192.0.2.7,fd00::/8",
  });
  assert.deepEqual(trustedProxies, ["10.0.0.0/8", "192.0.2.7", "fd00::/8"]);
});

Deno.test("readConfig() refuses each item of TRUSTED_PROXIES that is not an address or a range, and a list without items", () => {
  const { problems } = inspectConfig({
    TRUSTED_PROXIES: "10.0.0.1,proxy.example.com,10.0.0.0/33",
  });
  assert.equal(problems.length, 2);
  assert.match(problems[0] ?? "", /^TRUSTED_PROXIES has "proxy\.example\.com"/);
  assert.match(problems[1] ?? "", /^TRUSTED_PROXIES has "10\.0\.0\.0\/33"/);
  assert.match(
    inspectConfig({ TRUSTED_PROXIES: " , " }).problems[0] ?? "",
    /^TRUSTED_PROXIES is a list without addresses/,
  );
});
