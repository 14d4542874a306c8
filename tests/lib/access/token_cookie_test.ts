import assert from "node:assert/strict";
import { makeOriginRule } from "../../../lib/access/origins.ts";
import {
  type CookieHeaders,
  tokenCookieReader,
} from "../../../lib/access/token_cookie.ts";
import { ApiError } from "../../../lib/errors.ts";

const APP = "https://app.example.com";
const rule = makeOriginRule({
  allowedOrigins: [APP],
  host: "0.0.0.0",
  cookies: true,
});
const host = "chat.example.com";
const OWN: CookieHeaders = { host, "sec-fetch-site": "same-origin" };

Deno.test("tokenCookieReader() returns the value of exactly the named cookie", () => {
  const cases: [cookie: string | undefined, token: string | undefined][] = [
    ["__Host-token=a.b.c", "a.b.c"],
    ["x=1; __Host-token=a.b.c; y=2", "a.b.c"],
    ['__Host-token="a.b.c"', "a.b.c"],
    ["__Host-token = a.b.c ;x=1", "a.b.c"],
    ["__Host-token=a%2Eb.c==", "a.b.c=="],
    ["__Host-token=%zz", "%zz"],
    ["__Host-token=", undefined],
    ["__Host-token", undefined],
    ["__host-token=a.b.c", undefined],
    ["x__Host-token=a.b.c", undefined],
    ["__Host-token2=a.b.c", undefined],
    // Browsers send a cookie without a name like that.
    ["__Host-tokens; __Host-token=a.b.c; __Host-token", "a.b.c"],
    ["x=__Host-token=a.b.c", undefined],
    ["", undefined],
    [";;;=;=", undefined],
    [undefined, undefined],
  ];
  const read = tokenCookieReader("__Host-token", rule);
  for (const [cookie, token] of cases) {
    assert.equal(read({ ...OWN, cookie }).token, token, `${cookie}`);
  }
});

Deno.test("tokenCookieReader() returns a cookie only to requests of allowed pages", () => {
  const cookie = "token=a.b.c";
  const cases: [headers: CookieHeaders, counts: boolean][] = [
    [OWN, true],
    [{ host, origin: `https://${host}` }, true],
    [{ host, origin: APP }, true],
    [{ host }, false],
    [{ host, "sec-fetch-site": "same-site" }, false],
    [{ host, "sec-fetch-site": "cross-site" }, false],
    [{ host, "sec-fetch-site": "none" }, false],
    [{ host, origin: "null" }, false],
    [{ host, origin: "https://evil.example.com" }, false],
    [{ ...OWN, origin: "https://evil.example.com" }, false],
  ];
  for (const [headers, counts] of cases) {
    assert.equal(
      tokenCookieReader("token", rule)({ ...headers, cookie }).token,
      counts ? "a.b.c" : undefined,
      JSON.stringify(headers),
    );
    assert.equal(
      tokenCookieReader(undefined, rule)({ ...headers, cookie }).token,
      undefined,
    );
  }
});

Deno.test("tokenCookieReader() refuses a cookie that was sent twice, and does not show its value", () => {
  const read = tokenCookieReader("token", rule);
  for (
    const cookie of [
      "token=secret1; token=secret2",
      "token=;token=secret2",
      "token=secret1; x=1; token =secret1",
    ]
  ) {
    assert.throws(() => read({ ...OWN, cookie }).token, (error) => {
      assert.ok(error instanceof ApiError);
      assert.equal(error.code, "unauthorized");
      assert.doesNotMatch(error.message, /secret/);
      return true;
    });
  }
});
