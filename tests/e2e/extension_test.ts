/** A page of a browser extension, whose origin has a scheme of its own, in a real browser. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { TestApp } from "../support/app.ts";
import { launchWithExtension } from "../support/browser.ts";
import { until } from "../support/wait.ts";

const PAGE = `<!DOCTYPE html><title>waiting</title>
<script src="socket.io.min.js"></script><script src="page.js"></script>`;
const SCRIPT = `
  const { url, transport } = Object.fromEntries(new URLSearchParams(location.search));
  const socket = io(url, { transports: [transport], reconnection: false });
  socket.on("msgReceived", (message) => document.title = message);
  socket.on("connect", () => fetch(url + "/publish", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ room: "chat", message: "from " + location.origin }),
  }));
  socket.on("connect_error", () => document.title = "refused");
`;

/** An extension in a folder of its own, which `await using` removes. */
interface Extension extends AsyncDisposable {
  readonly folder: string;
  /** The id that Chromium derives from the path of the folder. */
  readonly id: string;
}

async function writeExtension(): Promise<Extension> {
  const folder = await Deno.realPath(
    await Deno.makeTempDir({ prefix: "roomcast-extension-" }),
  );
  const manifest = { manifest_version: 3, name: "Roomcast", version: "1" };
  const client = new URL(
    "./client-dist/socket.io.min.js",
    import.meta.resolve("socket.io"),
  );
  await Deno.writeTextFile(`${folder}/manifest.json`, JSON.stringify(manifest));
  await Deno.writeTextFile(`${folder}/page.html`, PAGE);
  await Deno.writeTextFile(`${folder}/page.js`, SCRIPT);
  await Deno.copyFile(client, `${folder}/socket.io.min.js`);
  const hash = createHash("sha256").update(folder).digest("hex").slice(0, 32);
  const id = hash.replaceAll(
    /./g,
    (digit) => String.fromCharCode(97 + parseInt(digit, 16)),
  );
  return {
    folder,
    id,
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

Deno.test({
  name:
    "a page of a browser extension connects and publishes if its origin is listed, and is refused otherwise",
  // Playwright keeps handles open until the process ends.
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    await using extension = await writeExtension();
    const { folder, id } = extension;
    const origin = `chrome-extension://${id}`;
    const settings = { HOST: "0.0.0.0", OPEN: "true" };
    await using listed = new TestApp({ ...settings, ALLOWED_ORIGINS: origin });
    await using other = new TestApp({
      ...settings,
      ALLOWED_ORIGINS: `chrome-extension://${"a".repeat(32)}`,
    });
    await using context = await launchWithExtension(folder);
    const page = await context.newPage();
    for (
      const [app, title] of [
        [listed, `from ${origin}`],
        [other, "refused"],
      ] as const
    ) {
      const url = `http://127.0.0.1:${await app.serve()}`;
      for (const transport of ["polling", "websocket"]) {
        const query = new URLSearchParams({ url, transport });
        await page.goto(`${origin}/page.html?${query}`);
        await until(
          "the page is done",
          async () => await page.title() !== "waiting",
        );
        assert.equal(await page.title(), title, transport);
      }
    }
  },
});
