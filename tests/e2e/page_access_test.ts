/** The page with a server that verifies tokens and needs a publish key, in a real browser. */
import assert from "node:assert/strict";
import type { Browser, Page } from "playwright-core";
import {
  isConnected,
  launch,
  open,
  screenshot,
  violations,
} from "../support/browser.ts";
import { HookBackend, json, result } from "../support/hook_backend.ts";
import { TestNode } from "../support/node.ts";
import { inSeconds, makeToken, SECRET } from "../support/tokens.ts";

const KEY = { authorization: "Bearer open-sesame" };
const SETTINGS = { TOKEN_SECRET: SECRET, PUBLISH_KEYS: "page:open-sesame" };

/** Makes a token of a user with rights in rooms; by default the user may receive them and read their histories. */
function tokenFor(
  user: string,
  rooms: string[],
  exp = inSeconds(3600),
  allow = ["sub", "history"],
): Promise<string> {
  return makeToken({ sub: user, exp, caps: [{ rooms, allow }] });
}

/** Sends a message with the form of the current room. */
async function send(page: Page, text: string): Promise<void> {
  await page.fill(".pane.current textarea", text);
  await page.press(".pane.current textarea", "Enter");
}

async function enter(page: Page, token: string): Promise<void> {
  await page.fill("#token", token);
  await page.press("#token", "Enter");
}

async function shows(page: Page, text: string): Promise<void> {
  await page.locator(".pane.current ol > li", { hasText: text }).last()
    .waitFor();
}

/** Publishes messages into the room `chat`, numbered from 0, in one batch. */
async function publishMany(
  node: TestNode,
  text: string,
  count: number,
): Promise<void> {
  const messages = Array.from({ length: count }, (_, i) => ({
    room: "chat",
    message: `${text} ${i}`,
  }));
  const path = `${node.internalUrl}/publish/batch`;
  assert.equal((await node.post(path, { messages }, KEY)).status, 200);
}

/** Checks that a secret is in no storage, not in the address, and not in the document. */
async function isForgotten(page: Page, secret: string): Promise<void> {
  const places = await page.evaluate(`JSON.stringify([
    {...localStorage}, {...sessionStorage}, document.cookie, location.href, history.state,
    document.documentElement.outerHTML,
    [...document.querySelectorAll("input, textarea")].map(({ value }) => value),
  ])`) as string;
  assert.ok(!places.includes(secret));
}

