import assert from "node:assert/strict";
import type { Browser, Page } from "playwright-core";
import {
  isConnected,
  launch,
  open,
  screenshot,
  violations,
} from "../support/browser.ts";
import { Proxy } from "../support/net.ts";
import { TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";
import { until } from "../support/wait.ts";

const ATTACK =
  `<img src=x onerror="document.title='hacked'"><script>document.title='hacked'</script>`;
/** Maximum number of rows that the page may have in the document. */
const ROWS_MAX = 300;
const KEY = { authorization: "Bearer open-sesame" };

/** The browser, and nodes that most of the tests share. */
interface Stage {
  readonly browser: Browser;
  readonly redis: Redis;
  /** A node on Redis that keeps long histories. */
  readonly node: TestNode;
  /** An embedded node that needs a publish key. */
  readonly locked: TestNode;
}

/** Returns the text of each row that is shown in a room, in order. */
function rows(page: Page): Promise<string[]> {
  return page.locator(".pane.current ol > li").evaluateAll((items) =>
    items.map((item) => {
      const { querySelector, textContent } = item as unknown as {
        querySelector: (of: string) => { textContent: string } | null;
        textContent: string;
      };
      return querySelector.call(item, ".text, .json")?.textContent ??
        textContent;
    })
  );
}

/** Waits until a room shows a text in its newest row. */
async function shows(page: Page, text: string): Promise<void> {
  await page.locator(".pane.current ol > li:last-child", { hasText: text })
    .waitFor();
}

/** Waits until a page uses WebSocket. Until then, a cut connection may be only that of the upgrade. */
async function usesWebSocket(page: Page): Promise<void> {
  await page.locator("#transport", { hasText: "WebSocket" }).waitFor();
}

async function send(page: Page, text: string): Promise<void> {
  await page.fill(".pane.current textarea", text);
  await page.press(".pane.current textarea", "Control+Enter");
}

/** Publishes `count` messages, numbered from `first`, in batches. */
async function publishMany(
  node: TestNode,
  room: string,
  count: number,
  first = 0,
): Promise<void> {
  for (let done = 0; done < count; done += 1000) {
    const messages = Array.from(
      { length: Math.min(1000, count - done) },
      (_, i) => ({ room, message: `number ${first + done + i}` }),
    );
    const response = await fetch(`${node.url}/publish/batch`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ messages }),
    });
    assert.equal(response.status, 200);
    await response.body?.cancel();
  }
}

/** Checks that the page shows messages of every source as text, and runs nothing that they contain. */
async function sendsAndShows({ browser, node, redis }: Stage): Promise<void> {
  const url = `${node.url}/?room=chat`;
  await using phone = await open(browser, url, { width: 390, touch: true });
  await using desk = await open(browser, url);
  const both = async (text: string): Promise<void> => {
    for (const { page } of [phone, desk]) await shows(page, text);
  };
  await send(phone.page, "Hello from the phone 👋");
  await both("Hello from the phone 👋");
  const answer = phone.page.locator(".pane.current .answer");
  assert.match(await answer.innerText(), /^Stored as \d+-\d+ in \d+ ms/);
  const [, id] = /as (\d+-\d+)/.exec(await answer.innerText()) ?? [];
  await answer.getByRole("button", { name: "Send again" }).click();
  await answer.getByText("Duplicate, stored before").waitFor();
  assert.ok((await answer.innerText()).includes(id ?? "none"));

  await send(desk.page, ATTACK);
  await both(ATTACK);
  await node.publish({ temperature: 21.5, unit: "°C", "<b>": "<i>" });
  await both('"temperature"');
  await redis.command("PUBLISH", "chat", "straight from redis-cli");
  await both("straight from redis-cli");
  for (const { page, errors } of [phone, desk]) {
    assert.equal(await page.locator("ol img, ol script, ol b").count(), 0);
    assert.equal(await page.title(), "chat · Roomcast");
    assert.deepEqual(errors, []);
    const shown = page.locator(".pane.current li[data-id]");
    const ids = await shown.evaluateAll((items) =>
      items.map((item) =>
        (item as unknown as { dataset: { id: string } }).dataset.id
      )
    );
    assert.equal(ids.length, 4);
    assert.deepEqual(ids, [...new Set(ids)].sort());
    const time = page.locator(".pane.current time").last();
    assert.match(await time.innerText(), /^\d\d:\d\d:\d\d$/);
    const iso = await time.getAttribute("datetime") ?? "";
    assert.equal(new Date(iso).toISOString(), iso);
    assert.ok(Math.abs(Date.parse(iso) - Date.now()) < 60_000);
  }
  assert.match(
    await desk.page.locator("#announcer").innerText(),
    /more message|Hello|chat:/,
  );
}

