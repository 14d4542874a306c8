import assert from "node:assert/strict";
import { type Browser, chromium, type Page } from "playwright-core";
import { freePort, Proxy } from "../support/net.ts";
import { TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";
import { until } from "../support/wait.ts";

const ATTACK =
  `<img src=x onerror="document.title='hacked'"><script>document.title='hacked'</script>`;
/** Folder for screenshots; unset to take none. */
const SCREENSHOTS = Deno.env.get("SCREENSHOTS");

async function launch(): Promise<Browser & AsyncDisposable> {
  const browser = await chromium.launch({
    executablePath: Deno.env.get("CHROMIUM") ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
    ],
  });
  return Object.assign(browser, {
    [Symbol.asyncDispose]: () => browser.close(),
  });
}

async function open(
  browser: Browser,
  url: string,
  width: number,
): Promise<{ page: Page; errors: string[] }> {
  const page = await browser.newPage({ viewport: { width, height: 844 } });
  const errors: string[] = [];
  page.on(
    "console",
    (message) => message.type() === "error" && errors.push(message.text()),
  );
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto(url);
  await page.locator("#state[data-state=connected]").waitFor();
  return { page, errors };
}

// Playwright keeps handles open until the process ends.
const options = { sanitizeOps: false, sanitizeResources: false };

Deno.test(
  "two pages show a message of one of them as plain text, and reconnect when the node restarts",
  options,
  async () => {
    await using redis = await Redis.start();
    const env = {
      REDIS_URL: redis.url,
      PORT: `${await freePort()}`,
      DRAIN_SECONDS: "0",
    };
    let node = await TestNode.start(env);
    try {
      await using browser = await launch();
      const phone = await open(browser, `${node.url}/`, 390);
      const desk = await open(browser, `${node.url}/`, 1280);
      const send = async (page: Page, text: string): Promise<void> => {
        await page.fill("#message", text);
        await page.click("#send-button");
      };
      const shows = async (text: string): Promise<void> => {
        for (const { page } of [phone, desk]) {
          await page.locator("#messages li[data-id]", { hasText: text })
            .waitFor();
        }
      };
      await send(phone.page, "Hello from the phone 👋");
      await shows("Hello from the phone 👋");
      await send(desk.page, ATTACK);
      await shows(ATTACK);
      await node.publish({ temperature: 21.5, unit: "°C" });
      await shows('"temperature"');
      await redis.command("PUBLISH", "chat", "straight from redis-cli");
      await shows("straight from redis-cli");
      for (const { page, errors } of [phone, desk]) {
        assert.equal(
          await page.locator("#messages img, #messages script").count(),
          0,
        );
        assert.notEqual(await page.title(), "hacked");
        assert.deepEqual(errors, []);
        const ids = await page.locator("#messages li[data-id]").evaluateAll((
          items,
        ) =>
          items.map((item) =>
            (item as unknown as { dataset: { id: string } }).dataset.id
          )
        );
        assert.equal(ids.length, 4);
        assert.deepEqual(ids, [...new Set(ids)].sort());
      }
      if (SCREENSHOTS !== undefined) {
        await phone.page.screenshot({ path: `${SCREENSHOTS}/phone.png` });
        await desk.page.screenshot({ path: `${SCREENSHOTS}/desk.png` });
      }

      node.signal("SIGTERM");
      assert.equal(await node.exited(), 0);
      for (const { page } of [phone, desk]) {
        await page.locator("#state:not([data-state=connected])").waitFor();
      }
      node = await TestNode.start(env);
      for (const { page } of [phone, desk]) {
        await page.locator(
          "#state[data-state=connected]",
        ).waitFor();
      }
      await send(phone.page, "back again");
      await shows("back again");
    } finally {
      await node[Symbol.asyncDispose]();
    }
  },
);

Deno.test(
  "the page asks for a publish key if the server requires one, and switches rooms",
  options,
  async () => {
    await using node = await TestNode.start({
      PUBLISH_KEYS: "page:open-sesame",
    });
    await using browser = await launch();
    const { page } = await open(browser, `${node.url}/?room=lobby`, 1280);
    await page.fill("#message", "let me in");
    await page.click("#send-button");
    await page.locator("#key").waitFor({ state: "visible" });
    assert.match(await page.locator("#error").innerText(), /publish key/);
    await page.fill("#key", "open-sesame");
    await page.fill("#message", "let me in");
    await page.click("#send-button");
    await page.locator("#messages li[data-id]", { hasText: "let me in" })
      .waitFor();
    await page.fill("#room", "other");
    await page.press("#room", "Enter");
    await page.waitForURL(/room=other/);
    await page.locator("#state[data-state=connected]").waitFor();
    await node.publish("in the other room", "other", {
      authorization: "Bearer open-sesame",
    });
    await page.locator("#messages li[data-id]", {
      hasText: "in the other room",
    }).waitFor();
  },
);