/** Checks that the page connects, refreshes and reconnects with the tokens that the reader enters. */
async function usesTokens(browser: Browser, node: TestNode): Promise<void> {
  await publishMany(node, "older", 150);
  await using desk = await open(browser, `${node.url}/`, {}, false);
  const { page, errors } = desk;
  const form = page.locator("#token-form");
  const note = page.locator("#token-note");
  await note.getByText("the client has sent no token").waitFor();
  await page.locator("#notice").getByText("The server does not let this page")
    .waitFor();
  await page.locator("#state", { hasText: "Not connected" }).waitFor();
  assert.equal(await page.locator("#token").getAttribute("type"), "password");
  assert.equal(
    await page.locator("#token").getAttribute("autocomplete"),
    "off",
  );
  assert.deepEqual(await violations(page), []);
  await screenshot(page, "token");
  await enter(page, "wrong");
  await note.getByText("Cannot accept the token").waitFor();
  assert.equal(
    await page.locator("#token").getAttribute("aria-invalid"),
    "true",
  );
  await enter(page, await tokenFor("ann", ["chat"], inSeconds(-60)));
  await note.getByText("expired").waitFor();

  // This token expires soon, so that the page asks for another one.
  const soon = await tokenFor("ann", ["chat"], inSeconds(33));
  await enter(page, `Bearer ${soon}`);
  await isConnected(page);
  await shows(page, "older 149");
  await page.locator(".pane.current .log").evaluate((log) =>
    void ((log as unknown as { scrollTop: number }).scrollTop = 0)
  );
  await page.getByText("This is the beginning of the room").waitFor();
  await page.fill("#open-room", "board");
  await page.press("#open-room", "Enter");
  const problem = page.locator(".pane.current .problem");
  await problem.getByText(/Cannot join "board": the token does not/).waitFor();
  await isForgotten(page, soon);

  await note.getByText(/The token expires at \d\d:\d\d:\d\d/).waitFor();
  await enter(page, await tokenFor("bob", ["chat", "board"]));
  await note.getByText("Cannot").waitFor();
  await enter(page, await tokenFor("ann", ["chat", "board"]));
  await page.locator("#events").getByText("The server has accepted a new token")
    .waitFor();
  await form.waitFor({ state: "hidden" });
  await node.publish("for the board", "board", KEY);
  await shows(page, "for the board");
  assert.equal(await problem.count(), 0);

  // Another user gets a session of its own, and only its own rooms.
  await page.getByRole("button", { name: "Enter a token" }).click();
  await enter(page, await tokenFor("bob", ["chat"]));
  await problem.getByText(/Cannot join "board": the token does not/).waitFor();
  await isConnected(page);
  await form.waitFor({ state: "hidden" });
  await page.getByRole("tab", { name: "chat" }).click();
  await node.publish("for bob", "chat", KEY);
  await shows(page, "for bob");
  await page.getByRole("button", { name: "Forget the token" }).click();
  await note.getByText("the client has sent no token").waitFor();
  await page.locator("#state", { hasText: "Not connected" }).waitFor();
  assert.deepEqual(errors.filter((error) => !/401/.test(error)), []);
}

/** Checks that the page connects with a new token after it was told that the last one expires, and was then refused. */
async function replacesRefusedToken(
  browser: Browser,
  node: TestNode,
): Promise<void> {
  await using desk = await open(browser, `${node.url}/`, {}, false);
  const { page } = desk;
  const note = page.locator("#token-note");
  await note.getByText("the client has sent no token").waitFor();
  const caps = [{ rooms: ["chat"], allow: ["sub"] }];
  const exp = inSeconds(25);
  await enter(page, await makeToken({ sub: "cleo", jti: "old", exp, caps }));
  await isConnected(page);
  await note.getByText(/The token expires at/).waitFor();
  const revoked = await node.post("/revoke", { jti: "old" }, KEY);
  assert.equal(revoked.status, 200);
  await note.getByText("it has been revoked").waitFor();
  await enter(page, await tokenFor("cleo", ["chat"]));
  await isConnected(page);
  await node.publish("for cleo", "chat", KEY);
  await shows(page, "for cleo");
}

/** Checks that a page that is refused because of a room connects without it, and shows why in the room. */
async function connectsWithoutRoom(
  browser: Browser,
  node: TestNode,
  backend: HookBackend,
): Promise<void> {
  await using desk = await open(browser, `${node.url}/`, {}, false);
  const { page } = desk;
  await isConnected(page);
  await page.locator(".pane.current .empty").waitFor();
  backend.respond = json({}, 401);
  // The page stays away for longer than the session is kept.
  await page.getByRole("button", { name: "Cut the line" }).click();
  await page.locator(".pane.current .problem", { hasText: "Cannot join" })
    .waitFor();
  await isConnected(page);
}

/** Checks that a page with a token and a key publishes with the key and reads with either. */
async function usesBoth(browser: Browser, node: TestNode): Promise<void> {
  await using desk = await open(browser, `${node.url}/`, {}, false);
  const { page, errors } = desk;
  const token = await tokenFor("ann", ["chat"]);
  await enter(page, token);
  await isConnected(page);
  assert.equal(await page.locator("#announcer").textContent(), "Connected");
  assert.equal(await page.locator("#notice-title").textContent(), "");
  await page.fill("#key", "page:open-sesame");
  await page.press("#key", "Enter");
  await page.getByText("Enter only the secret: the part after the colon")
    .waitFor();
  await page.fill("#key", "open-sesame");
  await page.press("#key", "Enter");
  await send(page, "with a key");
  await shows(page, "with a key");
  for (const secret of [token, "open-sesame"]) await isForgotten(page, secret);
  assert.deepEqual(await violations(page), []);
  await screenshot(page, "token-and-key");
  await page.reload();
  await page.locator("#token-note", { hasText: "has sent no token" })
    .waitFor();
  assert.deepEqual(errors.filter((error) => !/401/.test(error)), []);
}