/** Checks that the page points at errors in JSON before it sends the JSON. */
async function sendsJson({ browser, node }: Stage): Promise<void> {
  await using desk = await open(browser, `${node.url}/?room=json`);
  const { page } = desk;
  await page.locator(".pane.current").getByRole("radio", { name: "JSON" })
    .check();
  await send(page, '{\n  "a": 1,\n  b: 2\n}');
  const error = page.locator(".pane.current .error");
  assert.match(
    await error.innerText(),
    /^Not sent, .*line 3, column 3: a name/,
  );
  const selected = await page.locator(".pane.current textarea").evaluate(
    (box) => (box as unknown as { selectionStart: number }).selectionStart,
  );
  assert.equal(selected, 14);
  assert.deepEqual(await rows(page), []);
  await send(page, '{"a": [1, true, "x"]}');
  await shows(page, '{"a":[1,true,"x"]}');
  assert.equal(await error.innerText(), "");
  const { body } = await node.get("/rooms/json/history");
  // deno-lint-ignore no-explicit-any -- the test looks into it by the shape that it expects
  assert.deepEqual((body as any).messages[0].message, { a: [1, true, "x"] });
}

/** Checks that the page offers only commands that the server accepts, and copies them. */
async function copies({ browser, node, locked }: Stage): Promise<void> {
  await using desk = await open(browser, `${node.url}/?room=chat&room=other`);
  const { page } = desk;
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  const clipboard = (): Promise<string> =>
    page.evaluate("navigator.clipboard.readText()");
  await send(page, "it's a copy");
  await shows(page, "it's a copy");
  const row = page.locator(".pane.current ol > li").last();
  const choose = async (name: string): Promise<string> => {
    await row.hover();
    await row.locator(".more").click();
    await page.getByRole("menuitem", { name }).click();
    return await clipboard();
  };
  assert.equal(await choose("JSON"), `"it's a copy"`);
  assert.equal(
    await choose("curl command"),
    `curl -d 'it'\\''s a copy' -H 'content-type: text/plain' '${node.url}/publish?room=chat'`,
  );
  assert.equal(
    await choose("redis-cli command"),
    `redis-cli PUBLISH chat 'it'\\''s a copy'`,
  );
  // Channel `other` is not bridged.
  await page.getByRole("tab", { name: "other" }).click();
  const hint = page.locator(".pane.current .empty");
  await hint.getByText("curl -d hello").waitFor();
  assert.doesNotMatch(await hint.innerText(), /redis-cli|ROOMCAST_KEY/);

  // The embedded log has no channels, and publishing needs a key.
  await using other = await open(browser, `${locked.url}/`);
  const needsKey = other.page.locator(".pane.current .empty");
  await needsKey.getByText('"Authorization: Bearer $ROOMCAST_KEY"').waitFor();
  assert.doesNotMatch(await needsKey.innerText(), /redis-cli/);
}

