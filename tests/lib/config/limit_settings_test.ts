import assert from "node:assert/strict";
import { inspectConfig, readConfig } from "../../../lib/config/config.ts";
import { warningsOf } from "../../../lib/config/warnings.ts";
import { SECRET } from "../../support/tokens.ts";

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

Deno.test("readConfig() refuses EVENTS_PER_SECOND_MAX=0, because every client needs a limit", () => {
  assert.match(
    inspectConfig({ EVENTS_PER_SECOND_MAX: "0" }).problems[0] ?? "",
    /^EVENTS_PER_SECOND_MAX is "0", not a whole number from 1 to /,
  );
});

Deno.test("warningsOf() warns if a client could not join all its rooms at once", () => {
  assert.deepEqual(warningsOf(inspectConfig({})), []);
  const [warning] = warningsOf(inspectConfig({ ROOMS_PER_CLIENT_MAX: "1000" }));
  assert.match(warning ?? "", /set EVENTS_PER_SECOND_MAX to 500/);
  const fitting = {
    ROOMS_PER_CLIENT_MAX: "1000",
    EVENTS_PER_SECOND_MAX: "500",
  };
  assert.deepEqual(warningsOf(inspectConfig(fitting)), []);
});

Deno.test("warningsOf() warns if clients are counted by address behind a proxy that is not trusted", () => {
  const limit = { CLIENTS_PER_ADDRESS_MAX: "10" };
  assert.match(
    warningsOf(inspectConfig(limit))[0] ?? "",
    /set TRUSTED_PROXIES/,
  );
  for (
    const fitting of [
      { ...limit, TRUSTED_PROXIES: "127.0.0.1" },
      { ...limit, HOST: "0.0.0.0", OPEN: "true" },
    ]
  ) assert.doesNotMatch(`${warningsOf(inspectConfig(fitting))}`, /set TRUSTED/);
});

Deno.test("warningsOf() warns if every address is a trusted proxy", () => {
  const keyed = { HOST: "0.0.0.0", PUBLISH_KEYS: `web:${SECRET}` };
  const guarded = { ...keyed, TOKEN_SECRET: SECRET };
  for (const all of ["0.0.0.0/0", "::/0"]) {
    const TRUSTED_PROXIES = `10.0.0.0/8,${all}`;
    const [warning = "", ...others] = warningsOf(
      inspectConfig({ ...guarded, TRUSTED_PROXIES }),
    );
    assert.deepEqual(others, []);
    assert.ok(warning.startsWith(`TRUSTED_PROXIES has ${all}, so`), warning);
  }
  const TRUSTED_PROXIES = "10.0.0.0/8,fd00::/8";
  assert.deepEqual(
    warningsOf(inspectConfig({ ...guarded, TRUSTED_PROXIES })),
    [],
  );
});