/** Checks that a page without a key publishes over its connection, as the user of its token. */
async function publishesWithToken(
  browser: Browser,
  node: TestNode,
): Promise<void> {
  await using desk = await open(browser, `${node.url}/`, {}, false);
  const { page } = desk;
  await page.locator("#token-form").waitFor();
  const allow = ["sub", "pub"];
  await enter(page, await tokenFor("ann", ["chat"], undefined, allow));
  await isConnected(page);
  await send(page, "with a token");
  await shows(page, "with a token");
  const answer = page.locator(".pane.current .answer");
  await answer.getByText("Stored as").waitFor();
  await answer.getByRole("button", { name: "Send again" }).click();
  await answer.getByText("Duplicate, stored before as").waitFor();
  const path = `${node.url}/rooms/chat/history?order=desc&limit=1`;
  const { messages: [{ message, from }] } =
    await (await fetch(path, { headers: KEY })).json();
  assert.deepEqual({ message, from }, { message: "with a token", from: "ann" });
}

/**
 * Checks that the page on a port without backends offers nothing that needs a key, shows why the server refuses what
 * its token does not allow, and reads histories with the token.
 */
async function onlyReads(browser: Browser, node: TestNode): Promise<void> {
  const publish = async (text: string): Promise<void> => {
    const message = { room: "chat", message: text };
    const path = `${node.internalUrl}/publish`;
    assert.equal((await node.post(path, message, KEY)).status, 200);
  };
  await using desk = await open(browser, `${node.url}/`, {}, false);
  const { page, errors } = desk;
  await page.locator("#token-form").waitFor();
  await enter(page, await tokenFor("ann", ["chat"]));
  await isConnected(page);
  await page.locator(".pane.current .empty").waitFor();
  assert.doesNotMatch(await page.locator(".empty").innerText(), /curl|Publish/);
  await send(page, "not allowed");
  await page.locator(".composer .error", {
    hasText: 'Cannot publish into "chat"',
  }).waitFor();
  const box = page.locator(".pane.current textarea");
  assert.equal(await box.inputValue(), "not allowed");
  assert.ok(await page.locator("#key-form").isHidden());
  assert.ok(await page.locator("#cut-publish").isDisabled());
  assert.deepEqual(await violations(page), []);
  await publishMany(node, "number", 120);
  await shows(page, "number 119");
  await page.getByRole("button", { name: "Cut the line" }).click();
  await page.locator("#state", { hasText: /Reconnecting in/ }).waitFor();
  await publish("while away");
  const result = page.locator("#cut-result");
  await result.getByText("missing now").waitFor();
  assert.deepEqual((await result.locator("dd").allInnerTexts())[2], "0");
  const row = page.locator(".pane.current ol > li").last();
  await row.hover();
  await row.locator(".more").click();
  assert.deepEqual(await page.getByRole("menuitem").allInnerTexts(), [
    "Copy JSON",
  ]);
  assert.deepEqual(errors, []);

  node.signal("SIGTERM");
  await node.exited();
  await page.locator("#notice", { hasText: "The server does not respond" })
    .waitFor();
}