/** Checks that the page asks for a publish key, keeps the key only in memory, and forgets the key. */
async function usesKey({ browser, locked }: Stage): Promise<void> {
  for (let i = 0; i < 150; i++) await locked.publish(i, "lobby", KEY);
  await using desk = await open(browser, `${locked.url}/?room=lobby`);
  const { page, errors } = desk;
  const key = page.locator("#key");
  await key.waitFor();
  assert.ok(await page.locator(".pane.current textarea").isDisabled());
  assert.equal(await key.getAttribute("type"), "password");
  // The newest messages need no key, but older ones do.
  await shows(page, "149");
  assert.equal((await rows(page)).length, 100);
  await page.locator(".pane.current .log").evaluate((log) =>
    void ((log as unknown as { scrollTop: number }).scrollTop = 0)
  );
  await page.getByText("Older messages need a publish key").waitFor();

  await key.fill("wrong");
  await key.press("Enter");
  await page.getByText("The server does not accept this key").waitFor();
  await key.fill("open-sesame");
  await key.press("Enter");
  await page.locator("#key-form").waitFor({ state: "hidden" });
  await until(
    "older messages are loaded",
    async () => (await rows(page)).length === 150,
  );
  await page.getByText("This is the beginning of the room").waitFor();
  await send(page, "let me in");
  await shows(page, "let me in");
  const stored = await page.evaluate(
    "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])",
  ) as string;
  assert.ok(!stored.includes("open-sesame"));
  await page.getByRole("button", { name: "Forget the key" }).click();
  await key.waitFor();
  assert.ok(await page.locator(".pane.current textarea").isDisabled());
  // The browser reports the response 401 to the wrong key.
  assert.deepEqual(errors.filter((error) => !/401/.test(error)), []);
}

/** Checks that rooms can be opened, selected and closed by mouse and by keyboard. */
async function switchesRooms({ browser, node }: Stage): Promise<void> {
  await using desk = await open(browser, `${node.url}/`);
  const { page } = desk;
  const tabs = page.getByRole("tab");
  assert.deepEqual(await tabs.allInnerTexts(), ["chat", "orders"]);
  await page.fill("#open-room", "third");
  await page.press("#open-room", "Enter");
  await page.waitForURL(/room=third/);
  await node.publish("to the third", "third");
  await shows(page, "to the third");
  await tabs.nth(2).focus();
  await page.keyboard.press("ArrowRight");
  assert.equal(await tabs.nth(0).getAttribute("aria-selected"), "true");
  assert.equal(await page.title(), "chat · Roomcast");
  await node.publish("unseen", "third");
  await page.locator("[role=tab] .unseen-count", { hasText: "1" }).waitFor();

  await page.getByRole("button", { name: "Side by side" }).click();
  assert.equal(await page.locator(".pane:visible").count(), 2);
  await page.locator(".pane:visible", { hasText: "unseen" }).waitFor();
  await tabs.nth(1).click();
  const shown = page.locator(".pane:visible h2");
  assert.deepEqual(await shown.allInnerTexts(), ["chat", "orders"]);
  await page.getByRole("button", { name: "Side by side" }).click();

  await tabs.nth(2).click();
  await page.locator(".pane.current .leave").click();
  assert.deepEqual(await tabs.allInnerTexts(), ["chat", "orders"]);
  await page.fill("#open-room", "\u0001");
  await page.press("#open-room", "Enter");
  await page.locator(".pane.current .problem", {
    hasText: "Cannot use the room",
  })
    .waitFor();
  await isConnected(page);
}

/** Checks that the page breaks its connection, reconnects, and shows that no message is missing. */
async function cutsTheLine({ browser, node }: Stage): Promise<void> {
  await using desk = await open(browser, `${node.url}/?room=orders`);
  const { page } = desk;
  const events = page.locator("#events");
  await usesWebSocket(page);
  await node.publish("before the cut", "orders");
  await shows(page, "before the cut");
  await page.getByRole("button", { name: "Cut the line" }).click();
  await events.getByText("Connection lost: this page cut the line").waitFor();
  await page.locator("#state", { hasText: /Reconnecting in \d s/ }).waitFor();
  for (let i = 0; i < 7; i++) await node.publish(`unseen ${i}`, "orders");
  await node.publish("in another room", "chat");
  const result = page.locator("#cut-result");
  await result.getByText("missing now").waitFor();
  const figures = await result.locator("dd").allInnerTexts();
  // Five messages are the page's own.
  assert.equal(figures[0], "13");
  assert.match(figures[1] ?? "", /^\d+ ms$/);
  assert.equal(figures[2], "0");
  await events.getByText(/^Recovered 13 missed messages in \d+ ms/).waitFor();
  const shown = await rows(page);
  assert.deepEqual(
    shown.filter((text) => /unseen|while the line/.test(text)).length,
    12,
  );
  await screenshot(page, "cut-the-line");
}