/** Returns the text of each row, in order: the messages, which are numbers here, and the dividers. */
function rows(page: Page): Promise<string[]> {
  return page.locator("#messages li").evaluateAll((items) =>
    items.map((item) => {
      const { querySelector, textContent } = item as unknown as {
        querySelector: (of: string) => { textContent: string } | null;
        textContent: string;
      };
      return querySelector.call(item, ".json")?.textContent ?? textContent;
    })
  );
}

Deno.test(
  "the page shows each message once and in order across reloads and lost connections",
  options,
  async () => {
    await using redis = await Redis.start();
    await using node = await TestNode.start({ REDIS_URL: redis.url });
    await using proxy = await Proxy.start(node.port);
    await using browser = await launch();
    const { page } = await open(browser, `${proxy.url}/?room=flow`, 1280);
    let published = 0;
    const publish = async (count: number): Promise<void> => {
      const begin = performance.now();
      for (let i = 1; i <= count; i++) {
        await node.publish(published++, "flow");
        const wait = begin + i * 20 - performance.now();
        await new Promise((resolve) => setTimeout(resolve, Math.max(0, wait)));
      }
    };
    const shown = (): Promise<void> =>
      until(
        `${published} rows are shown`,
        async () => (await rows(page)).length >= published,
      );
    const connected = (): Promise<void> =>
      page.locator("#state[data-state=connected]").waitFor();
    const reload = async (): Promise<void> => void await page.reload();
    const cut = async (): Promise<void> => {
      proxy.cut();
      await page.locator("#state:not([data-state=connected])").waitFor();
    };
    const offline = async (): Promise<void> => {
      await page.context().setOffline(true);
      // Not every browser closes its open connections.
      await cut();
      await page.waitForTimeout(2000);
      await page.context().setOffline(false);
    };
    const disturbances: [disturb: () => Promise<void>, messages: number][] = [
      [reload, 60],
      [offline, 110],
      [reload, 60],
      [cut, 60],
      [offline, 110],
      [reload, 60],
    ];
    for (const [disturb, messages] of disturbances) {
      const flow = publish(messages);
      await page.waitForTimeout(200);
      await disturb();
      await connected();
      await flow;
    }
    await shown();
    // The page keeps more rows than that, so all messages must be shown.
    assert.equal(published, 460);
    const all = Array.from({ length: published }, (_, i) => `${i}`);
    assert.deepEqual(await rows(page), all);
    // A reload without new messages changes nothing.
    await page.reload();
    await connected();
    await shown();
    assert.deepEqual(await rows(page), all);
  },
);

Deno.test(
  "the page shows the newest 50 messages at first, missed ones after a reconnect, and a divider for a gap",
  options,
  async () => {
    await using redis = await Redis.start();
    await using node = await TestNode.start({ REDIS_URL: redis.url });
    for (let i = 0; i < 60; i++) await node.publish(i, "a");
    await using browser = await launch();
    const { page } = await open(browser, `${node.url}/?room=a`, 1280);
    const switchRoom = async (room: string): Promise<void> => {
      await page.fill("#room", room);
      await page.press("#room", "Enter");
      await page.locator("#state[data-state=connected]").waitFor();
    };
    const show = (expected: unknown[]): Promise<void> =>
      until(
        `${expected.length} rows are shown`,
        async () =>
          JSON.stringify(await rows(page)) ===
            JSON.stringify(expected.map(String)),
      );
    const shown: unknown[] = Array.from({ length: 50 }, (_, i) => i + 10);
    await show(shown);
    await switchRoom("b");
    await show([]);
    await node.publish(60, "a");
    await switchRoom("a");
    shown.push(60);
    await show(shown);

    await page.goto("about:blank");
    await redis.command("FLUSHALL");
    await node.log.where(() =>
      node.log.items.some(({ kind }) => kind === "epoch_changed")
    );
    await page.goto(`${node.url}/?room=a`);
    shown.push(
      "Messages may be missing here: the server's log was emptied or restored",
    );
    await show(shown);
    await node.publish(61, "a");
    shown.push(61);
    await show(shown);
    await page.reload();
    await show(shown);
  },
);