/** Checks that the page publishes over its connection if a hook allows it, and does not demand a key. */
async function publishesByHook(
  browser: Browser,
  node: TestNode,
): Promise<void> {
  await using desk = await open(browser, `${node.url}/`, {}, false);
  const { page, errors } = desk;
  await isConnected(page);
  const label = page.locator("#key-label");
  await label.getByText("Key, to publish as a backend and to read").waitFor();
  await send(page, "by the hook");
  await shows(page, "by the hook");
  await page.locator(".pane.current .answer").getByText("Stored as").waitFor();
  const path = `${node.url}/rooms/chat/history?order=desc&limit=1`;
  const { messages: [{ message, from }] } =
    await (await fetch(path, { headers: KEY })).json();
  assert.deepEqual({ message, from }, { message: "by the hook", from: "ann" });
  await page.fill("#open-room", "board");
  await page.press("#open-room", "Enter");
  await page.locator(".pane.current .empty").waitFor();
  await send(page, "not allowed");
  await page.locator(".pane.current .composer .error", {
    hasText: 'Cannot publish into "board"',
  }).waitFor();
  assert.deepEqual(errors, []);
}

/** Checks that the page connects and reads with a token in a cookie, which no script can read. */
async function usesCookie(browser: Browser, node: TestNode): Promise<void> {
  await publishMany(node, "older", 120);
  await using desk = await open(browser, `${node.url}/`, {}, false);
  const { page, errors } = desk;
  await page.locator("#token-form").waitFor();
  const value = await tokenFor("ann", ["chat"]);
  await page.context().addCookies([{
    name: "session",
    value,
    url: node.url,
    httpOnly: true,
    sameSite: "Lax",
  }]);
  errors.length = 0;
  await page.reload();
  await isConnected(page);
  await page.locator("#transport", { hasText: "WebSocket" }).waitFor();
  await shows(page, "older 119");
  await page.locator(".pane.current .log").evaluate((log) =>
    void ((log as unknown as { scrollTop: number }).scrollTop = 0)
  );
  await page.getByText("This is the beginning of the room").waitFor();
  assert.ok(await page.locator("#token-form").isHidden());
  await isForgotten(page, value);
  assert.deepEqual(errors, []);
}

Deno.test({
  name:
    "the page asks for a token and a key, keeps them in memory, and offers only what its port serves",
  // Playwright keeps handles open until the process ends.
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async (t) => {
    await using node = await TestNode.start(SETTINGS);
    await using withCookie = await TestNode.start({
      ...SETTINGS,
      TOKEN_COOKIE: "session",
    });
    await using split = await TestNode.start({
      ...SETTINGS,
      INTERNAL_PORT: "0",
    });
    await using backend = await HookBackend.start(result({
      user: "ann",
      caps: [
        { rooms: ["chat"], allow: ["sub", "pub"] },
        { rooms: ["board"], allow: ["sub"] },
      ],
    }));
    await using hooked = await TestNode.start({
      PUBLISH_KEYS: SETTINGS.PUBLISH_KEYS,
      CONNECT_HOOK_URL: backend.url(),
      HOOK_TIMEOUT_MS: "5000",
    });
    await using gate = await HookBackend.start(result({ allow: ["sub"] }));
    await using gated = await TestNode.start({
      PUBLISH_KEYS: SETTINGS.PUBLISH_KEYS,
      JOIN_HOOK_URL: gate.url(),
      HOOK_TIMEOUT_MS: "5000",
      RECOVERY_SECONDS: "1",
    });
    await using browser = await launch();
    await t.step("uses tokens", () => usesTokens(browser, node));
    await t.step(
      "replaces a refused token",
      () => replacesRefusedToken(browser, node),
    );
    await t.step(
      "connects without a room",
      () => connectsWithoutRoom(browser, gated, gate),
    );
    await t.step("uses a token and a key", () => usesBoth(browser, node));
    await t.step(
      "publishes with a token",
      () => publishesWithToken(browser, node),
    );
    await t.step("publishes by a hook", () => publishesByHook(browser, hooked));
    await t.step("uses a cookie", () => usesCookie(browser, withCookie));
    await t.step("only reads", () => onlyReads(browser, split));
  },
});