/** Checks that the page shows messages once and in order while connections break, and a gap where messages are lost. */
async function staysInOrder({ browser, node }: Stage): Promise<void> {
  await using proxy = await Proxy.start(node.port);
  await using desk = await open(browser, `${proxy.url}/?room=flow`);
  const { page } = desk;
  for (let cuts = 0; cuts < 3; cuts++) {
    await usesWebSocket(page);
    const publishing = (async () => {
      for (let i = 0; i < 30; i++) {
        await node.publish(`number ${cuts * 30 + i}`, "flow");
      }
    })();
    proxy.cut();
    await page.locator("#state:not([data-state=connected])").waitFor();
    await publishing;
    await isConnected(page);
  }
  await shows(page, "number 89");
  const all = Array.from({ length: 90 }, (_, i) => `number ${i}`);
  assert.deepEqual(await rows(page), all);
  await page.reload();
  await shows(page, "number 89");
  assert.deepEqual(await rows(page), all);
}

/** Checks that no frame takes long with 10,000 messages, and that a reader can scroll back to all of them. */
async function staysSmooth({ browser, node }: Stage): Promise<void> {
  await using desk = await open(browser, `${node.url}/?room=flood`);
  const { page } = desk;
  await page.evaluate(`{
    window.longest = 0;
    let last = performance.now();
    const frame = (now) => {
      window.longest = Math.max(window.longest, now - last);
      last = now;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    window.rowsMost = 0;
    new MutationObserver(() => {
      const count = document.querySelectorAll("li").length;
      window.rowsMost = Math.max(window.rowsMost, count);
    }).observe(document.body, { childList: true, subtree: true });
  }`);
  await publishMany(node, "flood", 10_000);
  await shows(page, "number 9999");
  const longest = await page.evaluate("window.longest") as number;
  const rowsMost = await page.evaluate("window.rowsMost") as number;
  assert.ok(rowsMost <= ROWS_MAX + 50, `${rowsMost} rows`);
  assert.ok(longest < 1000, `a frame took ${longest} ms`);

  const log = page.locator(".pane.current .log");
  const seen = new Set<string>();
  // The page keeps 5,000 rows in memory, and reads those before from the history.
  await until("rows that left the memory are shown", async () => {
    for (const text of await rows(page)) seen.add(text);
    await log.evaluate((log) =>
      void ((log as unknown as { scrollTop: number }).scrollTop = 0)
    );
    return seen.has("number 4700");
  }, 60_000);
  for (let i = 4700; i < 10_000; i++) {
    assert.ok(seen.has(`number ${i}`), `${i}`);
  }
  assert.ok(await page.locator(".pane.current ol > li").count() <= ROWS_MAX);
  // A new message does not move what the reader sees.
  await publishMany(node, "flood", 1, 10_000);
  await page.getByRole("button", { name: "1 new message" }).click();
  await shows(page, "number 10000");
}

