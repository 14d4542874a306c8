/** The document of the HTTP API, as programs that generate clients and as browsers use it. */
import assert from "node:assert/strict";
import { launch, open, screenshot, violations } from "../support/browser.ts";
import { type Block, fencedBlocks } from "../support/documents.ts";
import { TestNode } from "../support/node.ts";
import { run } from "../support/program.ts";
import { makeDocument } from "../../routes/api/document.ts";

const ROOT = new URL("../../", import.meta.url);

/** Code behind that of docs/openapi.md: what the types of the generated client refuse. */
const MISTAKES = `
const refused = await client.POST("/publish", {
  // @ts-expect-error the name of a room is a text
  body: { room: 5, message: 1 },
});
const code = refused.error?.error.code;
// @ts-expect-error there is no such code
if (code === "no_such_code") throw code;
const { response } = await client.GET("/rooms/{room}/history", {
  // @ts-expect-error the order is asc or desc
  params: { path: { room: "chat" }, query: { order: "up" } },
});
// @ts-expect-error there is no such path
const { response: missing } = await client.GET("/room");
console.log(JSON.stringify([code, response.status, missing.status]));
`;

Deno.test("the client that docs/openapi.md generates publishes and reads the history of a running node", async () => {
  await using node = await TestNode.start({
    PUBLISH_KEYS: "web:a-long-random-secret",
  });
  const [generate, program, ...others] = fencedBlocks("docs/openapi.md");
  assert.deepEqual(
    [generate?.language, program?.language, others.length],
    ["sh", "ts", 0],
  );
  const folder = await Deno.makeTempDir({ prefix: "roomcast-client-" });
  const adapt = ({ code }: Block): string =>
    code.replaceAll("http://localhost:4000", node.url)
      .replaceAll(/(?<=-o )roomcast\.d\.ts/g, `${folder}/$&`)
      .replace("npx -y ", `${Deno.execPath()} run -A --cached-only npm:`);
  const env = { NO_COLOR: "1" };
  try {
    assert.ok(generate && program);
    await run("sh", ["-ec", adapt(generate)], { cwd: ROOT, env });
    const client = `${folder}/client.ts`;
    await Deno.writeTextFile(client, adapt(program) + MISTAKES);
    const args = ["run", "-q", "-A", "--check", "--cached-only", "--config"];
    const config = new URL("deno.json", ROOT).pathname;
    const printed = await run(
      Deno.execPath(),
      [...args, config, client],
      { cwd: ROOT, env },
    );
    const [good = "", bad = ""] = printed.trim().split("\n");
    const { published, history } = JSON.parse(good);
    assert.equal(published.room, "orders");
    assert.equal(published.duplicate, false);
    const [{ at, ...message }] = history;
    assert.deepEqual(message, {
      id: published.id,
      event: "order.paid",
      message: { id: 42 },
    });
    assert.ok(Math.abs(at - Date.now()) < 60_000);
    assert.deepEqual(JSON.parse(bad), ["invalid_room", 400, 404]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test({
  name:
    "browsers show /docs at both ports, in light and dark, without a violation of the Content-Security-Policy or of accessibility",
  // Playwright keeps handles open until the process ends.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    await using node = await TestNode.start({
      INTERNAL_PORT: "0",
      PUBLISH_KEYS: "web:correct-horse",
    });
    await using browser = await launch();
    for (
      const [url, audience, scheme, width] of [
        [node.url, "clients", "light", 1280],
        [node.internalUrl, "backends", "dark", 1280],
        [node.internalUrl, "backends", "light", 360],
      ] as const
    ) {
      await using opened = await open(
        browser,
        `${url}/docs`,
        { scheme, width },
        false,
      );
      const { page, errors } = opened;
      await screenshot(page, `docs-${audience}-${scheme}-${width}`);
      const { paths } = makeDocument(audience);
      const operations = Object.values(paths).flatMap(Object.values);
      assert.equal(
        await page.locator("article[id]:not([id^='-']) h3").count(),
        operations.length,
      );
      const first = operations[0]?.operationId;
      await page.click(`nav a[href="#${first}"]`);
      assert.ok(await page.locator(`#${first} h3`).isVisible());
      // The styles have been loaded, and nothing is wider than the screen.
      const background = await page.evaluate(
        "getComputedStyle(document.body).backgroundColor",
      );
      assert.equal(
        background,
        scheme === "dark" ? "rgb(16, 24, 21)" : "rgb(251, 253, 251)",
      );
      const overflow = await page.evaluate(
        "document.documentElement.scrollWidth - innerWidth",
      );
      assert.ok(Number(overflow) <= 0, `${overflow} px too wide`);
      assert.deepEqual(errors, []);
      assert.deepEqual(await violations(page), []);
    }
  },
});
