/** A client's token in a cookie, over every transport. */
import assert from "node:assert/strict";
import { TestApp } from "../support/app.ts";
import { fetchDocumented } from "../support/documented.ts";
import { Subscriber } from "../support/client.ts";
import { inSeconds, makeToken, SECRET } from "../support/tokens.ts";

const LISTED = "https://good.example";
const SETTINGS = {
  HOST: "0.0.0.0",
  PUBLISH_KEYS: "web:correct-horse",
  TOKEN_SECRET: SECRET,
  TOKEN_COOKIE: "__Host-token",
  ALLOWED_ORIGINS: LISTED,
};

function tokenOf(user: string, exp = inSeconds(60)): Promise<string> {
  const caps = [{ rooms: ["chat"], allow: ["sub", "history"] }];
  return makeToken({ sub: user, caps, exp });
}

/** Connects a client and resolves to the code of the refusal, or to undefined if it is connected. */
async function connect(
  url: string,
  transport: string,
  extraHeaders: Record<string, string>,
  auth: Record<string, unknown> = {},
): Promise<string | undefined> {
  await using client = new Subscriber(url, {
    transports: [transport],
    reconnection: false,
    extraHeaders,
    auth,
  });
  await client.settled();
  const [error] = client.errors.items;
  return error === undefined ? undefined : error.data?.code ?? error.message;
}

Deno.test("a token in a cookie lets a client of an allowed page connect and read, and nobody else", async (t) => {
  await using app = new TestApp(SETTINGS);
  const port = await app.serve();
  const url = `http://127.0.0.1:${port}`;
  const cookie = `x=1; __Host-token=${await tokenOf("ann")}`;
  const cases: [headers: Record<string, string>, counts: boolean][] = [
    [{ origin: LISTED }, true],
    [{ origin: `http://127.0.0.1:${port}` }, true],
    [{ "sec-fetch-site": "same-origin" }, true],
    [{}, false],
    [{ "sec-fetch-site": "same-site" }, false],
    [{ "sec-fetch-site": "none" }, false],
  ];
  for (const [headers, counts] of cases) {
    await t.step(JSON.stringify(headers), async () => {
      for (const transport of ["polling", "websocket"]) {
        assert.equal(
          await connect(url, transport, { ...headers, cookie }),
          counts ? undefined : "unauthorized",
          transport,
        );
      }
      const { status } = await fetchDocumented(`${url}/rooms/chat/history`, {
        headers: { ...headers, cookie },
      });
      assert.equal(status, counts ? 200 : 401);
    });
  }
});

Deno.test("a refusal says that the cookie does not count, that its value is no token, or that a header does not count", async () => {
  await using app = new TestApp(SETTINGS);
  const url = `http://127.0.0.1:${await app.serve()}`;
  const socket = async (extraHeaders: Record<string, string>) => {
    await using client = new Subscriber(url, {
      transports: ["websocket"],
      extraHeaders,
    });
    const [error] = await client.errors.have(1);
    return error?.message ?? "";
  };
  const http = async (path: string, headers: Record<string, string>) => {
    const response = await fetchDocumented(url + path, { headers });
    assert.equal(response.status, 401);
    return String(JSON.parse(response.text).error.message);
  };
  const cookie = `__Host-token=${await tokenOf("ann")}`;
  const paths = ["/rooms/chat/history", "/rooms/chat/events"];
  const ignored =
    /: the cookie with the token does not count, because .* Origin/;
  assert.match(await socket({ cookie }), ignored);
  for (const path of paths) assert.match(await http(path, { cookie }), ignored);
  const bad = { origin: LISTED, cookie: "__Host-token=correct-horse" };
  const notToken =
    /the value of the cookie of TOKEN_COOKIE is not a client token/;
  assert.match(await socket(bad), notToken);
  for (const path of paths) assert.match(await http(path, bad), notToken);
  const authorization = `Bearer ${await tokenOf("ann")}`;
  assert.match(
    await socket({ authorization }),
    /in auth\.token; .* not in the header Auth/,
  );
  assert.match(
    await socket({}),
    /has sent no token; send one in auth\.token or/,
  );
});

Deno.test("a cookie counts only without other credentials, and never for publishing or managing", async () => {
  await using app = new TestApp(SETTINGS);
  const url = `http://127.0.0.1:${await app.serve()}`;
  const cookie = `__Host-token=${await tokenOf("ann")}`;
  const headers = { origin: LISTED, cookie };
  const wrong = await tokenOf("ann", inSeconds(-60));
  for (const token of [wrong, null, "", 7]) {
    assert.equal(
      await connect(url, "websocket", headers, { token }),
      "unauthorized",
      String(token),
    );
  }
  const request = async (method: string, path: string, authorization = "") =>
    (await app.request(path, {
      method,
      headers: { ...headers, ...authorization && { authorization } },
      ...method === "POST" ? { body: "hello" } : {},
    })).status;
  const history = "/rooms/chat/history";
  assert.equal(await request("GET", history), 200);
  assert.equal(await request("GET", history, `Bearer ${wrong}`), 401);
  assert.equal(await request("GET", history, "Bearer correct-horse"), 200);
  assert.equal(await request("POST", "/publish"), 401);
  assert.equal(await request("DELETE", history), 401);
});

Deno.test("pages of allowed origins may send cookies and read the responses, over every transport", async () => {
  await using app = new TestApp(SETTINGS);
  const url = `http://127.0.0.1:${await app.serve()}`;
  for (
    const path of [
      "/socket.io/?EIO=4&transport=polling",
      "/rooms/chat/history",
      "/livez",
    ]
  ) {
    for (const [origin, expected] of [[LISTED, "true"], ["https://x", null]]) {
      const { headers } = await fetchDocumented(url + path, {
        headers: { origin: String(origin) },
      });
      assert.equal(headers.get("access-control-allow-credentials"), expected);
      assert.equal(
        headers.get("access-control-allow-origin"),
        expected && origin,
      );
    }
  }
  await using without = new TestApp({ ALLOWED_ORIGINS: LISTED });
  const { headers } = await without.request("/livez", {
    headers: { origin: LISTED },
  });
  assert.equal(headers.get("access-control-allow-credentials"), null);
});

Deno.test("GET /page.json says whether the cookie of the page is sufficient to read the history", async () => {
  await using app = new TestApp(SETTINGS);
  const needsKey = async (cookie: string): Promise<boolean[]> => {
    const headers = { cookie, "sec-fetch-site": "same-origin" };
    const { status, body } = await app.request("/page.json", { headers });
    assert.equal(status, 200);
    return [body.publishNeedsKey, body.historyNeedsKey];
  };
  const valid = `__Host-token=${await tokenOf("ann")}`;
  const expired = `__Host-token=${await tokenOf("ann", inSeconds(-60))}`;
  assert.deepEqual(await needsKey(valid), [true, false]);
  assert.deepEqual(await needsKey(expired), [true, true]);
  assert.deepEqual(await needsKey(`${valid}; ${valid}`), [true, true]);
  assert.deepEqual(await needsKey("other=1"), [true, true]);
});