/** Checks that the page violates no rule of accessibility, in both color schemes and at several widths. */
async function isAccessible({ browser, node, locked }: Stage): Promise<void> {
  await node.publish("Good morning! The first train leaves at 6:14.", "tour");
  await node.publish(
    { order: 1042, total: 59.9, items: ["tea", "cups"] },
    "tour",
  );
  await node.publish({
    event: "order.paid",
    order: { id: 1042, customer: { name: "Ann", city: "Bergen" } },
    paid: true,
  }, "tour");
  await node.publish("שלום, this reads from right to left", "tour");
  await node.publish(
    "A longer text that needs more than one line on a phone, because somebody explains what has happened.",
    "tour",
  );
  for (const scheme of ["light", "dark"] as const) {
    for (const width of [390, 1280]) {
      const view = { width, scheme, touch: width < 500 };
      await using tour = await open(browser, `${node.url}/?room=tour`, view);
      const { page, errors } = tour;
      await shows(page, "A longer text");
      const name = `${width}-${scheme}`;
      await screenshot(page, `page-${name}`);
      if (width === 390) {
        assert.deepEqual(await violations(page), [], name);
        await page.getByRole("button", { name: "Details" }).click();
      } else await page.getByRole("button", { name: "Side by side" }).click();
      await screenshot(page, `more-${name}`);
      assert.deepEqual(await violations(page), [], `more ${name}`);
      assert.deepEqual(errors, []);
      if ((width === 390) !== (scheme === "dark")) continue;
      await using empty = await open(
        browser,
        `${locked.url}/?room=empty`,
        view,
      );
      await empty.page.locator(".pane.current .empty").waitFor();
      await screenshot(empty.page, `key-${name}`);
      assert.deepEqual(await violations(empty.page), [], `key ${name}`);
    }
  }
}

Deno.test({
  name:
    "the page at / works with a node that has Redis and with a node that has a publish key",
  // Playwright keeps handles open until the process ends.
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async (t) => {
    await using redis = await Redis.start();
    await using node = await TestNode.start({
      REDIS_URL: redis.url,
      ROOMS: "chat,orders",
      HISTORY_SIZE: "20000",
    });
    await using locked = await TestNode.start({
      PUBLISH_KEYS: "page:open-sesame",
    });
    await using browser = await launch();
    const stage = { browser, redis, node, locked };
    const checks: [name: string, check: (stage: Stage) => Promise<void>][] = [
      ["shows messages of every source as text", sendsAndShows],
      ["points at errors in JSON, and sends JSON", sendsJson],
      ["offers and copies only commands that the server accepts", copies],
      ["asks for a publish key and keeps it in memory", usesKey],
      [
        "opens and closes rooms, and shows them as tabs or side by side",
        switchesRooms,
      ],
      ["shows that no message is lost if the connection breaks", cutsTheLine],
      ["keeps the order of messages if connections are lost", staysInOrder],
      ["stays responsive with 10,000 messages", staysSmooth],
      ["violates no rule of accessibility", isAccessible],
    ];
    for (const [name, check] of checks) await t.step(name, () => check(stage));
  },
});

Deno.test({
  name:
    "the page says what is wrong while Redis is away, explains a gap, and connects when Redis is back",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    await using redis = await Redis.start();
    await redis.kill();
    await using node = await TestNode.start({ REDIS_URL: redis.url }, {
      ready: false,
    });
    await using browser = await launch();
    await using desk = await open(browser, `${node.url}/`, {}, false);
    const { page } = desk;
    const notice = page.locator("#notice");
    await notice.getByText("The server cannot reach Redis").waitFor();
    await notice.getByText("Start Redis, or check REDIS_URL").waitFor();
    await notice.getByText(/Next attempt in \d+ s|Connecting/).waitFor();
    assert.deepEqual(await violations(page), []);
    await screenshot(page, "redis-away");
    const box = page.locator(".pane.current textarea");
    await box.fill("sent while Redis is away");
    await box.press("Enter");
    await page.getByText("Sending …").waitFor();
    await page.getByText("Send the text again").waitFor();
    await notice.getByRole("button", { name: "Try now" }).click();
    await redis.restart();
    await isConnected(page);
    await notice.waitFor({ state: "hidden" });
    await box.press("Enter");
    await shows(page, "sent while Redis is away");
    await node.publish("Redis is back");
    await shows(page, "Redis is back");

    await redis.command("FLUSHALL");
    const gap = page.locator("li.gap[title=epoch]");
    await gap.getByText("the server's log was emptied").waitFor();
    await screenshot(page, "gap");
    await node.publish("after the gap");
    await shows(page, "after the gap");

    node.signal("SIGTERM");
    await page.locator("#events").getByText(/^Connection lost/).waitFor();
    await node.exited();
    await notice.getByText("The server does not respond").waitFor();
  },
});
